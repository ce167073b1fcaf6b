"""CTC against a sum over every alignment, and what a row without an alignment does."""

import dataclasses
import itertools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.models import row_random
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.objectives.ctc import BLANK, CTC, alignable, ctc_losses

CLASSES = 3


def collapse(path):
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK)


def brute_force(logits, label):
    """-log of the summed probability of every path that collapses to the label."""
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    frames = range(len(logits))
    total = sum(
        np.exp(sum(logs[t, path[t]] for t in frames))
        for path in itertools.product(range(CLASSES), repeat=len(logits))
        if collapse(path) == label
    )
    return -np.log(total) if total else np.inf


def packed(cases, frames=6, width=3):
    """[(count, label)] -> arrays for ctc_losses, padded."""
    logits = np.random.default_rng(0).normal(size=(len(cases), frames, CLASSES)) * 2
    labels = np.zeros((len(cases), width), np.int32)
    for row, (_, label) in enumerate(cases):
        labels[row, : len(label)] = label
    counts = np.array([count for count, _ in cases])
    lengths = np.array([len(label) for _, label in cases])
    return logits.astype(np.float32), counts, labels, lengths


CASES = [
    (count, label)
    for count in (1, 3, 4, 6)
    for label in ((), (1,), (2, 1), (1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2))
]


def test_the_loss_is_the_sum_over_all_alignments():
    logits, counts, labels, lengths = packed(CASES)
    losses, fits = jax.jit(ctc_losses)(logits, counts, labels, lengths)
    for row, (count, label) in enumerate(CASES):
        expected = brute_force(logits[row, :count].astype(float), label)
        assert bool(fits[row]) == np.isfinite(expected), (count, label)
        value = expected if np.isfinite(expected) else 0.0
        np.testing.assert_allclose(losses[row], value, rtol=1e-4, atol=1e-5, err_msg=str(label))


@pytest.mark.parametrize("label", [CLASSES, CLASSES + 5, 0, -1])
def test_a_label_that_is_no_symbol_makes_the_loss_nan_within_jit(label):
    """The loss of such a row was lower than that of any real one."""
    logits = np.zeros((2, 6, CLASSES), np.float32)
    labels, lengths = np.array([[1, label, 1], [1, 1, label]]), np.array([3, 2])
    losses, fits = jax.jit(ctc_losses)(logits, np.array([6, 6]), labels, lengths)
    assert np.isnan(losses).tolist() == [True, False] and fits.all()


def test_a_label_fits_from_its_length_plus_its_repeats_on():
    labels = jnp.array([[1, 2, 1], [1, 1, 2], [2, 2, 2], [1, 1, 0]])
    lengths = jnp.array([3, 3, 3, 2])
    needed = np.array([3, 4, 5, 3])
    assert alignable(labels, lengths, jnp.asarray(needed)).all()
    assert not alignable(labels, lengths, jnp.asarray(needed - 1)).any()


def test_padding_after_a_label_is_no_repeat():
    assert alignable(jnp.array([[1, 0, 0, 0]]), jnp.array([1]), jnp.array([1])).all()


def test_blank_is_class_0():
    logits = np.full((1, 4, CLASSES), -20.0, np.float32)
    logits[..., 0] = 20.0
    losses, _ = jax.jit(ctc_losses)(logits, np.array([4]), np.zeros((1, 2), int), np.array([0]))
    np.testing.assert_allclose(losses, 0.0, atol=1e-5)


@pytest.fixture(scope="module")
def objective(quiet):
    model = dataclasses.replace(
        quiet, channel_mask_start_prob=0.02, channel_mask_length=4, feature_grad_scale=0.0
    )
    return CTC(model, num_classes=5)


@pytest.fixture(scope="module")
def gradient(objective):
    def run(params, batch, keys):
        sums = objective.loss(params, batch, keys, 0)
        return sums.loss, sums

    return jax.jit(jax.grad(run, has_aux=True))


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5), a, b)


