"""The first convolution, of one channel, and BASE's per-channel GroupNorm folded into it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from w2v2_jax.models import first_layer_gpu
from w2v2_jax.models.backend import has_matrix_units, has_triton, platform
from w2v2_jax.models.layers import EPSILON, gelu
from w2v2_jax.models.mixed_precision import add_bias, contract


def patches_of(x: jax.Array, kernel: int, stride: int, frames: int) -> jax.Array:
    """[B, S] -> [B, frames, kernel]; windows are views if the stride divides the kernel."""
    if kernel % stride == 0:
        views = [
            x[:, q : q + frames * stride].reshape(x.shape[0], frames, stride)
            for q in range(0, kernel, stride)
        ]
        return jnp.concatenate(views, axis=-1)
    taps = [x[:, j : j + (frames - 1) * stride + 1 : stride] for j in range(kernel)]
    return jnp.stack(taps, axis=-1)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Sums over frames of a [B, T, j] times b [B, T, k] in float32 -> [B, j, k]."""
    if platform() == "gpu":  # cuBLAS takes ten times as long in full float32
        return (a[..., None] * b[:, :, None]).sum(1)
    return jnp.einsum("btj,btk->bjk", a, b, precision="highest")


def _folded(patches, kernel, scale, real):
    """(centred patches, kernel of each row [B, k, O]) of the first convolution and its per-channel
    GroupNorm without the pre-norm activation.

    The convolution is linear, so each channel's mean and variance over time follow from the
    mean and covariance of the waveform patches (k and k x k numbers per row): normalise the
    weights per row and convolve once. patches [B, T, k] float32, kernel [k, O], real [B, T].
    """
    weight = real.astype(jnp.float32)[..., None]
    count = jnp.maximum(weight.sum(1, keepdims=True), 1.0)
    centred = patches - (patches * weight).sum(1, keepdims=True) / count
    covariance = _products(centred * weight, centred) / count
    variance = jnp.einsum("jo,bjk,ko->bo", kernel, covariance, kernel, precision="highest")
    gain = scale[None] * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + EPSILON)  # [B, O]
    return centred, kernel[None] * gain[:, None, :]


def folded_group_norm(patches, kernel, scale, bias, real, dtype):
    """First convolution and GroupNorm, see `_folded`, as a matmul."""
    centred, normalised = _folded(patches, kernel, scale, real)
    out = contract("btk,bko->bto", centred.astype(dtype), normalised)
    return add_bias(out, bias[None, None])


def _sum_of_taps(patches, kernel, bias):
    """patches [B, T, k] times kernel [B, k, O], plus bias [O], in float32."""
    total = bias[None, None]
    for j in range(kernel.shape[1]):
        tap = kernel[:, None, j].astype(patches.dtype).astype(jnp.float32)
        total = total + patches[:, :, j, None].astype(jnp.float32) * tap
    return total


def _in_kernels(patches, kernel) -> bool:
    """Whether kernels of our own compute the layer."""
    half = patches.dtype == jnp.bfloat16 and has_matrix_units() and has_triton()
    return half and first_layer_gpu.fits(kernel.shape[2], patches.shape[1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def taps_gelu(patches, kernel, bias, rows: int):
    """GELU of patches [B, T, k] times kernel [B, k, O], plus bias [O] -> [B, rows, O], whose rows
    from T on are zeros.

    A sum over few taps is one pass that writes the activation alone, where a matmul of ten columns
    misses a GPU's matrix units; the backward pass computes it again instead of reading it.
    """
    if _in_kernels(patches, kernel):
        return first_layer_gpu.activation(patches, kernel, bias, rows)
    value = gelu(_sum_of_taps(patches, kernel, bias)).astype(patches.dtype)
    return jnp.pad(value, ((0, 0), (0, rows - value.shape[1]), (0, 0)))


def _taps_backward(rows: int, saved, gradient):
    # Without the barrier the compiler would share the float32 sum with the forward pass, and store
    # it until then: the largest tensor of all.
    patches, kernel, bias = jax.lax.optimization_barrier(saved)
    _, backward = jax.vjp(gelu, _sum_of_taps(patches, kernel, bias))
    slope = gradient[:, : patches.shape[1]].astype(jnp.float32)
    slope = backward(slope)[0].astype(patches.dtype)
    for_patches = jnp.einsum("bto,bko->btk", slope, kernel.astype(patches.dtype))
    if _in_kernels(patches, kernel):  # training has no use for the waveform's gradient
        before = saved[0], saved[1], saved[2], gradient
        return for_patches, *first_layer_gpu.slopes(*before)
    # The bias is a tap that is always 1, so its gradient needs no separate pass over the slope.
    ones = jnp.ones((*patches.shape[:2], 1), patches.dtype)
    extended = jnp.concatenate([patches, ones], axis=-1)
    sums = jnp.einsum("btk,bto->bko", extended, slope, preferred_element_type=jnp.float32)
    return for_patches, sums[:, :-1], sums[:, -1].sum(0)


def _taps_forward(patches, kernel, bias, rows: int):
    return taps_gelu(patches, kernel, bias, rows), (patches, kernel, bias)


taps_gelu.defvjp(_taps_forward, _taps_backward)


def summed_group_norm(patches, kernel, scale, bias, real, dtype, rows: int):
    """GELU of `folded_group_norm` in one pass, filled up to `rows` with zeros."""
    centred, normalised = _folded(patches, kernel, scale, real)
    return taps_gelu(centred.astype(dtype), normalised, bias, rows)
