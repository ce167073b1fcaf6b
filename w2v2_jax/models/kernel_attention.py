"""Attention for GPU in one kernel each way: no score leaves the chip (FlashAttention-2,
arXiv 2307.08691), and dropout draws the very bits of the other formulations.

cuDNN's attention, which `flash` calls, drops weights by a counter of its own, so its masks would
depend on how many calls a process has made and not on the row: no resume would be exact. Here every
tile hashes `noise.row_bits` anew from a word a line and a word a column. Written in Pallas for its
Triton compiler; elsewhere than on a GPU the kernels are interpreted, which the tests use.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from w2v2_jax.models import noise
from w2v2_jax.models.backend import platform
from w2v2_jax.models.tight_attention import EXCLUDED

BLOCK = 64  # frames a tile, queries and keys alike; frames are padded to a multiple
LOG2E = math.log2(math.e)  # scores are kept in base 2: exp2 is the hardware's exponential


def _kept(lines, columns, rate: float):
    """noise.kept of a tile, from the hashes of its lines [q, 1] and columns [1, k] (or turned)."""
    return noise.cross(lines, columns) >= jnp.uint32(round(rate * 2**32))


def _forward_kernel(query, key, value, bias, lines, columns, out, logsum, *, rate: float):
    """A block of queries against all keys: refs [BLOCK, S], [T, S], [T, S], [T], [BLOCK], [T]."""
    q = query[...]
    dropping = lines is not None

    def step(i, carry):
        total, top, context = carry
        here = pl.ds(i * BLOCK, BLOCK)
        scores = triton.dot(q, key[here, :].T) * LOG2E + bias[here][None, :]
        higher = jnp.maximum(top, scores.max(1))
        shrink = jnp.exp2(top - higher)
        weights = jnp.exp2(scores - higher[:, None])
        total = total * shrink + weights.sum(1)
        if dropping:
            keep = _kept(lines[...][:, None], columns[here][None, :], rate)
            weights = jnp.where(keep, weights, 0.0)
        v = value[here, :]
        context = context * shrink[:, None] + triton.dot(weights.astype(v.dtype), v)
        return total, higher, context

    start = (
        jnp.zeros((BLOCK,), jnp.float32),
        jnp.full((BLOCK,), 4 * EXCLUDED, jnp.float32),
        jnp.zeros((BLOCK, q.shape[1]), jnp.float32),
    )
    total, top, context = jax.lax.fori_loop(0, key.shape[0] // BLOCK, step, start)
    share = 1.0 - rate if dropping else 1.0
    out[...] = (context / (total * share)[:, None]).astype(out.dtype)
    logsum[...] = top + jnp.log2(total)


def _key_kernel(
    query, key, value, bias, lines, columns, gradient, logsum, inner, key_slope, value_slope,
    *, rate: float,
):  # fmt: skip
    """Slopes of a block of keys and values, over all queries; scores are [keys, queries] here."""
    k, v, excluded = key[...], value[...], bias[...]
    dropping = lines is not None
    share = 1.0 - rate if dropping else 1.0

    def step(i, carry):
        for_key, for_value = carry
        here = pl.ds(i * BLOCK, BLOCK)
        q, g = query[here, :], gradient[here, :]
        scores = triton.dot(k, q.T) * LOG2E + excluded[:, None]
        weights = jnp.exp2(scores - logsum[here][None, :])
        slope = triton.dot(v, g.T) / share
        dropped = weights
        if dropping:
            keep = _kept(lines[here][None, :], columns[...][:, None], rate)
            dropped, slope = jnp.where(keep, weights, 0.0), jnp.where(keep, slope, 0.0)
        for_value += triton.dot(dropped.astype(g.dtype), g)
        slope = weights * (slope - inner[here][None, :])
        return for_key + triton.dot(slope.astype(q.dtype), q), for_value

    zero = jnp.zeros(k.shape, jnp.float32)
    for_key, for_value = jax.lax.fori_loop(0, query.shape[0] // BLOCK, step, (zero, zero))
    key_slope[...] = for_key.astype(key_slope.dtype)
    value_slope[...] = (for_value / share).astype(value_slope.dtype)


def _query_kernel(
    query, key, value, bias, lines, columns, gradient, logsum, inner, query_slope, *, rate: float
):
    """The slope of a block of queries, over all keys."""
    q, g, top, mean = query[...], gradient[...], logsum[...], inner[...]
    dropping = lines is not None
    share = 1.0 - rate if dropping else 1.0

    def step(i, total):
        here = pl.ds(i * BLOCK, BLOCK)
        k = key[here, :]
        scores = triton.dot(q, k.T) * LOG2E + bias[here][None, :]
        weights = jnp.exp2(scores - top[:, None])
        slope = triton.dot(g, value[here, :].T) / share
        if dropping:
            keep = _kept(lines[...][:, None], columns[here][None, :], rate)
            slope = jnp.where(keep, slope, 0.0)
        slope = weights * (slope - mean[:, None])
        return total + triton.dot(slope.astype(k.dtype), k)

    total = jax.lax.fori_loop(0, key.shape[0] // BLOCK, step, jnp.zeros(q.shape, jnp.float32))
    query_slope[...] = total.astype(query_slope.dtype)


class _Tiles:
    """Block specifications of a grid of (block of frames, head, row)."""

    def __init__(self, frames: int, size: int):
        block = pl.BlockSpec((None, None, BLOCK, size), lambda i, h, b: (b, h, i, 0))
        whole = pl.BlockSpec((None, None, frames, size), lambda i, h, b: (b, h, 0, 0))
        self.vectors = {True: block, False: whole}
        self.lines = {
            True: pl.BlockSpec((None, None, BLOCK), lambda i, h, b: (b, h, i)),
            False: pl.BlockSpec((None, None, frames), lambda i, h, b: (b, h, 0)),
        }
        self.keys = {
            True: pl.BlockSpec((None, BLOCK), lambda i, h, b: (b, i)),
            False: pl.BlockSpec((None, frames), lambda i, h, b: (b, 0)),
        }
        self.columns = {
            True: pl.BlockSpec((BLOCK,), lambda i, h, b: (i,)),
            False: pl.BlockSpec((frames,), lambda i, h, b: (0,)),
        }

    def inputs(self, lines, *, by_query: bool) -> list:
        """Of query, key, value, bias, lines and columns, cut by blocks of queries or of keys."""
        vectors, keys = self.vectors, self.keys
        cut = [vectors[by_query], vectors[not by_query], vectors[not by_query], keys[not by_query]]
        if lines is None:
            return [*cut, None, None]
        return [*cut, self.lines[by_query], self.columns[not by_query]]


def _call(kernel, like, rate: float, in_specs, out_specs, out_shape, *, warps: int, stages: int):
    batch, heads, frames, _ = like.shape
    return pl.pallas_call(
        functools.partial(kernel, rate=rate),
        grid=(frames // BLOCK, heads, batch),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        interpret=platform() not in ("gpu", "cuda"),
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=stages),
        name=kernel.__name__.strip("_"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _tiled(query, key, value, bias, lines, columns, rate: float):
    return _tiled_forward(query, key, value, bias, lines, columns, rate)[0]


def _tiled_forward(query, key, value, bias, lines, columns, rate: float):
    tiles = _Tiles(*query.shape[2:])
    out, logsum = _call(
        _forward_kernel, query, rate,
        tiles.inputs(lines, by_query=True),
        [tiles.vectors[True], tiles.lines[True]],
        [
            jax.ShapeDtypeStruct(query.shape, query.dtype),
            jax.ShapeDtypeStruct(query.shape[:3], jnp.float32),
        ],
        warps=4, stages=3,
    )(query, key, value, bias, lines, columns)  # fmt: skip
    return out, (query, key, value, bias, lines, columns, out, logsum)


def _tiled_backward(rate: float, saved, gradient):
    *inputs, out, logsum = saved
    query, lines = inputs[0], inputs[4]
    inner = (out.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(-1)  # [B, H, T]
    gradient = gradient.astype(query.dtype)
    tiles = _Tiles(*query.shape[2:])

    def more(by_query):
        return [tiles.vectors[by_query], tiles.lines[by_query], tiles.lines[by_query]]

    shape = jax.ShapeDtypeStruct(query.shape, query.dtype)
    key_slope, value_slope = _call(
        _key_kernel, query, rate,
        tiles.inputs(lines, by_query=False) + more(False),
        [tiles.vectors[True]] * 2, [shape] * 2,
        warps=4, stages=2,
    )(*inputs, gradient, logsum, inner)  # fmt: skip
    query_slope = _call(
        _query_kernel, query, rate,
        tiles.inputs(lines, by_query=True) + more(True),
        tiles.vectors[True], shape,
        warps=4, stages=2,
    )(*inputs, gradient, logsum, inner)  # fmt: skip
    return query_slope, key_slope, value_slope, None, None, None


_tiled.defvjp(_tiled_forward, _tiled_backward)


def tiled(query, key, value, real, keys, rate: float):
    """softmax(query key^T) value: query (scaled), key, value [B, H, T, S], real [B, T] bool ->
    [B, H, T, S]; dropout of the weights at `rate` with keys [B], or None for none."""
    frames, size = query.shape[2:]
    more = -frames % BLOCK
    wider = max(16, 1 << (size - 1).bit_length()) - size  # Triton's tiles are powers of two
    bias = jnp.where(real, 0.0, EXCLUDED).astype(jnp.float32)
    # Below what is excluded: a row without any real frame averages its own frames, not padding.
    bias = jnp.pad(bias, ((0, 0), (0, more)), constant_values=2 * EXCLUDED)
    lines = columns = None
    if keys is not None and rate > 0.0:
        lines, columns = noise.line_words(keys, (query.shape[1], frames, frames))
        lines = jnp.pad(lines, ((0, 0), (0, 0), (0, more)))
        columns = jnp.pad(columns, (0, more))
    padded = (
        jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, wider))) for x in (query, key, value)
    )  # fmt: skip
    return _tiled(*padded, bias, lines, columns, rate)[:, :, :frames, :size]
