"""Attention for TPU as two kernels, one forward and one backward: scores never leave the chip, and
dropout uses the same bits as the other formulations (`row_random`).

`attention_blocks_tpu` has the kernels, which are written in Pallas for its TPU compiler, Mosaic.
Without a TPU they are interpreted, which the tests use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl

from w2v2_jax.models import row_random
from w2v2_jax.models.attention_blocks_tpu import (
    DEPTH,
    EXCLUDED,
    PACKED,
    QUERIES,
    Shape,
    backward_attention,
    forward_attention,
    round_up,
)
from w2v2_jax.models.attention_tpu import SAVED
from w2v2_jax.models.backend import has_mosaic, mosaic, platform
from w2v2_jax.models.sharding import HEADS, ROWS, WHOLE, run_per_device

VMEM = 14 * 2**20  # bytes for a kernel; a TPU v4 has 16 MiB


def _bytes(frames: int, width: int, itemsize: int) -> tuple[int, int]:
    """(for each head, for all of them) bytes of VMEM that the backward kernel takes."""
    lanes, keys = round_up(frames, QUERIES), round_up(frames, PACKED)
    arrays = 2 * 8 * round_up(width, PACKED) * lanes * itemsize  # qkv, out, gradient, and theirs
    held = 2 * keys * 128 * itemsize + 2 * width * lanes * 4
    return arrays + held + 4 * 8 * lanes * 4, (2 * (DEPTH + 1) * itemsize + 2 * 4) * keys * 128


def heads_at_once(heads: int, frames: int, width: int, itemsize: int) -> int:
    """Heads in one step of the grid, 0 if not one fits."""
    each, shared = _bytes(frames, width, itemsize)
    fitting = [n for n in range(1, heads + 1) if heads % n == 0 and shared + n * each <= VMEM]
    return max(fitting, default=0)


def runs(heads: int, frames: int, width: int, dtype) -> bool:
    """Whether the kernels take this many heads of this width, and rows of so many frames."""
    fits = heads_at_once(heads, frames, width, jnp.dtype(dtype).itemsize) > 0
    return has_mosaic() and width % PACKED == 0 and width <= 128 - PACKED and fits


class _Cut(NamedTuple):
    """Block specifications on a grid of (row, some heads)."""

    joined: pl.BlockSpec  # of [B, 3, H, S, T]
    vectors: pl.BlockSpec  # of [B, H, S, T]
    lines: pl.BlockSpec  # of [B, H, 1, T]
    bias: pl.BlockSpec  # of [B, 1, lanes]
    columns: pl.BlockSpec  # of [keys, 128]


def _cut(shape: Shape) -> _Cut:
    heads, width, lanes = shape.heads, shape.width, shape.lanes
    return _Cut(
        pl.BlockSpec((1, 3, heads, width, lanes), lambda b, h: (b, 0, h, 0, 0)),
        pl.BlockSpec((1, heads, width, lanes), lambda b, h: (b, h, 0, 0)),
        pl.BlockSpec((1, heads, 1, lanes), lambda b, h: (b, h, 0, 0)),
        pl.BlockSpec((1, 1, lanes), lambda b, h: (b, 0, 0)),
        pl.BlockSpec((shape.keys, 128), lambda b, h: (0, 0)),
    )


def _call(kernel, shape: Shape, qkv, in_specs, out_specs, out_shape, scratch, products: int):
    rows, _, heads, width, frames = qkv.shape
    flops = products * 2 * rows * heads * frames * frames * width
    return pl.pallas_call(
        functools.partial(kernel, shape=shape),
        grid=(rows, heads // shape.heads),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=[mosaic.VMEM(*one) for one in scratch],
        interpret=platform() != "tpu",
        compiler_params=mosaic.CompilerParams(
            dimension_semantics=("parallel", "parallel"), vmem_limit_bytes=VMEM
        ),
        cost_estimate=pl.CostEstimate(
            flops=flops,
            transcendentals=rows * heads * frames * frames,
            bytes_accessed=math.prod(qkv.shape) * qkv.dtype.itemsize * products // 2,
        ),
        name=kernel.__name__,
    )


def _shape(qkv, rate: float) -> Shape:
    _, _, heads, width, frames = qkv.shape
    return Shape(frames, width, heads_at_once(heads, frames, width, qkv.dtype.itemsize), rate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(qkv, bias, lines, columns, rate: float):
    return _attend_forward(qkv, bias, lines, columns, rate)[0]


def _attend_forward(qkv, bias, lines, columns, rate: float):
    shape, dtype = _shape(qkv, rate), qkv.dtype
    rows, _, heads, width, frames = qkv.shape
    cut = _cut(shape)
    dropout = [None, None] if lines is None else [cut.lines, cut.columns]
    out, logsum = _call(
        forward_attention,
        shape,
        qkv,
        [cut.joined, cut.bias, *dropout],
        [cut.vectors, cut.lines],
        [
            jax.ShapeDtypeStruct((rows, heads, width, frames), dtype),
            jax.ShapeDtypeStruct((rows, heads, 1, frames), jnp.float32),
        ],
        [
            ((shape.heads, shape.keys, width + PACKED), dtype),
            ((shape.heads, width, shape.lanes), dtype),
            ((DEPTH + 1, 1, QUERIES), jnp.float32),
            *[((shape.keys, QUERIES), jnp.float32)] * (DEPTH + 1),
        ],
        products=2,
    )(qkv, bias, lines, columns)
    # A remat policy may keep this, so that the kernel does not run again.
    out, logsum = checkpoint_name(out, SAVED), checkpoint_name(logsum, SAVED)
    return out, (qkv, out, logsum, bias, lines, columns)


def _attend_backward(rate: float, saved, gradient):
    qkv, out, logsum, bias, lines, columns = saved
    shape, dtype = _shape(qkv, rate), qkv.dtype
    cut, each = _cut(shape), (shape.heads, shape.keys, shape.width)
    dropout = [None, None] if lines is None else [cut.lines, cut.columns]
    slopes = _call(
        backward_attention,
        shape,
        qkv,
        [cut.joined, cut.vectors, cut.vectors, cut.lines, cut.bias, *dropout],
        cut.joined,
        jax.ShapeDtypeStruct(qkv.shape, dtype),
        [
            ((shape.heads, shape.keys, shape.width + PACKED), dtype),
            (each, dtype),
            ((2, shape.heads, shape.width, shape.lanes), jnp.float32),
            *[((shape.keys, QUERIES), dtype)] * (2 * (DEPTH + 1)),
        ],
        products=5,
    )(qkv, out, gradient.astype(dtype), logsum, bias, lines, columns)
    return slopes, None, None, None


_attend.defvjp(_attend_forward, _attend_backward)


def _alone(function: Callable) -> Callable:
    """The function in a shard_map over what is left of the mesh, where each device computes all of
    it: JAX refuses a Mosaic kernel next to axes that the partitioner might split, even of size 1
    (`train_step.summed_gradients` takes only `data`)."""

    def alone(*arrays):
        mesh = jax.sharding.get_abstract_mesh()
        rest = {*mesh.axis_names} - {*mesh.manual_axes}
        if not rest:
            return function(*arrays)
        every = jax.sharding.PartitionSpec()
        return jax.shard_map(
            function, in_specs=every, out_specs=every, axis_names=rest, check_vma=False
        )(*arrays)

    return alone


def attend(qkv, real, keys, rate: float):
    """softmax(S^-0.5 key^T query) value: qkv [B, 3, H, S, T], real [B, T] bool ->
    [B, H, S, T]; dropout of the weights at `rate` with keys [B], or None for none. `runs` must
    allow it.

    A row without a real frame averages its frames; its gradients have no meaning, and its loss has
    weight 0.
    """
    heads, frames = qkv.shape[2], qkv.shape[4]
    rate = rate if keys is not None else 0.0
    shape = _shape(qkv, rate)
    bias = jnp.where(real, 0.0, EXCLUDED).astype(jnp.float32)
    # Lower than the score of excluded frames, so that a row without a real frame averages its own
    # frames and not the padding.
    bias = jnp.pad(bias, ((0, 0), (0, shape.lanes - frames)), constant_values=2 * EXCLUDED)
    lines = columns = None
    if rate > 0.0:
        lines, columns = row_random.line_words(keys, (heads, frames, frames))
        lines = lines[:, :, None]
        columns = jnp.pad(columns, (0, shape.keys - frames))
        columns = jnp.broadcast_to(columns[:, None], (shape.keys, 128))
    vectors = (ROWS, HEADS)
    return run_per_device(
        _alone(functools.partial(_attend, rate=rate)),
        qkv,
        bias[:, None],
        lines,
        columns,
        layouts=((ROWS, None, HEADS), (ROWS,), vectors, WHOLE),
        result=vectors,
        kernel=True,
    )
