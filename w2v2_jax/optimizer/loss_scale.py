"""Dynamic loss scaling for float16 (fairseq `optim/dynamic_loss_scaler.py`).

float16 has no numbers below 2^-24, and many gradients of activations are smaller. So the loss is
multiplied before the backward pass, and gradients are divided in float32 after it. The factor is a
power of two, so neither rounds anything. It is halved when a gradient overflows, and doubled after
a number of updates without that.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class LossScale(NamedTuple):
    """value [] float32: the factor of the loss; taken [] int32: updates since it was last
    changed, or an update overflowed."""

    value: jax.Array
    taken: jax.Array


def first_scale(value: float) -> LossScale:
    """The state before the first update."""
    return LossScale(jnp.asarray(value, jnp.float32), jnp.zeros((), jnp.int32))


def can_halve(scale: LossScale, floor: float) -> jax.Array:
    """Whether half of the scale is still above the floor. fairseq ends the run where it is not."""
    return scale.value / 2 > floor


def next_scale(
    scale: LossScale, *, taken: jax.Array, overflow: jax.Array, window: int, largest: float
) -> LossScale:
    """The state after an update. taken, overflow: whether it changed the parameters, or was skipped
    because the scale was too large; neither, and the state does not change (an empty batch, or a
    fault that no scale mends)."""
    count = scale.taken + taken
    grown = count >= window
    value = jnp.where(grown, jnp.minimum(2 * scale.value, largest), scale.value)
    value = jnp.where(overflow, scale.value / 2, value)
    return LossScale(value, jnp.where(grown | overflow, 0, count))
