"""Every objective in float16: its sums are float32, and near those of a float32 network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.jaxprs import equations
from w2v2_jax.models import row_random
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.base import TEACHER
from w2v2_jax.objectives.table import OBJECTIVES

HALF = Execution(dtype="float16")
NETWORKS = {
    "contrastive": {},
    "ctc": {},
    "random_targets": {},
    "ema_teacher": {},
    "classify": {},
    "classify, layer_sum": dict(layer_sum=True),
    "ctc, lora": dict(lora_rank=2),
    "ctc, adapters": dict(adapter_dim=4, norm_order="pre"),
    "ctc, output adapter": dict(output_adapter_layers=1),
    "ctc, pre": dict(norm_order="pre", extractor_norm="layer"),
    "ema_teacher, pre": dict(norm_order="pre", extractor_norm="layer"),
    "ema_teacher, depth": dict(position_depth=2),
    "contrastive, quantized input": dict(quantize_input=True),
}
REDUCTIONS = ("exp", "exp2", "log", "log1p", "reduce_sum", "reduce_max", "cumsum", "logistic")


@pytest.fixture(params=NETWORKS)
def both(request, quiet):
    """The objective as computed in float32 and in float16."""
    model = dataclasses.replace(quiet, **NETWORKS[request.param])
    kind = OBJECTIVES[request.param.partition(",")[0]]
    more = dict(top_layers=2) if kind.name == "ema_teacher" else {}
    more |= dict(num_classes=5) if kind.needs_vocabulary else {}
    more |= dict(diversity_group_seconds=0.1) if kind.name == "contrastive" else {}
    more |= dict(entries=16, code_dim=4, mel_bands=8) if kind.name == "random_targets" else {}
    return kind(model=model, **more), kind(model=model, execution=HALF, **more)


@pytest.fixture
def steps(both, random_params, make_batch):
    """(parameters, (loss, sums) and gradients as functions of them, in float32 and in float16)."""
    params, batch = random_params(both[0]), make_batch(4)
    keys = row_random.row_keys(jax.random.key(2), jnp.arange(4))
    if (teacher := both[0].teacher(params)) is not None:
        params = {**params, TEACHER: jax.tree.map(lambda x: 1.1 * x, teacher)}

    def step(objective):
        def loss(params):
            sums = objective.loss(params, batch, keys, jnp.int32(0))
            return sums.loss / sums.weight, sums

        return jax.value_and_grad(loss, has_aux=True)

    return params, *map(step, both)


def test_softmaxes_and_sums_are_float32(steps):
    params, _, half = steps
    traced = jax.make_jaxpr(half)(params)
    for name in REDUCTIONS:
        for equation in equations(traced.jaxpr, name):
            assert all(x.aval.dtype != jnp.float16 for x in equation.outvars), equation
    assert all(x.dtype != jnp.float16 for x in traced.out_avals)


@pytest.mark.slow
def test_loss_and_gradients_are_near_those_of_float32(steps):
    params, whole, half = steps
    (full, _), slopes = jax.jit(whole)(params)
    (low, _), gradients = jax.jit(half)(params)
    np.testing.assert_allclose(low, full, rtol=0.02)
    norm = lambda tree: np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(tree)))  # noqa: E731
    off = jax.tree.map(lambda a, b: np.asarray(a - b), gradients, slopes)
    assert norm(off) < 0.1 * norm(jax.tree.map(np.asarray, slopes))
