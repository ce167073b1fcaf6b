"""Attention: the formulations for TPU and GPU are the plain one, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.models import attention, kernel_attention, noise
from w2v2_jax.models.kernel_attention import tiled
from w2v2_jax.models.tight_attention import tight

SHAPE = (3, 2, 11, 4)
REAL = jnp.arange(11)[None] < jnp.array([[11], [7], [1]])
LONG = (2, 2, kernel_attention.BLOCK + 30, 20)  # more than one tile, and none of them whole


def plain(query, key, value, real, keys, rate):
    scores = jnp.einsum("bhqs,bhks->bhqk", query, key)
    weights = jax.nn.softmax(jnp.where(real[:, None, None, :], scores, -1e30), axis=-1)
    return jnp.einsum("bhqk,bhks->bhqs", noise.dropout(weights, rate, keys), value)


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


@pytest.mark.parametrize("formulation", [tight, tiled])
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


@pytest.mark.parametrize("formulation", [tight, tiled])
def test_a_row_without_a_real_frame_averages_its_frames_with_finite_gradients(formulation):
    operands = (random(0), random(1), random(2))
    out, gradients = found(formulation, operands, random(3), REAL & False, None, 0.0)
    np.testing.assert_allclose(out, jnp.broadcast_to(random(2).mean(2, keepdims=True), SHAPE), 1e-4)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_the_kernels_lower_to_triton_for_a_gpu(monkeypatch):
    monkeypatch.setattr(kernel_attention, "platform", lambda: "gpu")
    x = jax.ShapeDtypeStruct((2, 3, 100, 64), jnp.bfloat16)
    real, keys = jnp.ones((2, 100), bool), jax.random.split(jax.random.key(0), 2)
    value = lambda *x: tiled(*x, real, keys, 0.1).astype(jnp.float32).sum()  # noqa: E731
    text = jax.jit(jax.grad(value, (0, 1, 2))).trace(x, x, x).lower(lowering_platforms=("cuda",))
    assert text.as_text().count("@__gpu$xla.gpu.triton") == 3  # forward, keys and values, queries


def test_a_gpu_takes_the_kernel_in_half_precision_where_rows_alone_are_divided(monkeypatch):
    monkeypatch.setattr(attention, "platform", lambda: "gpu")
    assert attention.choose("auto", jnp.dtype("bfloat16")) is attention.kernel
    assert attention.choose("auto", jnp.dtype("float32")) is attention.fused
    monkeypatch.setattr(attention, "_mesh_axes", lambda: dict(data=2, fsdp=2, tensor=1))
    assert attention.choose("auto", jnp.dtype("bfloat16")) is attention.fused
