"""Attention for GPU as three kernels, one forward and two backward: scores never leave the chip
(FlashAttention-2, arXiv 2307.08691), and dropout uses the same bits as the other formulations.

cuDNN's attention drops weights by its own counter. Its masks would depend on the number of calls
that a process has made and not on the row, so no resume would be exact. Here every tile hashes
`row_random.row_bits` again from one number per line and one per column. The kernels are written in
Pallas for its Triton compiler. Without a GPU they are interpreted, which the tests use.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl

from w2v2_jax.models import row_random
from w2v2_jax.models.attention_tpu import EXCLUDED, SAVED
from w2v2_jax.models.backend import platform, stated, triton
from w2v2_jax.models.layers import LOG2E
from w2v2_jax.models.sharding import HEADS, ROWS, WHOLE, run_per_device

WIDEST = 128  # largest head width: two tiles of float32 sums have to fit into a block's registers


class Tiles(NamedTuple):
    """How a kernel is divided: each program of the grid computes `own` frames of the result, and
    loops over the other axis in steps of `other` frames; frames are padded to multiples of both."""

    own: int
    other: int
    warps: int
    stages: int


# Tiles of the kernels for the context, the gradients of keys and values, the gradient of queries.
FORWARD, OF_KEYS, OF_QUERIES = Tiles(64, 64, 4, 2), Tiles(64, 64, 4, 3), Tiles(64, 64, 4, 2)


class _Loop(NamedTuple):
    """The loop of a kernel: `count` blocks of `block` frames cover all frames."""

    block: int
    count: int  # type: ignore[assignment]

    @classmethod
    def of(cls, block: int, frames: int) -> _Loop:
        return cls(block, -(-frames // block))


def _forward_kernel(
    query, key, value, bias, lines, columns, out, logsum, *, rate: float, loop: _Loop
):
    """A block of queries against all keys: refs [own, S], [T, S], [T, S], [T], [own], [T]."""
    q = query[...]
    dropping = lines is not None

    def step(i, carry):
        total, top, context = carry
        here = pl.ds(i * loop.block, loop.block)
        scores = triton.dot(q, key[here, :].T) * LOG2E + bias[here][None, :]
        higher = jnp.maximum(top, scores.max(1))
        shrink = jnp.exp2(top - higher)
        weights = jnp.exp2(scores - higher[:, None])
        total = total * shrink + weights.sum(1)
        if dropping:
            keep = row_random.kept_of(lines[...][:, None], columns[here][None, :], rate)
            weights = jnp.where(keep, weights, 0.0)
        v = value[here, :]
        context = context * shrink[:, None] + triton.dot(weights.astype(v.dtype), v)
        return total, higher, context

    start = (
        jnp.zeros(q.shape[:1], jnp.float32),
        jnp.full(q.shape[:1], 4 * EXCLUDED, jnp.float32),
        jnp.zeros(q.shape, jnp.float32),
    )
    total, top, context = jax.lax.fori_loop(0, loop.count, step, start)
    share = 1.0 - rate if dropping else 1.0
    out[...] = (context / (total * share)[:, None]).astype(out.dtype)
    logsum[...] = top + jnp.log2(total)


def _key_kernel(
    query, key, value, bias, lines, columns, gradient, logsum, inner, key_slope, value_slope,
    *, rate: float, loop: _Loop,
):  # fmt: skip
    """Gradients of a block of keys and values, over all queries; scores are [keys, queries]."""
    k, v, excluded = key[...], value[...], bias[...]
    dropping = lines is not None
    share = 1.0 - rate if dropping else 1.0

    def step(i, carry):
        for_key, for_value = carry
        here = pl.ds(i * loop.block, loop.block)
        q, g = query[here, :], gradient[here, :]
        scores = triton.dot(k, q.T) * LOG2E + excluded[:, None]
        weights = jnp.exp2(scores - logsum[here][None, :])
        slope = triton.dot(v, g.T) / share
        dropped = weights
        if dropping:
            keep = row_random.kept_of(lines[here][None, :], columns[...][:, None], rate)
            dropped, slope = jnp.where(keep, weights, 0.0), jnp.where(keep, slope, 0.0)
        for_value += triton.dot(dropped.astype(g.dtype), g)
        slope = weights * (slope - inner[here][None, :])
        return for_key + triton.dot(slope.astype(q.dtype), q), for_value

    zero = jnp.zeros(k.shape, jnp.float32)
    for_key, for_value = jax.lax.fori_loop(0, loop.count, step, (zero, zero))
    key_slope[...] = for_key.astype(key_slope.dtype)
    value_slope[...] = (for_value / share).astype(value_slope.dtype)


def _query_kernel(
    query, key, value, bias, lines, columns, gradient, logsum, inner, query_slope,
    *, rate: float, loop: _Loop,
):  # fmt: skip
    """The gradient of a block of queries, over all keys."""
    q, g, top, mean = query[...], gradient[...], logsum[...], inner[...]
    dropping = lines is not None
    share = 1.0 - rate if dropping else 1.0

    def step(i, total):
        here = pl.ds(i * loop.block, loop.block)
        k = key[here, :]
        scores = triton.dot(q, k.T) * LOG2E + bias[here][None, :]
        weights = jnp.exp2(scores - top[:, None])
        slope = triton.dot(g, value[here, :].T) / share
        if dropping:
            keep = row_random.kept_of(lines[...][:, None], columns[here][None, :], rate)
            slope = jnp.where(keep, slope, 0.0)
        slope = weights * (slope - mean[:, None])
        return total + triton.dot(slope.astype(k.dtype), k)

    total = jax.lax.fori_loop(0, loop.count, step, jnp.zeros(q.shape, jnp.float32))
    query_slope[...] = total.astype(query_slope.dtype)


class _Cut(NamedTuple):
    """Block specifications on a grid of (block of frames, head, row)."""

    vectors: pl.BlockSpec  # of [B, H, T, S]
    lines: pl.BlockSpec  # of [B, H, T]
    keys: pl.BlockSpec  # of [B, T]
    columns: pl.BlockSpec  # of [T]


def _blocks(block: int, size: int) -> _Cut:
    """A block of frames for each program of the grid."""
    return _Cut(
        pl.BlockSpec((None, None, block, size), lambda i, h, b: (b, h, i, 0)),
        pl.BlockSpec((None, None, block), lambda i, h, b: (b, h, i)),
        pl.BlockSpec((None, block), lambda i, h, b: (b, i)),
        pl.BlockSpec((block,), lambda i, h, b: (i,)),
    )


def _whole(frames: int, size: int) -> _Cut:
    """All frames for each program of the grid."""
    return _Cut(
        pl.BlockSpec((None, None, frames, size), lambda i, h, b: (b, h, 0, 0)),
        pl.BlockSpec((None, None, frames), lambda i, h, b: (b, h, 0)),
        pl.BlockSpec((None, frames), lambda i, h, b: (b, 0)),
        pl.BlockSpec((frames,), lambda i, h, b: (0,)),
    )


def _inputs(of_query: _Cut, of_key: _Cut, lines) -> list:
    """Block specifications of query, key, value, bias, lines and columns."""
    dropout = [None, None] if lines is None else [of_query.lines, of_key.columns]
    return [of_query.vectors, of_key.vectors, of_key.vectors, of_key.keys, *dropout]


def _call(
    kernel,
    tiles: Tiles,
    like,
    frames: int,
    rate: float,
    in_specs,
    out_specs,
    out_shape,
    *,
    reach: int,
    products: int,
):
    """Runs the kernel over the blocks of `like` [B, H, padded, S] up to frame `reach`. It loops
    over the blocks that hold one of the real `frames`, with so many matrix products in each. Frames
    beyond `reach` are not written."""
    batch, heads, _, size = like.shape
    grid, loop = (-(-reach // tiles.own), heads, batch), _Loop.of(tiles.other, frames)
    return pl.pallas_call(
        functools.partial(kernel, rate=rate, loop=loop),
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        interpret=platform() != "gpu",
        compiler_params=triton.CompilerParams(num_warps=tiles.warps, num_stages=tiles.stages),
        metadata=stated(
            2 * products * math.prod(grid) * tiles.own * loop.count * loop.block * size
        ),
        name=kernel.__name__.strip("_"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _tiled(query, key, value, bias, lines, columns, frames: int, rate: float):
    return _tiled_forward(query, key, value, bias, lines, columns, frames, rate)[0]


def _tiled_forward(query, key, value, bias, lines, columns, frames: int, rate: float):
    padded, size = query.shape[2:]
    blocks, whole = _blocks(FORWARD.own, size), _whole(padded, size)
    out, logsum = _call(
        _forward_kernel,
        FORWARD,
        query,
        frames,
        rate,
        _inputs(blocks, whole, lines),
        [blocks.vectors, blocks.lines],
        [
            jax.ShapeDtypeStruct(query.shape, query.dtype),
            jax.ShapeDtypeStruct(query.shape[:3], jnp.float32),
        ],
        reach=padded,
        products=2,
    )(query, key, value, bias, lines, columns)
    # A remat policy may keep this, so that the kernel does not run again.
    out, logsum = checkpoint_name(out, SAVED), checkpoint_name(logsum, SAVED)
    return out, (query, key, value, bias, lines, columns, out, logsum)


def _tiled_backward(frames: int, rate: float, saved, gradient):
    *inputs, out, logsum = saved
    query, lines = inputs[0], inputs[4]
    inner = (out.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(-1)  # [B, H, T]
    gradient = gradient.astype(query.dtype)
    padded, size = query.shape[2:]
    whole, shape = _whole(padded, size), jax.ShapeDtypeStruct(query.shape, query.dtype)
    blocks = _blocks(OF_KEYS.own, size)
    key_slope, value_slope = _call(
        _key_kernel,
        OF_KEYS,
        query,
        frames,
        rate,
        [*_inputs(whole, blocks, lines), whole.vectors, whole.lines, whole.lines],
        [blocks.vectors] * 2,
        [shape] * 2,
        reach=frames,
        products=4,
    )(*inputs, gradient, logsum, inner)
    blocks = _blocks(OF_QUERIES.own, size)
    query_slope = _call(
        _query_kernel,
        OF_QUERIES,
        query,
        frames,
        rate,
        [*_inputs(blocks, whole, lines), blocks.vectors, blocks.lines, blocks.lines],
        blocks.vectors,
        shape,
        reach=frames,
        products=3,
    )(*inputs, gradient, logsum, inner)
    return query_slope, key_slope, value_slope, None, None, None


_tiled.defvjp(_tiled_forward, _tiled_backward)


def tiled(query, key, value, real, keys, rate: float):
    """softmax(query key^T) value: query (scaled), key, value [B, H, T, S], real [B, T] bool ->
    [B, H, T, S]; dropout of the weights at `rate` with keys [B], or None for none.

    A row without a real frame averages its frames; its gradients have no meaning, and its loss has
    weight 0.
    """
    frames, size = query.shape[2:]
    block = max(max(tiles.own, tiles.other) for tiles in (FORWARD, OF_KEYS, OF_QUERIES))
    more = -frames % block
    wider = max(16, 1 << (size - 1).bit_length()) - size  # Triton's tiles are powers of two
    bias = jnp.where(real, 0.0, EXCLUDED).astype(jnp.float32)
    # Lower than the score of excluded frames, so that a row without a real frame averages its own
    # frames and not the padding.
    bias = jnp.pad(bias, ((0, 0), (0, more)), constant_values=2 * EXCLUDED)
    lines = columns = None
    if keys is not None and rate > 0.0:
        lines, columns = row_random.line_words(keys, (query.shape[1], frames, frames))
        lines = jnp.pad(lines, ((0, 0), (0, 0), (0, more)))
        columns = jnp.pad(columns, (0, more))
    padded = (jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, wider))) for x in (query, key, value))
    attend = functools.partial(_tiled, frames=frames, rate=rate)
    vectors = (ROWS, HEADS)
    out = run_per_device(
        attend,
        *padded,
        bias,
        lines,
        columns,
        layouts=(vectors, vectors, vectors, (ROWS,), vectors, WHOLE),
        result=vectors,
        kernel=True,
    )
    return out[:, :, :frames, :size]
