"""The first convolution with its GELU for GPU, as two kernels, one forward and one backward.

With ten taps, a matmul is too narrow for a library, and a sum needs twenty loads per element in
XLA's code: four milliseconds in each direction for 24 crops of 15.6 s, while writing the activation
takes 0.3. Here a tile of frames and channels is one small matmul in registers. The backward pass
computes it again, and the gradient, as large as the activation, is never written. The kernels are
written in Pallas for its Triton compiler. Without a GPU they are interpreted, which the tests use.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from w2v2_jax.models.backend import platform, stated, triton
from w2v2_jax.models.layers import INV_SQRT_TAU, LOG2E, SQRT_HALF
from w2v2_jax.models.sharding import EVERY, ROWS, WHOLE, run_per_device, splits

FRAMES, CHANNELS = 64, 128  # of a tile
CHUNKS = 16  # programs that share a row's frames in the backward pass
NARROWEST = 16  # columns of the smallest tile that Triton multiplies
# 1 - erf(x) = e^(-x^2) times this polynomial in t = 1 / (1 + P x), within 1.5e-7 for x >= 0
# (Abramowitz and Stegun 7.1.26): Triton's lowering has no erf.
P, POLYNOMIAL = 0.3275911, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def _normal(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The standard normal distribution's cumulative and density functions at x, float32."""
    power = jnp.exp2((-0.5 * LOG2E) * x * x)
    t = 1.0 / (1.0 + (P * SQRT_HALF) * jnp.abs(x))
    tail = 0.0
    for coefficient in reversed(POLYNOMIAL):
        tail = (tail + coefficient) * t
    tail = 0.5 * tail * power
    return jnp.where(x < 0, tail, 1.0 - tail), INV_SQRT_TAU * power


def _place(block, rows: int):
    """(first row of a block, its rows): the last block overlaps the one before it, so that none
    reaches beyond the array."""
    start = jnp.minimum(block * FRAMES, rows - FRAMES)
    return start, start + jnp.arange(FRAMES)


def _forward_kernel(patches, kernel, bias, out, *, frames: int):
    """A tile of the activation; refs [R, k], [k, C], [C], [R, C]."""
    start, place = _place(pl.program_id(0), out.shape[0])
    here = pl.ds(start, FRAMES)
    x = triton.dot(patches[here, :], kernel[...]) + bias[...][None]
    cumulative, _ = _normal(x)
    value = jnp.where((place < frames)[:, None], x * cumulative, 0.0)
    out[here, :] = value.astype(out.dtype)


def _backward_kernel(patches, kernel, bias, gradient, sums, *, frames: int, steps: int):
    """Patches times slopes, summed over a chunk of frames; refs [R, k], [k, C], [C], [R, C],
    [k, C]."""
    rows, first = gradient.shape[0], pl.program_id(0) * steps

    def step(i, total):
        start, place = _place(first + i, rows)
        here = pl.ds(start, FRAMES)
        windows = patches[here, :]
        x = triton.dot(windows, kernel[...]) + bias[...][None]
        cumulative, density = _normal(x)
        slope = gradient[here, :].astype(jnp.float32) * (cumulative + x * density)
        inside = (place >= (first + i) * FRAMES) & (place < frames)
        slope = jnp.where(inside[:, None], slope, 0.0)
        return total + triton.dot(windows.T, slope.astype(windows.dtype))

    sums[...] = jax.lax.fori_loop(0, steps, step, jnp.zeros(sums.shape, jnp.float32))


