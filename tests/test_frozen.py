"""Parameters of rate 0 have no gradient and no moments, and the others learn as before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax import partition, trees
from w2v2_jax.models import row_random
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import AdamState, adam, constant, trainable, with_frozen
from w2v2_jax.train_step import init_state, summed_gradients, train_step

HEAD = (("^head/", 1.0), (".", 0.0))


def size(tree) -> int:
    """Bytes of the arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def objective(quiet):
    return CTC(quiet, num_classes=5)


def step(objective, params, batch, table):
    tx = adam(constant(peak=0.1), rate_by_path=table)
    state = init_state(objective, tx, 0)._replace(params=params, opt_state=tx.init(params))
    run = jax.jit(lambda state, batch: train_step(
        state, batch, np.uint32(0), objective=objective, tx=tx, accumulate=1, table=table
    ))  # fmt: skip
    return run(state, batch)


def moments(opt_state) -> AdamState:
    kind = lambda x: isinstance(x, AdamState)  # noqa: E731
    return next(x for x in jax.tree.leaves(opt_state, is_leaf=kind) if kind(x))


def test_moments_take_two_times_the_bytes_of_what_learns_and_none_for_the_rest(
    objective, random_params
):
    params = random_params(objective)
    held = moments(adam(constant(peak=0.1), rate_by_path=HEAD).init(params))
    assert size((held.first, held.second)) == 2 * size(params["head"])
    assert size(params["encoder"]) > 0 and jax.tree.leaves(held.first["encoder"]) == []


def test_boxed_parameters_are_frozen_by_the_same_names(objective):
    exact = (("^head/kernel$", 1.0), (".", 0.0))
    tx = adam(constant(peak=0.1), rate_by_path=exact)
    state = jax.eval_shape(lambda: init_state(objective, tx, 0))
    assert len(jax.tree.leaves(moments(state.opt_state).first)) == 1
    placed = partition.shardings(state, partition.make_mesh(devices=jax.devices()[:1]))
    assert jax.tree.structure(placed) == jax.tree.structure(partition.unbox(state))


def test_frozen_parameters_have_no_gradient(objective, random_params, make_batch):
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(8))
    gradients, _ = jax.eval_shape(
        lambda params: summed_gradients(
            params, make_batch(), keys, 0, objective=objective, accumulate=2, shards=1, table=HEAD
        ),
        random_params(objective),
    )
    assert set(trees.flatten(gradients)) == {"head/kernel", "head/bias"}


@pytest.mark.slow
def test_what_learns_learns_as_if_the_others_had_a_rate_of_almost_0(
    objective, random_params, make_batch
):
    params, batch = random_params(objective), make_batch()
    state, metrics = step(objective, params, batch, HEAD)
    other, _ = step(objective, params, batch, (("^head/", 1.0), (".", 1e-30)))
    for name, leaf in trees.flatten(state.params["head"]).items():
        expected = trees.flatten(other.params["head"])[name]
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-5, err_msg=name)
        assert np.abs(leaf - trees.flatten(params["head"])[name]).max() > 0
    for name, leaf in trees.flatten(state.params["encoder"]).items():
        np.testing.assert_array_equal(leaf, trees.flatten(params["encoder"])[name])
    assert metrics["skipped"].total == 0 and metrics["gradient_norm"].total > 0
    assert "feature_gradient_norm" not in metrics  # frozen, not stuck


def test_what_is_taken_out_goes_back_where_it_was():
    tree = {"head": {"kernel": 1}, "encoder": {"kernel": 2, "bias": 3}}
    assert with_frozen(trainable(tree, HEAD), tree) == tree
    assert trainable(tree, (("x", 0.5),)) is tree
