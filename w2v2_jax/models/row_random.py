"""Randomness that belongs to a row of the global batch, not to a device or a microbatch.

Every draw starts from one key per row, so the same row gets the same masks, noise and dropout
whatever the number of devices, hosts or accumulation steps (docs/traps.md#t38). Dropout bits come
from a hash of (row seed, element): a strong hash for each line and each column, and a cheap
combination of the two, five integer operations per element that XLA fuses into the consumer.
Threefry bits for every activation took a tenth of a training step on CPU.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

# One tag per purpose: two purposes never share bits.
MASK, CHANNEL_MASK, NEGATIVES, GUMBEL, INPUT, QUANTIZER, ENTRY, FINAL, LAYER = range(9)
INPUT_GUMBEL, MIDDLE = 9, 10


def row_keys(key: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns one key per row [B] from the step's key and the rows' global numbers [B]."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, rows)


def fold(keys: jax.Array | None, tag) -> jax.Array | None:
    """Derives keys [B] for one purpose (or one layer); None stays None (no randomness)."""
    return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, tag)


def gumbel(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard Gumbel noise [B, *shape], a function of each row's key."""
    return jax.vmap(lambda key: jax.random.gumbel(key, shape))(keys)


def _mix(x: jax.Array, seed: jax.Array) -> jax.Array:
    """Two-round multiplicative hash of uint32 counters, the second round keyed again."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = ((x ^ (x >> 15)) + seed) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def fingerprints(x: jax.Array) -> jax.Array:
    """Two words [..., 2] uint32 for each vector of x [..., F] float32. They are equal for vectors
    with equal bits, and otherwise with a probability of 2^-64. Comparing all pairs of the vectors
    themselves would take F times the memory.
    """
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), jnp.uint32)
    places = jnp.arange(x.shape[-1], dtype=jnp.uint32).reshape((1,) * (x.ndim - 1) + (-1,))
    seeds = (jnp.uint32(0x9E3779B9), jnp.uint32(0x85EBCA6B))
    words = [_mix(bits ^ _mix(places, seed), seed).sum(-1, dtype=jnp.uint32) for seed in seeds]
    return jnp.stack(words, -1)


def line_words(keys: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """The hashes that `row_bits` crosses: of lines [B, *shape[:-1]] and of columns [shape[-1]]."""
    seeds = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)  # [B, 2]
    *leading, width = shape
    places = jnp.arange(math.prod(leading), dtype=jnp.uint32)[None]
    # One number per line of x: [B, prod(leading)].
    lines = _mix(places ^ seeds[:, :1], seeds[:, 1:])
    columns = _mix(jnp.arange(width, dtype=jnp.uint32), jnp.uint32(0x9E3779B9))
    return lines.reshape(-1, *leading), columns


def cross(lines: jax.Array, columns: jax.Array) -> jax.Array:
    """Bits of each element, from the words of its line and its column (arrays that broadcast).

    The upper half of a word decides what dropout keeps, so the lower half is not mixed further.
    """
    x = (lines ^ columns) * jnp.uint32(0x7FEB352D)
    return (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)


def row_bits(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns uint32 bits [B, *shape], a function of each row's key and the element's position."""
    lines, columns = line_words(keys, shape)
    return cross(lines[..., None], columns.reshape((1,) * len(shape) + (-1,)))


def _keeps(bits: jax.Array, rate: float) -> jax.Array:
    return bits >= jnp.uint32(round(rate * 2**32))


def kept_of(lines: jax.Array, columns: jax.Array, rate: float) -> jax.Array:
    """Which elements dropout keeps, from the words of their lines and columns, bool."""
    return _keeps(cross(lines, columns), rate)


def kept(keys: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """Which elements [B, *shape] dropout keeps, bool."""
    return _keeps(row_bits(keys, shape), rate)


def dropout(x: jax.Array, rate: float, keys: jax.Array | None) -> jax.Array:
    """Inverted dropout of x [B, ...] with per-row keys [B]; keys None or rate 0 change nothing."""
    if keys is None or rate == 0.0:
        return x
    keep = kept(keys, rate, x.shape[1:])
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))
