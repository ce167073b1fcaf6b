"""Randomness that belongs to a row of the global batch, not to a device or a microbatch.

Every draw starts from one key per row, so the same row gets the same masks, noise and dropout
whatever the number of devices, hosts or accumulation steps (trap T38). Dropout bits come from a
counter hash of (row seed, element): integer arithmetic that XLA fuses into the consumer, where
threefry bits for every activation cost a tenth of a training step.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

# One tag a purpose: two purposes never share bits.
MASK, CHANNEL_MASK, NEGATIVES, GUMBEL, INPUT, QUANTIZER, ENTRY, FINAL, LAYER = range(9)


def row_keys(key: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns one key per row [B] from the step's key and the rows' global numbers [B]."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, rows)


def fold(keys: jax.Array | None, tag) -> jax.Array | None:
    """Derives keys [B] for one purpose (or one layer); None stays None (no randomness)."""
    return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, tag)


def _mix(x: jax.Array, seed: jax.Array) -> jax.Array:
    """Two-round multiplicative hash of uint32 counters, the second round keyed again."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = ((x ^ (x >> 15)) + seed) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def row_bits(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns uint32 bits [B, *shape], a function of each row's key and the element's position."""
    seeds = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)  # [B, 2]
    tail = (1,) * len(shape)
    first, second = (seeds[:, i].reshape(-1, *tail) for i in range(2))
    counter = jnp.zeros((1, *shape), jnp.uint32)
    for axis in range(len(shape)):
        step = jnp.uint32(math.prod(shape[axis + 1 :]) & 0xFFFFFFFF)
        counter += jax.lax.broadcasted_iota(jnp.uint32, (1, *shape), axis + 1) * step
    return _mix(counter ^ first, second)


def dropout(x: jax.Array, rate: float, keys: jax.Array | None) -> jax.Array:
    """Inverted dropout of x [B, ...] with per-row keys [B]; keys None or rate 0 change nothing."""
    if keys is None or rate == 0.0:
        return x
    keep = row_bits(keys, x.shape[1:]) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))
