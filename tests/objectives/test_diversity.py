"""The diversity loss asks as much in rows of every length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.experiment import crop_lengths
from w2v2_jax.models.families import model_config
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.objectives.diversity import diversity_loss, group_rows, perplexity, usage

CONV_LAYERS = model_config("base").conv_layers
ENTRIES, GROUPS, MASKED = 320, 8, 0.49
RECIPES = {"base": (crop_lengths.BASE, 93.75), "large": (crop_lengths.LARGE, 78.75)}


def frames_of_group(seconds: float, group: float) -> int:
    samples = round(seconds * 16_000)
    return group_rows(group, samples) * round(MASKED * int(frame_counts(samples, CONV_LAYERS)))


def loss_of_even_usage(seconds: float, group: float) -> float:
    """The loss of codes drawn evenly and independently, per masked frame, over GROUPS groups."""
    samples = round(seconds * 16_000)
    rows = group_rows(group, samples)
    slots = round(MASKED * int(frame_counts(samples, CONV_LAYERS)))
    drawn = np.random.default_rng(0).integers(0, ENTRIES, (GROUPS * rows, slots, 1))
    probs = np.eye(ENTRIES, dtype=np.float32)[drawn]
    valid = np.ones(drawn.shape[:2], np.float32)

    @jax.jit
    def total(probs, valid):
        return diversity_loss([usage(probs, valid, rows)], valid, rows, ENTRIES)[0]

    return float(total(probs, valid) / valid.sum())


@pytest.mark.parametrize("recipe", RECIPES)
def test_even_usage_costs_the_same_in_short_and_in_long_rows(recipe):
    lengths, group = RECIPES[recipe]
    losses = {s: loss_of_even_usage(s, group) for s in (lengths[0], lengths[7], lengths[-1])}
    for seconds, loss in losses.items():  # of N frames from V entries: (V - 1) / 2N
        expected = (ENTRIES - 1) / (2 * frames_of_group(seconds, group))
        assert loss == pytest.approx(expected, rel=0.06)
    assert max(losses.values()) < 1.1 * min(losses.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_groups_of_all_lengths_have_as_many_frames(recipe):
    lengths, group = RECIPES[recipe]
    frames = np.array([frames_of_group(seconds, group) for seconds in lengths])
    middle = (frames.min() + frames.max()) / 2
    assert np.abs(frames / middle - 1).max() < 0.055
    if recipe == "base":
        assert frames.max() < 1.06 * frames.min()


def test_a_group_is_as_many_whole_rows_as_it_holds_and_at_least_one():
    assert group_rows(93.75, 250_000) == 6
    assert group_rows(93.75, 250_001) == 5
    assert group_rows(1.0, 250_000) == 1


def test_what_is_left_of_the_rows_is_a_group_of_its_own():
    probs = jnp.asarray(np.eye(4, dtype=np.float32)[[[0], [1], [2], [2], [3]]])[:, :, None]
    values, frames = perplexity(probs, jnp.ones((5, 1)), 2)
    np.testing.assert_allclose(values, [2, 1, 1], rtol=1e-5)
    np.testing.assert_array_equal(frames, [2, 2, 1])


def test_codes_are_the_likeliest_entries():
    """Of two frames each has an entry of its own, and neither chooses the last."""
    probs = np.array([[[[0.7, 0.2, 0.1]], [[0.2, 0.7, 0.1]]]], np.float32)  # [1, 2, 1, 3]
    used = usage(probs, np.ones((1, 2), np.float32), 1)
    assert used.codes.tolist() == pytest.approx([2.0], rel=1e-5)
    mean = np.array([0.45, 0.45, 0.1])
    assert used.probs.tolist() == pytest.approx([np.exp(-(mean * np.log(mean)).sum())], rel=1e-5)
