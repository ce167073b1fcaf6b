"""Metrics as sums with their weights, so that devices, microbatches and hosts only add them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = Any


class Mean(NamedTuple):
    """A weighted mean in two parts: total / weight."""

    total: Array
    weight: Array


class Sums(NamedTuple):
    """What an objective returns: the summed loss, its weight, and named means."""

    loss: Array
    weight: Array
    metrics: dict[str, Mean]


def merge(a, b):
    """Adds two trees of sums."""
    return jax.tree.map(lambda x, y: x + y, a, b)


def compute(metrics: dict[str, Mean]) -> dict[str, float]:
    """Device or host sums -> floats; means without any contribution are left out."""
    host = jax.device_get(metrics)
    return {name: float(m.total / m.weight) for name, m in host.items() if m.weight > 0}


def global_norm(tree) -> Array:
    """Square root of the sum of squares of all leaves, in float32."""
    leaves = jax.tree.leaves(tree)
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves))