@pytest.mark.parametrize("change", ["unalignable", "filler"])
def test_a_row_that_does_not_count_changes_no_loss_gradient_or_weight(
    change, gradient, params, keys, make_batch
):
    batch = make_batch()
    labels, lengths, weights = batch.labels.copy(), batch.num_labels.copy(), batch.weights.copy()
    labels[3], lengths[3], weights[3] = 0, 1, 0.0
    without = gradient(params, batch._replace(weights=weights), keys)
    if change == "unalignable":
        samples = batch.num_samples.copy()
        samples[3] = 150  # 6 frames for 5 labels and 4 repeats
        labels[3, :5], lengths[3] = 1, 5
        changed = batch._replace(labels=labels, num_labels=lengths, num_samples=samples)
    else:
        changed = batch._replace(labels=labels, num_labels=lengths, weights=weights)
    gradients, sums = gradient(params, changed, keys)
    close(gradients, without[0])
    np.testing.assert_allclose(sums.loss, without[1].loss, rtol=1e-5)
    assert sums.weight == 7
    unalignable = sums.metrics["unalignable"]
    assert (unalignable.total, unalignable.weight) == (
        (1, 8) if change == "unalignable" else (0, 7)
    )


def test_the_loss_does_not_depend_on_the_order_of_rows(gradient, params, keys, make_batch):
    batch = make_batch()
    order = np.array([5, 2, 7, 0, 1, 6, 4, 3])
    moved = jax.tree.map(lambda x: x[order], batch)
    first, second = gradient(params, batch, keys), gradient(params, moved, keys[order])
    np.testing.assert_allclose(first[1].loss, second[1].loss, rtol=1e-5)
    close(first[0], second[0])


def test_padding_rows_longer_changes_nothing(objective, params, keys, make_batch):
    batch = make_batch()
    longer = batch._replace(
        waveforms=np.pad(batch.waveforms, ((0, 0), (0, 300))),
        labels=np.pad(batch.labels, ((0, 0), (0, 4))),
    )
    evaluate = jax.jit(objective.evaluate)
    first, second = evaluate(params, batch, keys, 0)[0], evaluate(params, longer, keys, 0)[0]
    for name in first.metrics:
        np.testing.assert_allclose(first.metrics[name], second.metrics[name], rtol=1e-5)
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-5)


def absolute_sum(tree):
    return sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))


def test_the_intermediate_loss_is_that_of_a_network_of_half_the_blocks(
    objective, gradient, params, keys, make_batch
):
    batch = make_batch()
    last = gradient(params, batch, keys)[1]
    half = dataclasses.replace(objective, model=dataclasses.replace(objective.model, num_layers=1))
    transformer = params["encoder"]["transformer"]
    layers = jax.tree.map(lambda x: x[:1], transformer["layers"])
    encoder = params["encoder"] | {"transformer": transformer | {"layers": layers}}
    early = jax.jit(half.loss)(params | {"encoder": encoder}, batch, keys, 0)
    assert objective.model.norm_order == "post"
    mixed, even = (dataclasses.replace(objective, intermediate_weight=w) for w in (0.3, 0.5))
    sums = jax.jit(mixed.loss)(params, batch, keys, 0)
    np.testing.assert_allclose(sums.loss, 0.7 * last.loss + 0.3 * early.loss, rtol=1e-5)
    np.testing.assert_allclose(sums.metrics["intermediate_loss"].total, early.loss, rtol=1e-5)
    np.testing.assert_allclose(sums.metrics["loss"].total, last.loss, rtol=1e-5)
    np.testing.assert_allclose(even.mixed(last, early).loss, (last.loss + early.loss) / 2)
    programs = [
        jax.jit(o.evaluate).lower(params, batch, keys, 0).as_text() for o in (mixed, objective)
    ]
    assert programs[0] == programs[1]


