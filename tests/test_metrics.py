"""Means as sums with weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.metrics import Mean, Sums, compute, global_norm, merge


def test_merged_parts_give_the_mean_of_the_whole():
    values, weights = np.array([1.0, 5.0, 2.0]), np.array([1.0, 3.0, 4.0])
    total = Mean(0.0, 0.0)
    for value, weight in zip(values, weights, strict=True):
        total = merge(total, Mean(value * weight, weight))
    assert compute({"x": total})["x"] == pytest.approx(np.average(values, weights=weights))


def test_merging_adds_loss_weight_and_every_metric():
    one = Sums(1.0, 2.0, {"a": Mean(3.0, 4.0)})
    assert merge(one, one) == Sums(2.0, 4.0, {"a": Mean(6.0, 8.0)})


def test_a_mean_without_weight_is_left_out():
    metrics = {"empty": Mean(jnp.zeros(()), jnp.zeros(())), "full": Mean(jnp.ones(()), 2.0)}
    assert compute(metrics) == {"full": 0.5}


def test_computed_metrics_are_floats():
    assert type(compute({"x": Mean(jnp.ones(()), jnp.ones(()))})["x"]) is float


def test_the_global_norm_is_that_of_all_leaves_together_in_float32():
    tree = {"a": jnp.full((2, 2), 3.0, jnp.bfloat16), "b": [jnp.full((7,), 4.0)]}
    norm = global_norm(tree)
    assert norm.dtype == jnp.float32
    assert float(norm) == pytest.approx(np.sqrt(4 * 9 + 7 * 16))
