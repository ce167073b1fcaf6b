"""The kernels of `attention_kernel_tpu`: what each does with some heads of one row, block by block.

All arrays have frames as their fastest axis, [.., S, T]: heads of width 64 waste no lanes. A block
holds the scores of 128 queries (lanes) with all keys (sublanes). So maximum and sum over keys need
no exchange between lanes, and statistics of queries are vectors along lanes. Only the two products
over the width of a head leave a part of the matrix unit idle. The compiler does not move work from
one block to another, so `in_turns` does: while one block multiplies, an earlier one is in the
vector unit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from w2v2_jax.models import row_random
from w2v2_jax.models.layers import LOG2E

# The score of a frame that is not real: finite, and exact in bfloat16, so that the two kernels have
# the same scores in a row without any real frame.
EXCLUDED = -(2.0**100)
QUERIES = 128  # a block's queries: the lanes of a vector, and a side of the matrix unit
KEYS = 256  # the keys of a step within a block; on v6e 64, 128 and 400 are slower
DEPTH = 2  # blocks between a block's first part and its second
PACKED = 16  # sublanes of a bfloat16 vector


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


class Shape(NamedTuple):
    """frames: real and padded ones of an array. width: of a head, whose queries are multiplied by
    width ** -0.5. heads: in one step of the grid. rate: of dropout, 0 for none."""

    frames: int
    width: int
    heads: int
    rate: float

    @property
    def blocks(self) -> int:
        return -(-self.frames // QUERIES)

    @property
    def lanes(self) -> int:
        return self.blocks * QUERIES

    @property
    def keys(self) -> int:
        return round_up(self.frames, PACKED)

    @property
    def spans(self) -> list[slice]:
        """The steps of a block."""
        return [slice(i, min(i + KEYS, self.keys)) for i in range(0, self.keys, KEYS)]

    @property
    def scale(self) -> float:
        return self.width**-0.5

    @property
    def share(self) -> float:
        return 1.0 - self.rate


def _dot(a, b, axes: str):
    """[M, K] x [K, N], or with axes "nt" [M, K] x [N, K], in float32."""
    contracted = ((1,), (1,)) if axes == "nt" else ((1,), (0,))
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot_general(
        a, b, (contracted, ((), ())), precision=precision, preferred_element_type=jnp.float32
    )


def in_turns(count: int, first: Callable, second: Callable) -> None:
    """Runs first(block, slot), and DEPTH blocks later second(block, slot), for `count` blocks. Both
    are generators, whose steps alternate; a slot is where a block's first part leaves its results.
    """
    slots = DEPTH + 1

    def turn(block, slot: int, *, more: bool):
        parts: list[Iterator] = [second(block, slot)]
        if more:
            parts.insert(0, first(block + DEPTH, (slot + DEPTH) % slots))
        for _ in itertools.zip_longest(*parts):
            pass

    for block in range(min(DEPTH, count)):
        for _ in first(block, block):
            pass
    rounds = max(count - DEPTH, 0) // slots

    def several(i, _):
        for slot in range(slots):
            turn(i * slots + slot, slot, more=True)

    jax.lax.fori_loop(0, rounds, several, None)
    for block in range(rounds * slots, count):
        turn(block, block % slots, more=block + DEPTH < count)


def _place(block, shape: Shape):
    """(head, its block, lanes) of a block that is counted through all heads."""
    head = jax.lax.div(block, jnp.int32(shape.blocks))
    own = block - head * shape.blocks
    return head, own, pl.ds(pl.multiple_of(own * QUERIES, QUERIES), QUERIES)


def _zeros_beyond(x, frames):
    """x [S, n] with zeros from lane `frames` on, where the memory may hold anything."""
    lanes = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    return jnp.where(lanes < frames, x, jnp.zeros_like(x))


def _biased_keys(key, bias, shape: Shape):
    """key [S, lanes], bias [1, lanes] -> [keys, S + PACKED], whose product with `_with_one` of a
    query is the score of each key."""
    key = _zeros_beyond(key, shape.frames)
    bias = jnp.broadcast_to(bias, (PACKED, shape.lanes)).astype(key.dtype)
    return jnp.concatenate([key, bias], 0).T[: shape.keys]


def _with_one(query):
    """query [S, QUERIES] (scaled) -> [S + PACKED, QUERIES]."""
    first = jax.lax.broadcasted_iota(jnp.int32, (PACKED, QUERIES), 0) == 0
    return jnp.concatenate([query, first.astype(query.dtype)], 0)


def _over_keys(reduce, x):
    """x [n, 128] -> [8, 128]: the part of a reduction over keys that is whole vectors."""
    return reduce(x.reshape(-1, 8, x.shape[-1]), axis=0)


def forward_attention(
    qkv, bias, lines, columns, out, logsum, keys, values, tops, *scores, shape: Shape
):
    """refs: qkv [1, 3, h, S, lanes], bias [1, 1, lanes], lines [1, h, 1, lanes], columns
    [keys, 128], out [1, h, S, lanes], logsum [1, h, 1, lanes]; scratch: keys [h, keys, S + PACKED],
    values [h, S, lanes], and for each slot tops [slots, 1, 128] and scores [keys, 128]."""

    def prepare(head, _):
        keys[head] = _biased_keys(qkv[0, 1, head], bias[0], shape)
        values[head] = _zeros_beyond(qkv[0, 2, head], shape.frames)

    def multiply(block, slot):
        head, _, here = _place(block, shape)
        query, top = _with_one(qkv[0, 0, head, :, here] * shape.scale), None
        for span in shape.spans:
            found = _dot(keys[head, span], query, "nn")
            scores[slot][span] = found
            highest = _over_keys(jnp.max, found)
            top = highest if top is None else jnp.maximum(top, highest)
            yield
        tops[slot] = top.max(0, keepdims=True)

    def weigh(block, slot):
        head, _, here = _place(block, shape)
        top, total, context, before = tops[slot], 0.0, 0.0, []
        for span in shape.spans:
            weights = jnp.exp2((scores[slot][span] - top) * LOG2E)
            total += _over_keys(jnp.sum, weights)
            if shape.rate:
                keep = row_random.kept_of(lines[0, head, :, here], columns[span], shape.rate)
                weights = jnp.where(keep, weights, 0.0)
            before.append((span, weights.astype(values.dtype)))
            if len(before) > 1:  # a step behind, so that the matrix unit need not wait
                span, weights = before.pop(0)
                context += _dot(values[head, :, span], weights, "nn")
            yield
        span, weights = before.pop()
        context += _dot(values[head, :, span], weights, "nn")
        total = total.sum(0, keepdims=True)
        out[0, head, :, here] = (context / (total * shape.share)).astype(out.dtype)
        logsum[0, head, :, here] = top + jnp.log(total)

    jax.lax.fori_loop(0, shape.heads, prepare, None)
    in_turns(shape.heads * shape.blocks, multiply, weigh)


def backward_attention(
    qkv, out, gradient, logsum, bias, lines, columns, slopes, keys, values, sums, *slots,
    shape: Shape,
):  # fmt: skip
    """refs: as those of the forward kernel; slopes [1, 3, h, S, lanes]; scratch: keys
    [h, keys, S + PACKED], values [h, keys, S], sums [2, h, S, lanes] of keys and values, and for
    each slot two [keys, 128], dropped weights and gradients of the scores."""
    dtype, frames = qkv.dtype, shape.frames

    def prepare(head, _):
        keys[head] = _biased_keys(qkv[0, 1, head], bias[0], shape)
        values[head] = _zeros_beyond(qkv[0, 2, head], frames).T[: shape.keys]
        sums[:, head] = jnp.zeros_like(sums[:, head])

    def weigh(block, slot):
        head, own, here = _place(block, shape)
        rest = frames - own * QUERIES
        slope = _zeros_beyond(gradient[0, head, :, here], rest)
        result = _zeros_beyond(out[0, head, :, here], rest).astype(jnp.float32)
        inner = (result * slope.astype(jnp.float32)).sum(0, keepdims=True) * shape.share
        query = _with_one(_zeros_beyond(qkv[0, 0, head, :, here], rest) * shape.scale)
        total = _zeros_beyond(logsum[0, head, :, here], rest)
        for span in shape.spans:
            weights = jnp.exp2((_dot(keys[head, span], query, "nn") - total) * LOG2E)
            into = _dot(values[head, span], slope, "nn")
            dropped = weights
            if shape.rate:
                keep = row_random.kept_of(lines[0, head, :, here], columns[span], shape.rate)
                dropped, into = jnp.where(keep, weights, 0.0), jnp.where(keep, into, 0.0)
            slots[2 * slot][span] = dropped.astype(dtype)
            slots[2 * slot + 1][span] = (weights * (into - inner)).astype(dtype)
            yield

    def multiply(block, slot):
        head, own, here = _place(block, shape)
        rest = frames - own * QUERIES
        query = _zeros_beyond(qkv[0, 0, head, :, here], rest) * shape.scale
        slope = _zeros_beyond(gradient[0, head, :, here], rest)
        for_query = 0.0
        for span in shape.spans:
            dropped, into = slots[2 * slot][span], slots[2 * slot + 1][span]
            key = _zeros_beyond(qkv[0, 1, head, :, span], frames - span.start)
            for_query += _dot(key, into, "nn")
            sums[0, head, :, span] += _dot(query, into, "nt")
            sums[1, head, :, span] += _dot(slope, dropped, "nt")
            yield
        slopes[0, 0, head, :, here] = (for_query * (shape.scale / shape.share)).astype(dtype)

    def finish(head, _):
        for part in range(2):
            slopes[0, 1 + part, head] = (sums[part, head] / shape.share).astype(dtype)

    jax.lax.fori_loop(0, shape.heads, prepare, None)
    in_turns(shape.heads * shape.blocks, weigh, multiply)
    jax.lax.fori_loop(0, shape.heads, finish, None)