def test_a_pre_ln_networks_intermediate_context_has_the_last_norm(
    quiet, random_params, keys, make_batch
):
    model = dataclasses.replace(quiet, norm_order="pre")
    whole = CTC(model, num_classes=5, intermediate_weight=0.5)
    params = random_params(whole)
    half = CTC(dataclasses.replace(model, num_layers=1), num_classes=5)
    transformer = params["encoder"]["transformer"]
    layers = jax.tree.map(lambda x: x[:1], transformer["layers"])
    encoder = params["encoder"] | {"transformer": transformer | {"layers": layers}}
    sums = jax.jit(whole.loss)(params, make_batch(), keys, 0)
    early = jax.jit(half.loss)(params | {"encoder": encoder}, make_batch(), keys, 0)
    np.testing.assert_allclose(sums.metrics["intermediate_loss"].total, early.loss, rtol=1e-5)


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_a_share_of_the_intermediate_loss_is_below_1(quiet, weight):
    with pytest.raises(InputError, match=r"objective.intermediate_weight=.* from 0 to below 1"):
        CTC(quiet, num_classes=5, intermediate_weight=weight)


@pytest.mark.parametrize("change", [dict(num_layers=1), dict(output_adapter_layers=1)])
def test_an_intermediate_loss_needs_a_block_before_the_last(quiet, change):
    with pytest.raises(InputError, match=r"needs two blocks .* and no output adapter"):
        CTC(dataclasses.replace(quiet, **change), num_classes=5, intermediate_weight=0.3)


def test_a_frozen_encoder_gets_no_gradient_by_an_intermediate_loss(
    objective, params, keys, make_batch
):
    frozen = dataclasses.replace(objective, freeze_updates=10, intermediate_weight=0.3).at(3)
    value = lambda p: frozen.loss(p, make_batch(), keys, 3).loss  # noqa: E731
    gradients = jax.jit(jax.grad(value))(params)
    assert absolute_sum(gradients["encoder"]) == 0.0
    assert absolute_sum(gradients["head"]) > 0.0


def test_a_frozen_encoder_gets_no_gradient_and_the_head_does(objective, params, keys, make_batch):
    frozen = dataclasses.replace(objective, freeze_updates=10).at(3)
    value = lambda p: frozen.loss(p, make_batch(), keys, 3).loss  # noqa: E731
    gradients = jax.jit(jax.grad(value))(params)
    assert absolute_sum(gradients["encoder"]) == 0.0
    assert absolute_sum(gradients["head"]) > 0.0


def test_freezing_ends_at_freeze_updates(objective):
    staged = dataclasses.replace(objective, freeze_updates=10)
    assert [staged.at(step).frozen for step in (0, 9, 10, 11)] == [True, True, False, False]


def test_feature_grad_scale_0_freezes_the_convolutions_but_not_their_norm_and_projection(
    gradient, params, keys, make_batch
):
    gradients = gradient(params, make_batch(), keys)[0]["encoder"]
    assert absolute_sum(gradients["feature_extractor"]) == 0.0
    assert absolute_sum(gradients["feature_norm"]) > 0.0
    assert absolute_sum(gradients["feature_projection"]) > 0.0
    assert absolute_sum(gradients["transformer"]) > 0.0


def test_channel_masks_cover_spans_of_whole_width_at_the_expected_share(quiet):
    model = dataclasses.replace(
        quiet, d_model=768, channel_mask_start_prob=0.004, channel_mask_length=64,
        num_heads=4, mask_start_prob=0.0,
    )  # fmt: skip
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(2000))
    masks = jax.jit(lambda k: CTC(model, 5).masks(k, jnp.full(2000, 1000), 1000))
    time_mask, channel_mask = masks(keys)
    assert time_mask is None
    assert channel_mask.shape == (2000, 768)
    mask = np.asarray(channel_mask)
    # 3.072 spans a row (3, or 4 with probability 0.072) whose starts are among the first 704
    position = np.arange(768)
    hits = np.minimum(position, 703) - np.maximum(position - 63, 0) + 1  # starts that cover it
    missed = [math.comb(704 - hit, 3) / math.comb(704, 3) for hit in hits]
    missed_by_4 = [math.comb(704 - hit, 4) / math.comb(704, 4) for hit in hits]
    expected = 1 - 0.928 * np.mean(missed) - 0.072 * np.mean(missed_by_4)
    assert mask.mean() == pytest.approx(expected, abs=0.003)
    assert not mask[:, -1].any()
    spans = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    assert (np.nonzero(spans == -1)[1] - np.nonzero(spans == 1)[1]).min() == 64


