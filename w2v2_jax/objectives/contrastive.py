"""The contrastive task over quantized latents, with diversity and feature penalty (section 3.2).

loss = sum over masked frames of -log softmax(sim(c, q) / kappa)[true]
     + diversity_weight * sum over groups of N_group * (G V - perplexity) / (G V)
     + feature_penalty_weight * sum over rows of N_row * mean square of the latents,
divided by the global number of masked frames N (docs/traps.md#t27, docs/traps.md#t28), as in
fairseq's criterion. As there, the diversity is that of the targets' quantizer, or of the input's
quantizer if the targets are continuous; without a quantizer there is none.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least, check_most, check_positive
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking, row_random
from w2v2_jax.models.backend import platform
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.quantizer import gumbel_temperature
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForPretraining
from w2v2_jax.objectives.base import Expectations, Objective, check_gumbel
from w2v2_jax.objectives.diversity import Usage, diversity_loss, group_rows, usage
from w2v2_jax.objectives.masked_frames import draw_mask, expected_share, mask_sums

MOST_NEGATIVES = 1 << 16  # far more than a row has masked frames
EXCLUDED = -1e30  # instead of -inf, whose gradient is nan on XLA (docs/traps.md#t25)


class Draws(NamedTuple):
    """All random draws of one batch, so that a test can insert those of another implementation.

    mask [B, T] bool, slots (its masked frames), negatives [B, M, K] slot numbers, gumbel
    [B, M, G, V] and input_gumbel [B, T, G, V], each None in evaluation or if the targets or the
    input are not quantized.
    """

    mask: jax.Array
    slots: masking.Slots
    negatives: jax.Array
    gumbel: jax.Array | None
    input_gumbel: jax.Array | None = None


class SlotScores(NamedTuple):
    """Per masked slot [B, M] float32: cross-entropy; correct; counted (not a tie of all logits);
    clashes, the number of negatives that equal the positive."""

    cross_entropy: jax.Array
    correct: jax.Array
    counted: jax.Array
    clashes: jax.Array


def cosine_similarity(a: jax.Array, b: jax.Array) -> jax.Array:
    """a [B, M, F], b [B, N, F] -> [B, M, N] in float32 (docs/traps.md#t23)."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    a = a / jnp.maximum(jnp.sqrt(jnp.square(a).sum(-1, keepdims=True) + 1e-16), 1e-8)
    b = b / jnp.maximum(jnp.sqrt(jnp.square(b).sum(-1, keepdims=True) + 1e-16), 1e-8)
    return jnp.einsum("bmf,bnf->bmn", a, b)


def multiplicity(negatives: jax.Array, slots: int) -> jax.Array:
    """How often each slot was drawn: negatives [B, M, K] -> counts [B, M, slots] int32."""
    if platform() == "tpu":  # there scatters run one by one, and comparisons a thousand at a time
        return compared(negatives, slots)

    def count(drawn):
        return jnp.zeros(slots, jnp.int32).at[drawn].add(1)

    return jax.vmap(jax.vmap(count))(negatives)


def compared(negatives: jax.Array, slots: int) -> jax.Array:
    """`multiplicity` by comparing every draw with every slot."""
    drawn = negatives[..., None] == jnp.arange(slots).reshape(1, 1, 1, -1)
    return drawn.astype(jnp.int32).sum(2)


def contrast(context, targets, ids, negatives, *, temperature: float) -> SlotScores:
    """The SlotScores of each slot's true target against its negatives.

    The logsumexp over K draws equals a sum over distinct slots weighted by how often each was
    drawn, so only the M x M similarities and integer counts are needed, never K gathered vectors.
    A negative with the positive's own codes is removed (docs/traps.md#t25); ids are then the codes'
    numbers [B, M, G], or for continuous targets their fingerprints.
    """
    logits = cosine_similarity(context, targets) / temperature  # [B, M, M]
    slots = logits.shape[-1]
    same = jnp.all(ids[:, :, None] == ids[:, None], axis=-1)  # [B, M, M]
    drawn = multiplicity(negatives, slots)
    counts = jnp.where(same, 0, drawn)
    positive = jnp.diagonal(logits, axis1=1, axis2=2)  # [B, M]
    negative = jnp.where(counts > 0, logits, EXCLUDED)
    top = jax.lax.stop_gradient(jnp.maximum(positive, negative.max(-1)))
    total = (counts * jnp.exp(negative - top[..., None])).sum(-1) + jnp.exp(positive - top)
    clashes = jnp.where(same, drawn, 0).sum(-1)
    lowest = jnp.where(counts > 0, logits, -EXCLUDED).min(-1)
    tie = (positive >= negative.max(-1)) & (positive <= lowest) & (clashes == 0)
    return SlotScores(
        jnp.log(total) + top - positive,
        ((positive >= negative.max(-1)) & ~tie).astype(jnp.float32),
        (~tie).astype(jnp.float32),
        clashes.astype(jnp.float32),
    )


@dataclasses.dataclass(frozen=True)
class Contrastive(Objective):
    """Pretraining (paper section 3.2).

    diversity_group_seconds: amount of audio over which the code distribution is averaged, in whole
        neighbouring rows (fairseq: the 87.5 s of one GPU's batch).
    num_negatives: number of negatives per masked frame, K.
    logit_temperature: number by which similarities are divided (kappa).
    diversity_weight: weight of the diversity loss (alpha).
    feature_penalty_weight: weight of the mean square of the features (fairseq).
    gumbel_start: Gumbel temperature of the first update (tau).
    gumbel_end: lowest Gumbel temperature.
    gumbel_decay: factor of the temperature from one update to the next.
    gumbel_noise: whether training uses Gumbel noise; False removes it and keeps the rest of the
        estimator, which is an ablation of the paper (Table 13).
    """

    name: ClassVar[str] = "contrastive"
    parts: ClassVar[tuple[str, ...]] = (
        "encoder",
        "quantizer",
        "target_projection",
        "context_projection",
    )

    model: ModelConfig
    diversity_group_seconds: float
    num_negatives: int = 100
    logit_temperature: float = 0.1
    diversity_weight: float = 0.1
    feature_penalty_weight: float = 10.0
    gumbel_start: float = 2.0
    gumbel_end: float = 0.5
    gumbel_decay: float = 0.999995
    gumbel_noise: bool = True
    execution: Execution = PLAIN

    @classmethod
    def required_settings(cls, seconds: float) -> dict[str, Any]:
        return {"diversity_group_seconds": seconds}

    def __post_init__(self):
        check_positive("objective", self, "diversity_group_seconds", "logit_temperature")
        check_least("objective", self, num_negatives=1, diversity_weight=0)
        check_least("objective", self, feature_penalty_weight=0)
        check_most("objective", self, num_negatives=MOST_NEGATIVES)
        check_gumbel(self)
        if self.model.quantize_targets and self.model.entries == 1:
            raise InputError("model.entries=1: all targets would be the same; use at least 2")

    @property
    def network(self) -> Wav2Vec2ForPretraining:
        return Wav2Vec2ForPretraining(self.model, self.execution)

    def row_multiple(self, samples: int) -> int:
        return group_rows(self.diversity_group_seconds, samples)

    def expectations(self) -> Expectations:
        model = self.model
        masked, span = expected_share(model)
        quantized = model.quantize_targets or model.quantize_input
        codebooks = model.codebooks if quantized else 0
        return Expectations(
            "contrastive_loss",
            1.15,
            negatives=self.num_negatives,
            codebooks=codebooks,
            codes=codebooks * model.entries,
            masked=masked,
            span=span,
        )

    def init(self, key):
        samples = 40 * self.model.stride
        counts = jnp.full((1,), samples, jnp.int32)
        keys = row_random.row_keys(key, jnp.arange(1))
        draws = self.draw(keys, counts, samples, training=False, equalised=False)
        return self.network.init(
            key,
            jnp.zeros((1, samples)),
            counts,
            mask=draws.mask,
            slots=draws.slots,
            gumbel=None,
            temperature=1.0,
        )["params"]

    def draw(self, keys, num_samples, samples: int, *, training: bool, equalised=True) -> Draws:
        """Draws masks, negatives and Gumbel noise of a batch of rows from their keys [B]."""
        model = self.model
        mask, slots = draw_mask(model, keys, num_samples, samples, equalised=equalised)
        length, room = mask.shape[1], slots.frames.shape[1]
        negatives = masking.draw_negatives(
            row_random.fold(keys, row_random.NEGATIVES), slots.counts, room, self.num_negatives
        )
        targets = training and model.quantize_targets
        inputs = training and model.quantize_input
        return Draws(
            mask,
            slots,
            negatives,
            self._gumbel(row_random.fold(keys, row_random.GUMBEL), room) if targets else None,
            None
            if not inputs
            else self._gumbel(row_random.fold(keys, row_random.INPUT_GUMBEL), length),
        )

    def _gumbel(self, keys, places: int) -> jax.Array:
        shape = (places, self.model.codebooks, self.model.entries)
        return (
            row_random.gumbel(keys, shape) if self.gumbel_noise else jnp.zeros((len(keys), *shape))
        )

    def temperature(self, step):
        """The Gumbel temperature after `step` updates."""
        return gumbel_temperature(
            step, start=self.gumbel_start, end=self.gumbel_end, decay=self.gumbel_decay
        )

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        self.check(batch, keys)
        draws = self.draw(keys, batch.num_samples, batch.waveforms.shape[1], training=True)
        return self.terms(params, batch, draws, keys, step)

    def evaluate(self, params, batch: Batch, keys, step):
        self.check(batch, keys)
        draws = self.draw(keys, batch.num_samples, batch.waveforms.shape[1], training=False)
        return self.terms(params, batch, draws, None, step), {}

    def terms(self, params, batch: Batch, draws: Draws, keys, step) -> Sums:
        """The loss and its parts for given draws; keys None switches dropout off."""
        out = self.network.apply(
            {"params": params},
            batch.waveforms,
            batch.num_samples,
            mask=draws.mask,
            slots=draws.slots,
            gumbel=draws.gumbel,
            temperature=self.temperature(step),
            keys=keys,
            input_gumbel=draws.input_gumbel,
        )
        valid = draws.slots.valid * batch.weights[:, None]  # [B, M] float32
        scores = contrast(
            out.context,
            out.targets,
            row_random.fingerprints(out.targets) if out.ids is None else out.ids,
            draws.negatives,
            temperature=self.logit_temperature,
        )
        frames, total = valid.sum(1), valid.sum()
        cross_entropy = (scores.cross_entropy * valid).sum()

        penalty = (frames * out.penalty).sum()
        loss, quantizers = cross_entropy, dict[str, Any]()
        codes = self.model.codebooks * self.model.entries
        if self.model.quantize_targets or self.model.quantize_input:
            rows = min(len(batch.waveforms), self.row_multiple(batch.waveforms.shape[1]))
            used = self._usages(out, valid, batch, rows)
            diversity, quantizers = diversity_loss(used, valid, rows, codes)
            loss = loss + self.diversity_weight * diversity
            quantizers["gumbel_temperature"] = Mean(self.temperature(step) * total, total)
        loss = loss + self.feature_penalty_weight * penalty
        masks = mask_sums(self.model, draws.mask, batch)
        return Sums(
            loss,
            total,
            {
                "loss": Mean(loss, total),
                "contrastive_loss": Mean(cross_entropy, total),
                "feature_penalty": Mean(penalty, total),
                "contrastive_accuracy": Mean(
                    (scores.correct * valid).sum(), (scores.counted * valid).sum()
                ),
                "negative_is_positive": Mean(
                    (scores.clashes * valid).sum(), total * self.num_negatives
                ),
                **masks.metrics(),
                **quantizers,
            },
        )

    def _usages(self, out, valid, batch: Batch, rows: int) -> list[Usage]:
        """How the quantizers use their codes: that of the targets over the masked frames, that of
        the input over all real frames."""
        used = []
        if out.probs is not None:
            used.append(usage(out.probs, valid, rows))
        if out.input_probs is not None:
            counts = frame_counts(batch.num_samples, self.model.conv_layers)
            real = frame_mask(counts, out.input_probs.shape[1]) * batch.weights[:, None]
            used.append(usage(out.input_probs, real, rows))
        return used
