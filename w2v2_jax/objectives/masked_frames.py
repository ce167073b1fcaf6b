"""What pretraining objectives share: which frames are masked, and how many are expected."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from w2v2_jax.batch import Batch
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking, row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.objectives.base import Objective


def draw_mask(
    model: ModelConfig, keys, num_samples, samples: int, *, equalised: bool = True
) -> tuple[jax.Array, masking.Slots]:
    """The span mask [B, T] of a batch of rows from their keys [B], and its frames in slots."""
    length = int(frame_counts(samples, model.conv_layers))
    counts = frame_counts(num_samples, model.conv_layers)
    mask_keys = row_random.fold(keys, row_random.MASK)
    mask = masking.span_mask(
        mask_keys,
        counts,
        length,
        start_prob=model.mask_start_prob,
        span=model.mask_length,
        min_spans=model.mask_min_spans,
    )
    if model.mask_equalise_rows and equalised:
        mask = masking.equalise(mask_keys, mask, model.mask_equalise_rows)
    room = masking.slot_count(length, model.mask_start_prob, model.mask_length)
    return mask, masking.masked_slots(mask, room)


def expected_share(model: ModelConfig) -> tuple[float, float]:
    """(share of frames that are masked, mean run of masked frames; 0 if it says nothing).

    A frame is masked if a span starts at one of `mask_length` frames; a run begins at a start that
    follows an unmasked frame. For the paper's 0.065 and 10 this gives its 0.49 and 14.7.
    """
    start, length = model.mask_start_prob, model.mask_length
    open_share = (1 - start) ** length
    # Equalised rows have holes in their spans.
    span = 0.0 if model.mask_equalise_rows else (1 - open_share) / (start * open_share)
    return 1 - open_share, span


class MaskSums(NamedTuple):
    """Sums of a batch's masks: all masked frames, real frames [B], starts of masked runs [B, T]."""

    masked: jax.Array
    real: jax.Array
    starts: jax.Array
    weights: jax.Array

    def metrics(self) -> dict[str, Mean]:
        """masked_fraction and mean_span."""
        return {
            "masked_fraction": Mean(self.masked, self.real.sum()),
            "mean_span": Mean(self.masked, (self.starts.sum(1) * self.weights).sum()),
        }


def mask_sums(model: ModelConfig, mask: jax.Array, batch: Batch) -> MaskSums:
    """mask [B, T] of the batch's rows."""
    starts = mask & ~jnp.pad(mask, ((0, 0), (1, 0)))[:, :-1]
    real = frame_counts(batch.num_samples, model.conv_layers) * batch.weights
    return MaskSums((mask.sum(1) * batch.weights).sum(), real, starts, batch.weights)


class MaskedFrames(Objective):
    """An objective of the span mask alone: the subclass has the `model` and the `network`, and in
    `terms` the sums of a batch for a given mask."""

    model: ModelConfig

    def terms(self, params, batch: Batch, mask, slots: masking.Slots, keys) -> Sums:
        """The loss and metrics for a given mask; keys None switches dropout off."""
        raise NotImplementedError

    def init(self, key):
        samples = 40 * self.model.stride
        counts = jnp.full((1,), samples, jnp.int32)
        keys = row_random.row_keys(key, jnp.arange(1))
        mask, slots = draw_mask(self.model, keys, counts, samples, equalised=False)
        waveforms = jnp.zeros((1, samples))
        return self.network.init(key, waveforms, counts, mask=mask, slots=slots)["params"]

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        self.check(batch, keys)
        drawn = draw_mask(self.model, keys, batch.num_samples, batch.waveforms.shape[1])
        return self.terms(params, batch, *drawn, keys)

    def evaluate(self, params, batch: Batch, keys, step):
        self.check(batch, keys)
        drawn = draw_mask(
            self.model, keys, batch.num_samples, batch.waveforms.shape[1], equalised=False
        )
        return self.terms(params, batch, *drawn, None), {}
