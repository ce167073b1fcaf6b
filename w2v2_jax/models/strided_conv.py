"""An unpadded strided convolution, as formulations that are fast on different devices.

The result has x's dtype, and float32 for float16 (`mixed_precision.range_kept`): the parts of a
sum, and what a norm is still to scale, may be larger than float16 has numbers.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from w2v2_jax.models.backend import platform, when_needed
from w2v2_jax.models.mixed_precision import contract, convolve, range_kept


def strided_matmul(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Unpadded convolution of x [B, L, I] with kernel [k, I, O] as matmuls on views of x."""
    width, _, out = kernel.shape
    wide = range_kept(x.dtype)
    frames = (x.shape[1] - width) // stride + 1
    total = None
    for first in range(0, width, stride):
        taps = kernel[first : first + stride]
        if taps.shape[0] == stride:
            view = x[:, first : first + frames * stride].reshape(x.shape[0], frames, -1)
            part = contract("btk,ko->bto", view, taps.reshape(-1, out), wide)
        else:
            part = sum(
                contract(
                    "bti,io->bto",
                    x[:, first + j : first + j + (frames - 1) * stride + 1 : stride],
                    taps[j],
                    wide,
                )
                for j in range(taps.shape[0])
            )
        total = part if total is None else total + part
    return total


def viewed_rows(frames: int, width: int, stride: int) -> int:
    """Number of samples in the lines of `stride` samples that `frames` frames of `width` cover."""
    return (frames + -(-width // stride) - 1) * stride


def viewed_matmul(x: jax.Array, kernel: jax.Array, stride: int, frames: int) -> jax.Array:
    """The first `frames` frames as one matmul on one view of x, with lines of `stride` samples:
    each line is multiplied by the taps of every frame to which it belongs, and the parts are added.

    For three taps at stride two this takes a third more multiplications, but x is neither sliced
    nor gathered, and the padding to whole lines and the sum are fused into other operations. x may
    be longer than the frames need.
    """
    width, inputs, out = kernel.shape
    parts = -(-width // stride)  # lines that a frame reaches over
    lines, rows = frames + parts - 1, viewed_rows(frames, width, stride)
    x = x[:, :rows]
    x = jnp.pad(x, ((0, 0), (0, rows - x.shape[1]), (0, 0)))
    taps = jnp.pad(kernel, ((0, parts * stride - width), (0, 0), (0, 0)))
    taps = taps.reshape(parts, stride * inputs, out).swapaxes(0, 1).reshape(-1, parts * out)
    view = x.reshape(x.shape[0], lines, -1)
    product = contract("btk,ko->bto", view, taps, range_kept(x.dtype))
    return sum(product[:, i : i + frames, i * out : (i + 1) * out] for i in range(parts))


def strided_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The same convolution through XLA's convolution, channels last."""
    return convolve(x, kernel, stride=stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def phased_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`strided_conv` with a backward pass for CPU.

    XLA:CPU computes the gradient of a strided convolution's input with zeros between the frames,
    and that of its kernel from transposed copies of both operands. That has half the speed of the
    forward pass; this one has four fifths of it.
    """
    return strided_conv(x, kernel, stride)


def _input_gradient(gradient, kernel, stride: int, length: int):
    """Every `stride`-th sample depends on the same taps: one plain convolution for each phase."""
    lines = -(-length // stride)
    phases = []
    for phase in range(stride):
        taps = kernel[phase::stride]
        before, after = taps.shape[0] - 1, lines - gradient.shape[1]
        if before < 0:  # a stride longer than the kernel skips samples
            phases.append(jnp.zeros((gradient.shape[0], lines, kernel.shape[1]), gradient.dtype))
            continue
        padded = jnp.pad(gradient, ((0, 0), (before, after), (0, 0)))
        phases.append(strided_conv(padded, taps[::-1].swapaxes(1, 2), 1))
    joined = jnp.stack(phases, axis=2)
    return joined.reshape(joined.shape[0], lines * stride, -1)[:, :length]


def _kernel_gradient(x, gradient, width: int, stride: int):
    """Matmuls on views of x, row by row: rows and frames contracted at once run at half speed."""
    frames = gradient.shape[1]

    def product(view):
        rows = jnp.einsum("btk,bto->bko", view, gradient, preferred_element_type=jnp.float32)
        return rows.sum(0)

    parts = []
    for first in range(0, width, stride):
        if first + stride <= width:
            view = x[:, first : first + frames * stride].reshape(x.shape[0], frames, -1)
            parts.append(product(view).reshape(stride, x.shape[-1], -1))
        else:
            parts += [
                product(x[:, j : j + (frames - 1) * stride + 1 : stride])[None]
                for j in range(first, width)
            ]
    return jnp.concatenate(parts)


def _phased_backward(stride, saved, gradient):
    (x, kernel), gradient = when_needed(saved, gradient)
    gradient = gradient.astype(x.dtype)
    return (
        _input_gradient(gradient, kernel, stride, x.shape[1]).astype(x.dtype),
        _kernel_gradient(x, gradient, kernel.shape[0], stride).astype(kernel.dtype),
    )


phased_conv.defvjp(lambda x, k, stride: (phased_conv(x, k, stride), (x, k)), _phased_backward)

FORMULATIONS = {
    "matmul_per_stride": strided_matmul,
    "xla_conv": strided_conv,
    "phased_backward": phased_conv,
}


def formulation_name(name: str, dtype) -> str:
    """The name itself, or for "auto" the fastest one on the device (docs/results/speed.md).

    XLA:CPU has fast bfloat16 matmuls but computes bfloat16 convolutions in float32. float16 is
    computed in float32 either way.
    """
    if name != "auto":
        return name
    cpu = "matmul_per_stride" if dtype == jnp.bfloat16 else "phased_backward"
    return {"cpu": cpu, "gpu": "one_matmul"}.get(platform(), "xla_conv")


def choose(name: str, dtype):
    """The convolution of a name other than "one_matmul"; "auto" as `formulation_name` says."""
    return FORMULATIONS[formulation_name(name, dtype)]
