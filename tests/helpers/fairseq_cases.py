"""Stored outputs of fairseq's published code beside ours for the same weights and draws.

The files come from tests/golden/make_fairseq.py; neither torch nor fairseq is needed here.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.parity_cases import (
    GOLDEN,
    PRETRAINING,
    TUNED,
    compiled,
    difference,
    gradient_differences,
    mean,
    relative,
)
from w2v2_jax.batch import Batch
from w2v2_jax.interop import names
from w2v2_jax.interop.fairseq_config import to_model
from w2v2_jax.interop.fairseq_names import FAIRSEQ, PREFIX
from w2v2_jax.models import masking
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.models.wav2vec2 import Encoder
from w2v2_jax.objectives.contrastive import Contrastive, Draws, cosine_similarity
from w2v2_jax.objectives.ctc import CTC

CASES = ("base", "large_ls", "lv60k", "xls_r", "group_pre_bias", "square", "three_codebooks")
# The choices of the paper's Table 4: what is quantized, and by which quantizer.
QUANTIZED = ("quantized_input", "same_quantizer", "input_alone", "continuous_targets")
CLASSES, TEMPERATURE = 9, 2.0


def unpack(stored, prefix: str) -> dict[str, np.ndarray]:
    """Their tensors under a prefix by name, the fine-tuned ones without their prefix."""
    values, place, found = stored[f"{prefix}/values"], 0, {}
    for name, shape in json.loads(str(stored[f"{prefix}/names"])):
        size = int(np.prod(shape))
        found[name.removeprefix(PREFIX)] = values[place : place + size].reshape(shape)
        place += size
    assert place == len(values)
    return found


class FairseqCase:
    """One stored file with our network of the same configuration and weights."""

    def __init__(self, name: str):
        self.stored = dict(np.load(GOLDEN / f"fairseq_{name}.npz"))
        model = to_model(json.loads(str(self.stored["config"])), where=name)
        self.model = model
        counts = frame_counts(self.stored["num_samples"], model.conv_layers)
        self.real = np.arange(self.stored["mask"].shape[1]) < counts[:, None]  # [B, T]
        rows = len(counts)
        self.batch = Batch(
            *(jnp.asarray(self.stored[name]) for name in ("waveforms", "num_samples")),
            jnp.ones(rows),
            *(jnp.asarray(self.stored[name]) for name in ("labels", "num_labels")),
        )
        diversity, penalty = map(float, self.stored["loss_weights"])
        self.contrastive = Contrastive(
            self.model, rows, num_negatives=5,
            diversity_weight=diversity, feature_penalty_weight=penalty,
        )  # fmt: skip
        mask = jnp.asarray(self.stored["mask"])
        slots = masking.masked_slots(mask, int(mask.sum(1).max()))
        assert bool(slots.valid.all())  # it masks the same number of frames in every row
        self.draws = Draws(
            mask, slots, jnp.asarray(self.stored["negatives"]),
            self._noise("gumbel"), self._noise("input_gumbel"),
        )  # fmt: skip

    def _noise(self, name: str):
        return jnp.asarray(self.stored[name]) if name in self.stored else None

    def parameters(self, parts, prefix="weight"):
        """Their tensors under a prefix -> our tree; gradients move like weights."""
        shapes = names.expected(self.model, parts=parts, classes=CLASSES)
        return names.join(unpack(self.stored, prefix), shapes, FAIRSEQ, where=prefix)

    @functools.cached_property
    def forward(self):
        """(encoded under the mask, entries without noise, what the contrastive task compares)."""
        audio = self.batch.waveforms, self.batch.num_samples

        def run(params):
            encoded = Encoder(self.model).apply(
                {"params": params["encoder"]}, *audio, mask=self.draws.mask, hidden_states=True,
                input_gumbel=self.draws.input_gumbel, temperature=TEMPERATURE,
            )  # fmt: skip
            apply = functools.partial(self.contrastive.network.apply, {"params": params}, *audio)
            contrast = apply(
                mask=self.draws.mask, slots=self.draws.slots, gumbel=self.draws.gumbel,
                temperature=TEMPERATURE, input_gumbel=self.draws.input_gumbel,
            )  # fmt: skip
            units = apply(method="units") if self.model.quantize_targets else None
            return encoded, units, contrast

        return compiled(run)(self.parameters(PRETRAINING))

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """Contrastive logits [B, M, 1 + K], the positive first, -inf where it equals a negative."""
        contrast, negatives = self.forward[2], np.asarray(self.draws.negatives)
        similarity = cosine_similarity(contrast.context, contrast.targets)
        all_logits = np.asarray(similarity) / self.contrastive.logit_temperature  # [B, M, M]
        ids = np.asarray(contrast.targets if contrast.ids is None else contrast.ids)
        same = (ids[:, :, None] == ids[:, None]).all(-1)
        positive = np.diagonal(all_logits, axis1=1, axis2=2)[..., None]
        drawn = np.take_along_axis(np.where(same, -np.inf, all_logits), negatives, axis=2)
        return np.concatenate([positive, drawn], axis=-1)

    @functools.cached_property
    def pretraining(self):
        """Loss, metrics and gradients of the training pass."""

        def loss(params):
            sums = self.contrastive.terms(params, self.batch, self.draws, None, 0)
            return sums.loss, sums.metrics

        run = compiled(jax.value_and_grad(loss, has_aux=True))
        (total, metrics), gradient = run(self.parameters(PRETRAINING))
        return total, metrics, gradient

    @functools.cached_property
    def tuned(self):
        """Logits, summed loss and gradients of CTC."""
        ctc = CTC(self.model, CLASSES)

        def loss(params):
            logits, counts = ctc.network.apply(
                {"params": params}, self.batch.waveforms, self.batch.num_samples,
                input_gumbel=self._noise("ctc_gumbel"), temperature=TEMPERATURE,
            )  # fmt: skip
            return ctc.terms(logits, counts, self.batch).loss, logits

        run = compiled(jax.value_and_grad(loss, has_aux=True))
        (total, logits), gradient = run(self.parameters(TUNED))
        return total, logits, gradient

    def hidden_differences(self) -> dict[str, float]:
        """The input and output of every block and the context."""
        encoded = self.forward[0]
        found = {
            f"states {layer}": difference(encoded.states[layer], state, self.real)
            for layer, state in enumerate(self.stored["states"])
        }
        return found | {"context": difference(encoded.context, self.stored["context"], self.real)}

    def ids_equal(self) -> bool:
        """The quantizer's entries, with noise in the masked frames and without in every frame."""
        _, ids, contrast = self.forward
        same = (np.asarray(ids)[self.real] == self.stored["ids"][self.real]).all()
        return bool(same and (np.asarray(contrast.ids) == self.stored["training_ids"]).all())

    def logit_difference(self) -> float:
        """Of the contrastive logits; the removed negatives must be the same."""
        theirs = self.stored["logits"]
        kept = np.isfinite(theirs)
        np.testing.assert_array_equal(np.isfinite(self.logits), kept)
        return difference(self.logits[kept], theirs[kept])

    def loss_differences(self) -> dict[str, float]:
        """Every loss term and both perplexities of the training pass."""
        total, metrics, _ = self.pretraining
        weights = dict(zip(
            ("contrastive_loss", "diversity_loss", "feature_penalty"),
            (1.0, *self.stored["loss_weights"]), strict=True,
        ))  # fmt: skip
        perplexities = {"prob_perplexity", "code_perplexity"}
        if not (self.model.quantize_targets or self.model.quantize_input):
            del weights["diversity_loss"]
            perplexities.clear()
        assert perplexities <= metrics.keys() and weights.keys() <= metrics.keys()
        found = {
            name: relative(weight * metrics[name].total, self.stored[name])
            for name, weight in weights.items()
        }
        for name in perplexities:
            found[name] = relative(mean(metrics[name]), self.stored[name])
        return found | {"loss": relative(total, self.stored["loss"])}

    def gradient_differences(self) -> dict[str, float]:
        theirs = self.parameters(PRETRAINING, prefix="pretraining_gradient")
        return gradient_differences(self.pretraining[2], theirs)

    def ctc_differences(self) -> tuple[float, float]:
        """Of the logits and of the summed loss."""
        total, logits, _ = self.tuned
        return (
            difference(logits, self.stored["ctc_logits"], self.real),
            relative(total, self.stored["ctc_loss"]),
        )

    def ctc_gradient_differences(self) -> dict[str, float]:
        theirs = self.parameters(TUNED, prefix="ctc_gradient")
        return gradient_differences(self.tuned[2], theirs)
