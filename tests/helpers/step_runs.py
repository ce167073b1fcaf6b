"""Updates of an objective on any mesh."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax import partition
from w2v2_jax.optimizer import adam, constant
from w2v2_jax.train_step import TrainState, init_state, initial_scale, train_step

TX = adam(constant(peak=1e-2), eps=1e-2)  # a large eps: noise of empty gradients stays noise


AXES = ("data", "fsdp", "tensor")


@functools.cache
def compiled(objective, mesh, accumulate, tx):
    """(mesh, state shardings, compiled step) as the experiment makes them."""
    mesh = partition.make_mesh(
        **dict(zip(AXES, mesh, strict=True)), devices=jax.devices()[: math.prod(mesh)]
    )
    shardings = partition.shardings(jax.eval_shape(lambda: init_state(objective, tx, 0)), mesh)
    whole = partition.replicated(mesh)
    step = functools.partial(
        train_step, objective=objective, tx=tx, accumulate=accumulate,
        shards=partition.rows_axis(mesh),
    )  # fmt: skip
    step = jax.jit(
        step, in_shardings=(shardings, partition.batch_sharding(mesh), whole),
        out_shardings=(shardings, whole),
    )  # fmt: skip
    return mesh, shardings, step


def run(objective, params, batches, *, mesh=(1, 1, 1), accumulate=1, step=0, tx=TX):
    """States and metrics after each of the batches."""
    mesh, shardings, function = compiled(objective, mesh, accumulate, tx)
    teacher = objective.teacher(params)
    scale = initial_scale(objective)
    state = TrainState(jnp.full((), step, jnp.int32), params, tx.init(params), teacher, scale)
    state, history = jax.device_put(state, shardings), []
    with jax.set_mesh(mesh):
        for batch in batches:
            state, metrics = function(state, partition.global_batch(batch, mesh), np.uint32(5))
            history.append(jax.device_get((state, metrics)))
    return history


def assert_same_run(one, other, *, metrics=(1e-5, 1e-6), params=(1e-5, 2e-6)):
    """metrics, params: relative and absolute tolerance of each; the loss scale is the same."""
    for (state, found), (expected, expected_metrics) in zip(other, one, strict=True):
        assert state.loss_scale == expected.loss_scale
        for name, mean in expected_metrics.items():
            rtol, atol = metrics
            np.testing.assert_allclose(found[name], mean, rtol=rtol, atol=atol, err_msg=name)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=params[0], atol=params[1]),
            state.params, expected.params,
        )  # fmt: skip


def with_untaken(batches: list) -> list:
    """The batches, of which the second is not a number and the fourth without weight: neither
    update is taken."""
    broken = batches[1].waveforms.copy()
    broken[3, 10] = np.nan
    second = batches[1]._replace(waveforms=broken)
    fourth = batches[3]._replace(weights=np.zeros(8, np.float32))
    return [batches[0], second, batches[2], fourth, *batches[4:]]
