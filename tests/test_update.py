"""One update of an objective of a few numbers: what is divided, counted, skipped and added up."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from w2v2_jax import partition
from w2v2_jax.batch import Batch
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.train_step import TrainState, eval_step, microbatches, train_step, whole_batch

ROWS, SAMPLES = 8, 3
TX = optax.sgd(1.0)


def loss(params, batch, keys, step):
    """Linear: its gradient is the rows' weighted sum; `drawn` is what the rows' keys draw."""
    rows = batch.waveforms @ params["encoder"]["feature_extractor"]["w"] + params["head"]
    total = batch.weights.sum()
    drawn = jax.vmap(jax.random.uniform)(keys)
    value = (rows * batch.weights).sum()
    return Sums(value, total, {"drawn": Mean((drawn * batch.weights).sum(), total)})


OBJECTIVE = types.SimpleNamespace(
    loss=loss,
    evaluate=lambda params, batch, keys, step: (
        loss(params, batch, keys, step),
        {"drawn": jax.vmap(jax.random.uniform)(keys)},
    ),
)


def state_and_batch(weights=(1, 1, 1, 0, 1, 1, 0, 1)):
    rng = np.random.default_rng(0)
    w = rng.normal(size=SAMPLES).astype(np.float32)
    params = {"encoder": {"feature_extractor": {"w": jnp.asarray(w)}}, "head": jnp.float32(0.5)}
    waveforms = rng.normal(size=(ROWS, SAMPLES)).astype(np.float32)
    counts = np.full(ROWS, SAMPLES, np.int32)
    batch = Batch(waveforms, counts, np.array(weights, np.float32))
    return TrainState(jnp.int32(4), params, TX.init(params)), jax.tree.map(jnp.asarray, batch)


def step(state, batch, *, accumulate=1, shards=1, seed=3):
    return train_step(
        state, batch, np.uint32(seed),
        objective=OBJECTIVE, tx=TX, accumulate=accumulate, shards=shards,
    )  # fmt: skip


def value(mean):
    return float(mean.total / mean.weight)


@pytest.mark.parametrize("weights", [(1, 1, 1, 0, 1, 1, 0, 1), (0.5, *[0] * 7)])
def test_a_gradient_is_divided_by_the_weight_where_that_is_over_1(weights):
    state, batch = state_and_batch(weights)
    after, metrics = step(state, batch)
    divisor = max(sum(weights), 1.0)
    of_w = (np.array(weights)[:, None] * batch.waveforms).sum(0) / divisor
    of_head = sum(weights) / divisor
    w = state.params["encoder"]["feature_extractor"]["w"]
    after_w = after.params["encoder"]["feature_extractor"]["w"]
    np.testing.assert_allclose(after_w, w - of_w, rtol=1e-5)
    np.testing.assert_allclose(after.params["head"], 0.5 - of_head, rtol=1e-6)
    assert int(after.step) == 5
    norm = np.sqrt((of_w**2).sum() + of_head**2)
    assert value(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
    features = np.sqrt((of_w**2).sum())
    assert value(metrics["feature_gradient_norm"]) == pytest.approx(features, rel=1e-5)
    assert value(metrics["weight"]) == sum(weights)
    assert value(metrics["empty_rows"]) == weights.count(0) / ROWS
    assert (value(metrics["skipped"]), value(metrics["non_finite"])) == (0, 0)


@pytest.mark.parametrize(
    ("weight", "sample", "skipped", "non_finite"),
    [(0, 1.0, 1, 0), (1, np.nan, 1, 1), (1, 1.0, 0, 0)],
)
def test_an_update_without_weight_or_with_no_number_is_skipped(weight, sample, skipped, non_finite):
    state, batch = state_and_batch([weight] * ROWS)
    batch = batch._replace(waveforms=batch.waveforms.at[0, 0].set(sample))
    after, metrics = step(state, batch)
    assert (value(metrics["skipped"]), value(metrics["non_finite"])) == (skipped, non_finite)
    assert int(after.step) == 5
    unchanged = [
        bool(jnp.array_equal(a, b))
        for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(state.params), strict=True)
    ]
    assert unchanged == [bool(skipped)] * 2


def test_rows_stay_together_in_microbatches_and_on_their_shards():
    rows = np.arange(8 * 3 * 2).reshape(8, 3, 2)
    parts = microbatches({"x": rows}, 2, 2)["x"]
    np.testing.assert_array_equal(parts, np.stack([rows[[0, 1, 4, 5]], rows[[2, 3, 6, 7]]]))
    np.testing.assert_array_equal(microbatches(np.arange(8), 4, 1), np.arange(8).reshape(4, 2))


@pytest.mark.parametrize(("parts", "shards"), [(1, 1), (4, 1), (2, 4), (4, 2)])
def test_rows_come_back_from_microbatches_in_their_order(parts, shards):
    rows = np.arange(8 * 3).reshape(8, 3)
    np.testing.assert_array_equal(whole_batch(microbatches(rows, parts, shards), shards), rows)


@pytest.mark.parametrize(("parts", "data"), [(4, 1), (2, 4), (8, 1), (4, 2)])
def test_a_validation_in_microbatches_has_the_same_sums_and_outputs(parts, data):
    state, batch = state_and_batch()
    evaluate = functools.partial(eval_step, objective=OBJECTIVE)
    expected = evaluate(state.params, batch, 4, np.uint32(3))
    mesh = partition.make_mesh(data=data, devices=jax.devices()[:data])
    with jax.set_mesh(mesh):
        jitted = jax.jit(functools.partial(evaluate, parts=parts, shards=data))
        result = jitted(state.params, batch, 4, np.uint32(3))
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    jax.tree.map(compare, result, expected)


@pytest.mark.parametrize(("accumulate", "data"), [(4, 1), (2, 4), (1, 4), (4, 2)])
def test_microbatches_and_devices_change_nothing(accumulate, data):
    state, batch = state_and_batch()
    expected, expected_metrics = step(state, batch)
    mesh = partition.make_mesh(data=data, devices=jax.devices()[:data])
    with jax.set_mesh(mesh):
        jitted = jax.jit(functools.partial(step, accumulate=accumulate, shards=data))
        after, metrics = jitted(state, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), (after, metrics),
        (expected, expected_metrics),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("accumulate", "data", "once"), [(1, 1, False), (1, 4, False), (2, 1, False), (2, 4, True)]
)
def test_devices_add_up_their_microbatches_and_exchange_the_total_where_there_are_both(
    accumulate, data, once
):
    state, batch = state_and_batch()
    mesh = partition.make_mesh(data=data, devices=jax.devices()[:data])
    with jax.set_mesh(mesh):
        program = jax.make_jaxpr(functools.partial(step, accumulate=accumulate, shards=data))
        assert ("shard_map" in str(program(state, batch))) == once


def test_training_draws_anew_at_every_step_and_evaluation_never():
    state, batch = state_and_batch()
    drawn = [value(step(state._replace(step=jnp.int32(k)), batch)[1]["drawn"]) for k in (4, 4, 5)]
    assert drawn[0] == drawn[1] != drawn[2]
    shown = [
        np.asarray(eval_step(state.params, batch, k, np.uint32(3), objective=OBJECTIVE)[1]["drawn"])
        for k in (4, 5)
    ]
    np.testing.assert_array_equal(*shown)
    assert len(set(shown[0].tolist())) == ROWS