def _call(
    kernel,
    blocks: int,
    batch: int,
    channels: int,
    in_specs,
    out_specs,
    out_shape,
    *,
    products: int,
    **static,
):
    """Runs the kernel on a grid of (frames, channels, row); products: its matrix products of a tile
    in each program of the grid."""
    taps = in_specs[0].block_shape[-1]
    return pl.pallas_call(
        functools.partial(kernel, **static),
        grid=(blocks, channels // CHANNELS, batch),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        interpret=platform() != "gpu",
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        metadata=stated(2 * products * blocks * FRAMES * taps * channels * batch),
        name=f"first_layer{kernel.__name__.removesuffix('_kernel')}",
    )


def _specs(rows: int, taps: int) -> list[pl.BlockSpec]:
    """Block specifications of patches, kernel and bias on a grid of (frames, channels, row)."""
    return [
        pl.BlockSpec((None, rows, taps), lambda i, c, b: (b, 0, 0)),
        pl.BlockSpec((None, taps, CHANNELS), lambda i, c, b: (b, 0, c)),
        pl.BlockSpec((CHANNELS,), lambda i, c, b: (c,)),
    ]


def _activation(rows: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, rows, CHANNELS), lambda i, c, b: (b, 0, c))


def _forward(patches, kernel, bias, *, frames: int):
    batch, rows, taps = patches.shape
    channels = kernel.shape[2]
    return _call(
        _forward_kernel,
        -(-rows // FRAMES),
        batch,
        channels,
        _specs(rows, taps),
        _activation(rows),
        jax.ShapeDtypeStruct((batch, rows, channels), patches.dtype),
        products=1,
        frames=frames,
    )(patches, kernel, bias)


def _backward(patches, kernel, gradient, bias, *, frames: int):
    batch, rows, taps = patches.shape
    channels = kernel.shape[2]
    chunks = min(CHUNKS, -(-frames // FRAMES))
    steps = -(-frames // (FRAMES * chunks))
    return _call(
        _backward_kernel,
        chunks,
        batch,
        channels,
        [*_specs(rows, taps), _activation(rows)],
        pl.BlockSpec((None, None, taps, CHANNELS), lambda i, c, b: (b, i, 0, c)),
        jax.ShapeDtypeStruct((batch, chunks, taps, channels), jnp.float32),
        products=2 * steps,
        frames=frames,
        steps=steps,
    )(patches, kernel, bias, gradient)


def _per_device(function: Callable, *arrays: jax.Array) -> jax.Array:
    """function(*arrays) -> [B, ...], run on each device's own rows; the last array has no rows."""
    rows = EVERY if splits(arrays[0].shape[0], EVERY) else ROWS
    layouts = (*((rows,) for _ in arrays[1:]), WHOLE)
    return run_per_device(function, *arrays, layouts=layouts, result=(rows,), kernel=True)


def _padded(patches, kernel, rows: int):
    """(patches [B, rows, k'], kernel [B, k', O]) in half precision with a column of ones after the
    taps, of weight 0: in the backward pass it sums the slopes, which is the bias's gradient."""
    frames, taps = patches.shape[1:]
    columns = max(NARROWEST, 1 << taps.bit_length())
    ones = jnp.ones((*patches.shape[:2], 1), patches.dtype)
    patches = jnp.concatenate([patches, ones], axis=-1)
    patches = jnp.pad(patches, ((0, 0), (0, rows - frames), (0, columns - taps - 1)))
    return patches, jnp.pad(kernel.astype(patches.dtype), ((0, 0), (0, columns - taps), (0, 0)))


def fits(channels: int, frames: int) -> bool:
    """Whether the kernels' tiles fit an activation."""
    return channels % CHANNELS == 0 and frames >= FRAMES


def activation(patches, kernel, bias, rows: int) -> jax.Array:
    """GELU of patches [B, T, k] times kernel [B, k, O], plus bias [O] -> [B, rows, O]; `rows`, at
    least T, are filled up with zeros."""
    frames = patches.shape[1]
    patches, kernel = _padded(patches, kernel, rows)
    return _per_device(functools.partial(_forward, frames=frames), patches, kernel, bias)


def slopes(patches, kernel, bias, gradient) -> tuple[jax.Array, jax.Array]:
    """Gradients of the kernel [B, k, O] and the bias [O] of `activation`, float32, from that of its
    result [B, rows, O]."""
    frames, taps = patches.shape[1:]
    patches, kernel = _padded(patches, kernel, gradient.shape[1])
    backward = functools.partial(_backward, frames=frames)
    sums = _per_device(backward, patches, kernel, gradient.astype(patches.dtype), bias).sum(1)
    return sums[:, :taps], sums[:, taps].sum(0)
