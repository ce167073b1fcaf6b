"""Span masks and negatives, drawn on the device from per-row keys.

The span mask is fairseq's `compute_mask_indices` (static spans, overlaps allowed) in
distribution, with static shapes: the masked frames of a row go into a buffer of M slots with
weights, so no row is trimmed to another row's count unless `equalise_rows` is set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from w2v2_jax.models import row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts


def span_mask(
    keys: jax.Array, counts: jax.Array, length: int, *, start_prob: float, span: int, min_spans: int
) -> jax.Array:
    """Draws span masks [B, length] for rows with `counts` [B] real positions.

    A row of n positions gets k = floor(start_prob * n + u) spans, u uniform in [0, 1), at least
    `min_spans`, whose starts are drawn without replacement from 0 .. n - span - 1: the last
    position is never masked (docs/traps.md#t33). If n - span <= k the starts come from 0 .. k, as
    in fairseq. A row that would be masked completely (fairseq raises) is left unmasked.
    """
    position = jnp.arange(length)[None]  # [1, T]
    start_keys, round_keys = row_random.fold(keys, 0), row_random.fold(keys, 1)
    rounding = jax.vmap(jax.random.uniform)(round_keys)
    spans = jnp.floor(start_prob * counts + rounding).astype(jnp.int32)
    spans = jnp.maximum(spans, min_spans)  # [B]
    starts_end = jnp.where(counts - span <= spans, spans + 1, counts - span)
    order = jax.vmap(lambda key: jax.random.uniform(key, (length,)))(start_keys)
    order = jnp.where(position < starts_end[:, None], order, 2.0)
    rank = jnp.argsort(jnp.argsort(order, axis=1), axis=1)
    allowed = position < jnp.minimum(starts_end, counts)[:, None]
    starts = ((rank < spans[:, None]) & allowed).astype(jnp.int32)
    total = jnp.cumsum(starts, axis=1)
    before = jnp.pad(total, ((0, 0), (span, 0)))[:, :length]  # starts more than a span ago
    mask = (total > before) & (position < counts[:, None])
    return mask & (mask.sum(1) < counts)[:, None]


def equalise(keys: jax.Array, mask: jax.Array, rows: int) -> jax.Array:
    """Trims each group of `rows` consecutive rows of mask [B, T] to the group's smallest count.

    Random single frames are unmasked, which leaves holes in spans. This is fairseq's
    `require_same_masks`, for the same statistics (share 0.46 instead of 0.49 with 5 rows), not for
    shapes.
    """
    smallest = mask.sum(1).reshape(-1, rows).min(1).repeat(rows)  # [B]
    order = jax.vmap(lambda key: jax.random.uniform(key, mask.shape[1:]))(row_random.fold(keys, 2))
    rank = jnp.argsort(jnp.argsort(jnp.where(mask, order, 2.0), axis=1), axis=1)
    return mask & (rank < smallest[:, None])


def slot_count(length: int, start_prob: float, span: int) -> int:
    """Slots M that are enough for a row's masked frames in all but about 1 in 1000 rows.

    The expected share is 1 - (1 - p)^span; its standard deviation over rows was measured as
    0.65 / sqrt(T) for p = 0.065, span 10.
    """
    share = 1.0 - (1.0 - start_prob) ** span + 3.3 * 0.65 / math.sqrt(length)
    return min(length, 8 * math.ceil(share * length / 8))


class Slots(NamedTuple):
    """The masked frames of each row in a fixed buffer.

    frames: [B, M] int32 frame numbers, rising; valid: [B, M] bool; counts: [B] int32 valid slots.
    """

    frames: jax.Array
    valid: jax.Array
    counts: jax.Array


def masked_slots(mask: jax.Array, slots: int) -> Slots:
    """Gathers the masked frame numbers of mask [B, T] into `slots` slots, the excess dropped."""
    counts = jnp.minimum(mask.sum(1), slots).astype(jnp.int32)
    frames = jnp.argsort(~mask, axis=1, stable=True)[:, :slots].astype(jnp.int32)
    valid = jnp.arange(slots)[None] < counts[:, None]
    return Slots(jnp.where(valid, frames, 0), valid, counts)


def draw_negatives(keys: jax.Array, counts: jax.Array, slots: int, negatives: int) -> jax.Array:
    """Slot numbers [B, M, K] of the negatives: uniform over the row's other valid slots.

    Drawn with replacement from counts - 1 slots; those at or after the own slot are shifted by one
    (docs/traps.md#t24).
    """
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (slots, negatives)))(keys)
    others = jnp.maximum(counts - 1, 1)[:, None, None]
    drawn = jnp.minimum((uniform * others).astype(jnp.int32), others - 1)
    return drawn + (drawn >= jnp.arange(slots)[None, :, None])


def draws(model: ModelConfig) -> bool:
    """Whether fine-tuning draws anything but dropout: masks, noise of a quantized input."""
    return model.mask_start_prob > 0 or model.channel_mask_start_prob > 0 or model.quantize_input


def training_masks(
    model: ModelConfig, keys: jax.Array, num_samples: jax.Array, samples: int
) -> tuple[jax.Array | None, jax.Array | None]:
    """Time mask [B, T] and channel mask [B, D] of fine-tuning rows of `samples` samples, None if
    the probability is 0."""
    counts = frame_counts(num_samples, model.conv_layers)
    time_mask = channel_mask = None
    if model.mask_start_prob > 0:
        time_mask = span_mask(
            row_random.fold(keys, row_random.MASK),
            counts,
            int(frame_counts(samples, model.conv_layers)),
            start_prob=model.mask_start_prob,
            span=model.mask_length,
            min_spans=model.mask_min_spans,
        )
    if model.channel_mask_start_prob > 0:
        channel_mask = span_mask(
            row_random.fold(keys, row_random.CHANNEL_MASK),
            jnp.full_like(counts, model.d_model),
            model.d_model,
            start_prob=model.channel_mask_start_prob,
            span=model.channel_mask_length,
            min_spans=0,
        )
    return time_mask, channel_mask
