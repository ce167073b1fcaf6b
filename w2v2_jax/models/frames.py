"""From samples to frames: how many, and which of a row are real."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def frame_counts(num_samples, conv_layers):
    """Frames made from `num_samples` (int or integer array, numpy or jax); 0 where too short."""
    count = num_samples
    for _, kernel, stride in conv_layers:
        count = (count - kernel) // stride + 1
        count = count * (count > 0)  # stays an int for ints
    return count


def frame_mask(counts: jax.Array, length: int) -> jax.Array:
    """[B] counts -> [B, length] bool, True on real frames."""
    return jnp.arange(length)[None] < counts[:, None]