def test_without_masking_probabilities_there_are_no_masks(quiet):
    model = dataclasses.replace(quiet, mask_start_prob=0.0)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(2))
    assert CTC(model, 5).masks(keys, jnp.full(2, 1000), 1000) == (None, None)


def test_training_logs_the_share_of_frames_that_its_masks_hide(quiet, random_params, make_batch):
    model = dataclasses.replace(quiet, mask_start_prob=0.1, mask_length=3)
    objective, batch = CTC(model, 5), make_batch(labels=True)
    params = random_params(objective)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(len(batch.weights)))
    sums = jax.jit(objective.loss)(params, batch, keys, 0)
    mask, _ = objective.masks(keys, batch.num_samples, batch.waveforms.shape[1])
    counts = frame_counts(batch.num_samples, model.conv_layers)
    share = sums.metrics["masked_fraction"]
    hidden, frames = (mask.sum(1) * batch.weights).sum(), (counts * batch.weights).sum()
    assert 0 < hidden < frames
    np.testing.assert_allclose([share.total, share.weight], [hidden, frames])
    bare = CTC(dataclasses.replace(model, mask_start_prob=0.0), 5)
    assert "masked_fraction" not in jax.eval_shape(bare.loss, params, batch, keys, 0).metrics


def test_so_few_channel_masks_are_asked_for_that_a_row_may_have_none(tiny):
    model = dataclasses.replace(
        tiny, channel_mask_start_prob=1e-9, channel_mask_length=2, mask_start_prob=0.0
    )
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(4))
    time_mask, channel_mask = CTC(model, num_classes=5).masks(keys, np.full(4, 1000), 1000)
    assert time_mask is None
    assert channel_mask.shape == (4, model.d_model) and not channel_mask.any()


class Heard(CTC):
    """The objective over a network that gives the same logits whatever it hears."""

    @property
    def network(self):
        def apply(_, waveforms, counts, **options):
            logits = jnp.zeros((len(waveforms), 49, self.num_classes))
            return logits, jnp.full(len(waveforms), 49)

        return types.SimpleNamespace(apply=apply)


def test_the_masked_share_is_that_of_the_rows_with_weight(tiny, make_batch):
    batch = make_batch(shortest=1000)._replace(weights=np.array([1, 1, 0, 1, 0, 1, 1, 1], "f"))
    objective = Heard(dataclasses.replace(tiny, mask_start_prob=0.1), num_classes=5)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(8))

    @jax.jit
    def hidden(keys):
        mask, _ = objective.masks(keys, batch.num_samples, 1000)
        return mask, objective.loss({}, batch, keys, 0).metrics["masked_fraction"]

    mask, share = hidden(keys)
    assert share.weight == 6 * 49
    assert share.total == mask[np.flatnonzero(batch.weights)].sum() > 0


@pytest.mark.slow
def test_every_parameter_of_stacked_positions_and_an_output_adapter_learns(
    quiet, random_params, make_batch
):
    model = dataclasses.replace(
        quiet, position_depth=2, output_adapter_layers=1, output_dim=12, mask_start_prob=0.2
    )
    objective = CTC(model, num_classes=5)
    batch = make_batch(2, seed=1)._replace(num_labels=np.array([2, 2], np.int32))
    batch = batch._replace(labels=np.maximum(batch.labels, 1))
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(2))

    def loss(params):
        sums = objective.loss(params, batch, keys, 0)
        return sums.loss, sums.metrics

    gradients, metrics = jax.jit(jax.grad(loss, has_aux=True))(random_params(objective))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 0 or "qkv_bias" in str(path), path
    mask, _ = objective.masks(keys, batch.num_samples, batch.waveforms.shape[1])
    share = float(mask.sum() / frame_counts(batch.num_samples, model.conv_layers).sum())
    assert float(metrics["masked_fraction"].total / metrics["masked_fraction"].weight) == (
        pytest.approx(share)
    )
    audio = batch.waveforms, batch.num_samples
    logits, _ = jax.eval_shape(
        lambda params: objective.network.apply({"params": params}, *audio), random_params(objective)
    )
    assert logits.shape[1] == frame_counts(1000, model.output_layers) == 25
