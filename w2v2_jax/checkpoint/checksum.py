"""Checksums of trees of arrays, computed where the arrays are and the same on any mesh."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def sums(params, training) -> dict[str, int]:
    """Checksums of the two trees: sums of their words modulo 2^32, the same on any mesh."""
    checksums = jax.device_get(_sums_on_device({"params": params, "training": training}))
    return {name: int(value) for name, value in checksums.items()}


@jax.jit
def _sums_on_device(trees):
    def words(leaf):
        kind = {4: jnp.uint32, 2: jnp.uint16, 1: jnp.uint8}[leaf.dtype.itemsize]
        return jax.lax.bitcast_convert_type(leaf, kind).astype(jnp.uint32).sum(dtype=jnp.uint32)

    def total(tree):  # weighted by position, so that swapped arrays are detected
        leaves = enumerate(jax.tree.leaves(tree))
        return sum(words(leaf) * jnp.uint32(2 * k + 1) for k, leaf in leaves)

    return {name: total(tree) for name, tree in trees.items()}


def sum_on_host(tree) -> int:
    """The checksum of one tree of numpy arrays."""
    total = 0
    for k, leaf in enumerate(jax.tree.leaves(tree)):
        words = np.ascontiguousarray(leaf).view(f"u{leaf.dtype.itemsize}")
        total += int(words.sum(dtype=np.uint64)) * (2 * k + 1)
    return total % 2**32
