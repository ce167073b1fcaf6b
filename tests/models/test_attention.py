"""Attention: the formulations for TPU and GPU are the plain one, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.jaxprs import equations
from w2v2_jax import partition
from w2v2_jax.models import attention, attention_gpu, row_random
from w2v2_jax.models.attention_gpu import tiled
from w2v2_jax.models.attention_tpu import few_passes
from w2v2_jax.models.transformer import REMAT_POLICIES

SHAPE = (3, 2, 11, 4)
REAL = jnp.arange(11)[None] < jnp.array([[11], [7], [1]])
LONG = (2, 2, attention_gpu.FORWARD.own + 30, 20)  # more than one tile, and none of them whole


def plain(query, key, value, real, keys, rate):
    scores = jnp.einsum("bhqs,bhks->bhqk", query, key)
    weights = jax.nn.softmax(jnp.where(real[:, None, None, :], scores, -1e30), axis=-1)
    return jnp.einsum("bhqk,bhks->bhqs", row_random.dropout(weights, rate, keys), value)


def random(seed, scale=1.0, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * scale, jnp.float32)


@functools.partial(jax.jit, static_argnums=(0, 5))
def found(formulation, operands, target, real, keys, rate):
    """(output, gradients of its product with target)."""

    def value(*operands):
        out = formulation(*operands, real, keys, rate)
        return (out * target).sum(), out

    gradients, out = jax.grad(value, (0, 1, 2), has_aux=True)(*operands)
    return out, gradients


@pytest.mark.parametrize("formulation", [few_passes, tiled])
@pytest.mark.parametrize(
    ("scale", "rate"), [(1.0, 0.0), (1.0, 0.3), (9.0, 0.0)], ids=["plain", "dropout", "large"]
)
def test_a_formulation_is_plain_attention_with_its_gradients(formulation, scale, rate):
    # At scale 9 scores reach hundreds: a softmax without a shift would overflow.
    operands = (random(0, scale), random(1, scale), random(2))
    keys = jax.random.split(jax.random.key(0), 3) if rate else None
    got, expected = (
        found(one, operands, random(3), REAL, keys, rate) for one in (formulation, plain)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5 * max(1, scale))
    jax.tree.map(close, got, expected)


def test_many_tiles_drop_what_the_other_formulations_drop():
    operands = (random(0, 0.3, LONG), random(1, 1.0, LONG), random(2, 1.0, LONG))
    real = jnp.arange(LONG[2])[None] < jnp.array([[LONG[2]], [40]])
    keys = jax.random.split(jax.random.key(0), 2)
    got, expected = (
        found(one, operands, random(3, 1.0, LONG), real, keys, 0.1) for one in (tiled, plain)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), got, expected)


@pytest.mark.parametrize("formulation", [few_passes, tiled])
def test_a_row_without_a_real_frame_averages_its_frames_with_finite_gradients(formulation):
    operands = (random(0), random(1), random(2))
    out, gradients = found(formulation, operands, random(3), REAL & False, None, 0.0)
    np.testing.assert_allclose(out, jnp.broadcast_to(random(2).mean(2, keepdims=True), SHAPE), 1e-4)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def half(shape=LONG, rate=0.1):
    """(operands, a function of them whose value's gradient takes every kernel), bfloat16."""
    operands = tuple(random(i, 0.5, shape).astype(jnp.bfloat16) for i in range(3))
    real = jnp.arange(shape[2])[None] < jnp.array([[shape[2]], [40]] * (shape[0] // 2))
    keys = jax.random.split(jax.random.key(0), shape[0])
    return operands, lambda *x: tiled(*x, real, keys, rate).astype(jnp.float32).sum()


def test_the_kernels_lower_to_triton_for_a_gpu(monkeypatch):
    monkeypatch.setattr(attention_gpu, "platform", lambda: "gpu")
    operands, value = half()
    traced = jax.jit(jax.grad(value, (0, 1, 2))).trace(*operands)
    assert (
        len(equations(traced.jaxpr.jaxpr, "pallas_call")) == 3
    )  # forward, keys and values, queries
    try:
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    except RuntimeError as error:  # later versions of JAX compile for the GPU that is there
        pytest.skip(str(error))
    assert text.count("@__gpu$xla.gpu.triton") == 3


def test_the_kernels_state_the_flops_of_their_products():
    operands, value = half()
    jaxpr = jax.make_jaxpr(jax.grad(value, (0, 1, 2)))(*operands).jaxpr
    stated = [int(e.params["metadata"]["flops"]) for e in equations(jaxpr, "pallas_call")]
    batch, heads, frames, _ = LONG
    tiles = -(-frames // 64) * 64
    product = 2 * batch * heads * tiles * tiles * 32  # a width of 20, padded
    assert sorted(stated) == [2 * product, 3 * product, 4 * product]


@pytest.mark.parametrize(("policy", "kernels"), [("dots", 3), ("attention", 3), ("full", 4)])
def test_a_remat_policy_that_keeps_attention_does_not_run_the_kernel_again(policy, kernels):
    operands, value = half()
    again = jax.checkpoint(value, policy=REMAT_POLICIES[policy])
    jaxpr = jax.make_jaxpr(jax.grad(again, (0, 1, 2)))(*operands).jaxpr
    assert len(equations(jaxpr, "pallas_call")) == kernels


def test_kernels_of_unlike_tiles_compute_the_same(monkeypatch):
    """Frames are then padded further than some kernels go."""
    operands, value = half((2, 2, 150, 16))
    expected = jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*operands)
    for name, tiles in (("FORWARD", (64, 16)), ("OF_KEYS", (16, 64)), ("OF_QUERIES", (32, 128))):
        monkeypatch.setattr(attention_gpu, name, attention_gpu.Tiles(*tiles, 4, 2))
    got = jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*operands)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), 2e-2, 2e-2)


