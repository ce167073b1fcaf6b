"""CTC fine-tuning (paper section 3.3; fairseq `ctc.py`): loss summed, divided by utterances."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking, row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.quantizer import gumbel_temperature
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC
from w2v2_jax.objectives.base import Expectations, Objective, check_gumbel
from w2v2_jax.objectives.ctc_loss import BLANK, ctc_loss

LABELS_PER_SECOND = 14  # letters of English speech


def alignable(labels, num_labels, counts):
    """[B] bool: whether CTC has any path, T >= U + adjacent repeats (docs/traps.md#t47)."""
    position = jnp.arange(1, labels.shape[1])[None]  # [1, U - 1]
    repeats = (labels[:, 1:] == labels[:, :-1]) & (position < num_labels[:, None])
    return counts >= num_labels + repeats.sum(1)


def ctc_losses(logits, counts, labels, num_labels):
    """Per-row negative log-likelihoods [B] and whether they count [B] bool.

    logits [B, T, C], of which no softmax is needed and which are computed in float32; counts [B]
    real frames; labels [B, U] of 1 to C - 1 (0 is the blank), num_labels [B]. A row whose label has
    no path is computed with an empty label, so that no infinity enters the gradient, and its loss
    is zero. The loss of a row with a label that is no symbol is NaN: within jit nothing can be
    raised, and it would be lower than any other. The gradient is in reverse mode only.
    """
    logits = jnp.asarray(logits, jnp.float32)
    fits = alignable(labels, num_labels, counts) & (counts > 0)
    used = jnp.where(fits, num_labels, 0)
    losses = ctc_loss(logits, counts, labels, used)
    named = (labels > BLANK) & (labels < logits.shape[-1])
    real = jnp.arange(labels.shape[1])[None] < num_labels[:, None]  # [B, U]
    sound = jnp.all(named | ~real, axis=1)
    return jnp.where(sound, jnp.where(fits, losses, 0.0), jnp.nan), fits


@dataclasses.dataclass(frozen=True)
class CTC(Objective):
    """Fine-tuning (paper section 4.3).

    freeze_updates: number of first updates that train only the head, while the encoder still runs
        with dropout and masks (docs/traps.md#t49).
    intermediate_weight: share of the loss that the context after half of the blocks has, through
        the same head (arXiv 2102.03216, where it is .3); 0 is the loss of the last block alone.
        Its blocks are unrolled.
    gumbel_start, gumbel_end, gumbel_decay: temperature of the quantizer of a quantized input, which
        starts again in fine-tuning, as in fairseq; see `Contrastive`.
    num_classes, frozen: not settings; the number of symbols in the vocabulary, and whether the
        `freeze_updates` are being done.
    """

    name: ClassVar[str] = "ctc"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "head")
    needs_vocabulary: ClassVar[bool] = True
    ctc_head: ClassVar[bool] = True

    model: ModelConfig
    num_classes: int
    freeze_updates: int = 0
    frozen: bool = False
    intermediate_weight: float = 0.0
    gumbel_start: float = 2.0
    gumbel_end: float = 0.5
    gumbel_decay: float = 0.999995
    execution: Execution = PLAIN

    def __post_init__(self):
        check_least("objective", self, freeze_updates=0)
        if not 0 <= self.intermediate_weight < 1:
            share = self.intermediate_weight
            raise InputError(f"objective.intermediate_weight={share} must be from 0 to below 1")
        if self.intermediate_weight and not self.middle:
            raise InputError(
                "objective.intermediate_weight needs two blocks (model.num_layers) and no output "
                "adapter (model.output_adapter_layers)"
            )
        check_gumbel(self)

    @classmethod
    def computed_fields(cls, num_classes: int) -> dict[str, Any]:
        return {"num_classes": num_classes, "frozen": False}

    @classmethod
    def abstract_batch(cls, rows: int, samples: int) -> Batch:
        """Labels are as long as those of English speech of that length."""
        width = 16 * max(1, round(samples / SAMPLE_RATE * LABELS_PER_SECOND / 16))
        return (
            super()
            .abstract_batch(rows, samples)
            ._replace(
                labels=jax.ShapeDtypeStruct((rows, width), np.int32),
                num_labels=jax.ShapeDtypeStruct((rows,), np.int32),
            )
        )

    @property
    def middle(self) -> int:
        """The blocks before the intermediate loss, 0 without one."""
        shortened = self.model.output_adapter_layers
        return self.model.num_layers // 2 if self.intermediate_weight and not shortened else 0

    @property
    def network(self) -> Wav2Vec2ForCTC:
        return Wav2Vec2ForCTC(self.model, self.num_classes, self.execution)

    def expectations(self) -> Expectations:
        # While only the head is trained, a plateau of blanks is longer.
        return Expectations("loss_per_label", 8.0, slow_updates=self.freeze_updates)

    def at(self, step: int) -> CTC:
        return dataclasses.replace(self, frozen=step < self.freeze_updates)

    def init(self, key):
        samples = 40 * self.model.stride
        return self.network.init(key, jnp.zeros((1, samples)), jnp.full((1,), samples))["params"]

    def masks(self, keys, num_samples, samples: int):
        """See `masking.training_masks`."""
        return masking.training_masks(self.model, keys, num_samples, samples)

    def input_noise(self, keys, samples: int, step) -> dict:
        """The noise argument of the network for a quantized input; empty for a continuous one."""
        model = self.model
        if not model.quantize_input:
            return {}
        length = int(frame_counts(samples, model.conv_layers))
        shape = (length, model.codebooks, model.entries)
        temperature = gumbel_temperature(
            step, start=self.gumbel_start, end=self.gumbel_end, decay=self.gumbel_decay
        )
        gumbel = row_random.gumbel(row_random.fold(keys, row_random.INPUT_GUMBEL), shape)
        return dict(input_gumbel=gumbel, temperature=temperature)

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        draws = masking.draws(self.model)
        self.check(batch, keys, draws=draws, num_classes=self.num_classes)
        samples = batch.waveforms.shape[1]
        mask, channel_mask = self.masks(keys, batch.num_samples, samples)
        logits, counts, *early = self.network.apply(
            {"params": params},
            batch.waveforms,
            batch.num_samples,
            mask=mask,
            channel_mask=channel_mask,
            keys=keys,
            frozen=self.frozen,
            middle=self.middle,
            **self.input_noise(keys, samples, step),
        )
        sums = self.terms(logits, counts, batch)
        if early:
            sums = self.mixed(sums, self.terms(early[0], counts, batch))
        if mask is not None:
            weights = batch.weights[:, None]
            if self.model.output_adapter_layers:  # the mask is of the frames before it
                counts = frame_counts(batch.num_samples, self.model.conv_layers)
            real = (frame_mask(counts, mask.shape[1]) * weights).sum()
            sums.metrics["masked_fraction"] = Mean((mask * weights).sum(), real)
        return sums

    def mixed(self, last: Sums, early: Sums) -> Sums:
        """Sums of the last block with the intermediate loss; the metrics are of the last block."""
        share = self.intermediate_weight
        metrics = last.metrics | {"intermediate_loss": early.metrics["loss"]}
        return Sums((1 - share) * last.loss + share * early.loss, last.weight, metrics)

    def evaluate(self, params, batch: Batch, keys, step):
        self.check(batch, keys, draws=False, num_classes=self.num_classes)
        logits, counts = self.network.apply({"params": params}, batch.waveforms, batch.num_samples)
        outputs = {"logits": logits, "counts": counts, "weights": batch.weights}
        return self.terms(logits, counts, batch), outputs

    def terms(self, logits, counts, batch: Batch) -> Sums:
        """The summed loss over alignable real rows, its weight, and metrics."""
        losses, fits = ctc_losses(logits, counts, batch.labels, batch.num_labels)
        rows = batch.weights.sum()
        weights = batch.weights * fits
        # A row that does not count may have any labels, of which the loss is NaN.
        loss = jnp.where(weights > 0, losses * weights, 0.0).sum()
        total = weights.sum()
        labels = (batch.num_labels * weights).sum()
        real = frame_mask(counts, logits.shape[1]) * batch.weights[:, None]
        blank = (jnp.argmax(logits, -1) == BLANK) * real
        return Sums(
            loss,
            total,
            {
                "loss": Mean(loss, total),
                "loss_per_label": Mean(loss, labels),
                "blank_rate": Mean(blank.sum(), real.sum()),
                "unalignable": Mean(rows - total, rows),
            },
        )
