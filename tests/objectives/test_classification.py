"""The classifier's objective: a closed form, what a row weighs, what is frozen, its figures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.classes import class_scores, confusion
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.metrics import compute
from w2v2_jax.models import row_random
from w2v2_jax.models.heads import mean_of_real
from w2v2_jax.objectives.classes import Classes, classes_of
from w2v2_jax.objectives.classification import Classification


@pytest.fixture(scope="module")
def objective(quiet):
    model = dataclasses.replace(quiet, head_dim=6, layer_sum=True, mask_start_prob=0.0)
    return Classification(model, 5)


@pytest.fixture(scope="module")
def batch(make_batch):
    return make_batch(rows=4)._replace(weights=np.array([1, 1, 1, 0], np.float32))


def test_the_loss_is_minus_the_log_probability_of_each_rows_class(objective, batch):
    logits = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    sums = objective.terms(jnp.asarray(logits), batch)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = batch.labels[:, 0]
    expected = -np.log(probability[np.arange(3), labels[:3]]).sum()  # the last row weighs nothing
    np.testing.assert_allclose(sums.loss, expected, rtol=1e-5)
    assert sums.weight == 3
    right = (logits.argmax(1) == labels)[:3].mean()
    np.testing.assert_allclose(compute(sums.metrics)["accuracy"], right)


def test_the_mean_over_frames_sees_real_ones_alone():
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    found = mean_of_real(jnp.asarray(x), jnp.array([7, 4]))
    np.testing.assert_allclose(found[1], x[1, :4].mean(0), rtol=1e-5)


def test_a_padded_row_gives_what_it_gives_alone(objective, batch, random_params):
    params = random_params(objective)
    apply = jax.jit(lambda w, n: objective.network.apply({"params": params}, w, n))
    whole = apply(batch.waveforms, batch.num_samples)
    n = int(batch.num_samples[1])
    alone = apply(batch.waveforms[1:2, :n], batch.num_samples[1:2])
    np.testing.assert_allclose(whole[1], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("updates", [0, 3])
def test_while_frozen_the_head_and_the_layers_weights_alone_learn(
    objective, batch, random_params, updates
):
    objective = dataclasses.replace(objective, freeze_updates=updates).at(2)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(4))
    loss = lambda params: objective.loss(params, batch, keys, 0).loss  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(random_params(objective))
    moved = {
        name: any(np.abs(x).max() > 0 for x in jax.tree.leaves(g)) for name, g in gradient.items()
    }
    head = {"projector", "classifier", "layer_weights"}
    assert moved == {name: name in head or updates == 0 for name in moved}


@pytest.mark.parametrize("name", ["frames", "xvector"])
def test_a_run_cannot_have_a_head_that_is_not_trained(name):
    sections = {key: {} for key in ("model", "objective", "schedule", "data", "train")}
    with pytest.raises(InputError, match=rf"name='{name}' is not known; use one of .*classify$"):
        read_settings({**sections, "objective": {"name": name}})


def test_f1_is_the_mean_over_classes_that_occur():
    counts = confusion([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2], classes=4)
    scores = class_scores(counts)
    assert scores.accuracy == 4 / 6
    # Class 0: precision 2/3, recall 2/3; class 1: 1/2, 1/2; class 2: 1; class 3 never occurs.
    np.testing.assert_allclose(scores.f1, [2 / 3, 1 / 2, 1, 0])
    np.testing.assert_allclose(scores.macro_f1, (2 / 3 + 1 / 2 + 1) / 3)


def test_classes_are_the_different_texts_and_others_are_none():
    classes = classes_of(["yes", "no", " no ", "stop  it", ""])
    assert classes.symbols == ("no", "stop it", "yes")
    assert classes.encode("stop it").tolist() == [1] and classes.encode("maybe").size == 0
    assert classes.has_words("yes ") and not classes.has_words("Yes")
    assert Classes.from_json(classes.to_json()) == classes
    with pytest.raises(InputError, match="different texts"):
        Classes(("a", "a "))
