"""From samples to frames: how many, and which of a row are real."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


def frame_counts(num_samples, conv_layers):
    """Frames made from `num_samples` (int or integer array, numpy or jax); 0 if too short."""
    count = num_samples
    for _, kernel, stride in conv_layers:
        count = (count - kernel) // stride + 1
        count = count * (count > 0)  # stays an int for ints
    return count


class Receptive(NamedTuple):
    """Samples that one frame sees, and samples between two frames."""

    field: int
    stride: int


def receptive(conv_layers) -> Receptive:
    """Of the feature encoder: 400 and 320 samples (25 and 20 ms) for the released families."""
    field, stride = 1, 1
    for _, kernel, step in conv_layers:
        field += (kernel - 1) * stride
        stride *= step
    return Receptive(field, stride)


def frame_mask(counts: jax.Array, length: int) -> jax.Array:
    """[B] counts -> [B, length] bool, True on real frames."""
    return jnp.arange(length)[None] < counts[:, None]