def test_in_half_precision_the_kernels_are_as_exact_as_the_plain_formulation():
    operands = tuple(random(i, 0.5, LONG).astype(jnp.bfloat16) for i in range(3))
    real, target = jnp.ones(LONG[:1] + LONG[2:3], bool), random(3, 1.0, LONG)
    keys = jax.random.split(jax.random.key(0), 2)
    wide = tuple(x.astype(jnp.float32) for x in operands)
    exact = jax.tree.leaves(found(plain, wide, target, real, keys, 0.1))

    def errors(formulation):
        got = jax.tree.leaves(found(formulation, operands, target, real, keys, 0.1))
        return [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(got, exact, strict=True)]

    assert np.all(np.array(errors(tiled)) < 1.2 * np.array(errors(plain))), errors(tiled)


def test_on_a_mesh_every_device_computes_its_rows_and_heads_alone():
    shape = (8, 2, 11, 4)
    operands, value = half(shape)
    expected = jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*operands)
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
    placed = jax.device_put(operands, partition.batch_sharding(mesh))
    with jax.set_mesh(mesh):
        traced = jax.jit(jax.value_and_grad(value, (0, 1, 2))).trace(*placed)
        got = traced.lower().compile()(*placed)
    kernels = equations(traced.jaxpr.jaxpr, "pallas_call")
    assert {kernel.invars[0].aval.shape[:2] for kernel in kernels} == {(2, 1)}
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), atol=2e-2)


def test_the_kernel_is_taken_where_it_runs(monkeypatch):
    half = dict(dtype="bfloat16", size=64)
    assert attention.choose("gpu_kernel", **half) is attention.plain  # on CPU
    monkeypatch.setattr(attention, "platform", lambda: "gpu")
    assert attention.choose("auto", **half) is attention.plain  # no such GPU here
    monkeypatch.setattr(attention, "has_matrix_units", lambda: True)
    assert attention.choose("auto", **half) is attention.gpu_kernel
    assert attention.choose("auto", dtype="float32", size=64) is attention.plain
    assert attention.choose("auto", dtype="bfloat16", size=256) is attention.plain
