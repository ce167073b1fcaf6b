"""BEST-RQ: masked frames predict the codes that a frozen random quantizer gives their filterbanks.

arXiv 2202.01855, section 3: the speech, normalised to mean 0 and deviation 1, is projected by a
random matrix, and its code is the nearest of random unit vectors. Projection and codebook are
constants of `target_seed`. They are not part of the state or the checkpoint, and nothing has to be
learned before the task makes sense. There are two differences. The encoder takes raw audio, so its
latents are masked, as in wav2vec 2.0 (mask embedding and spans of `model.mask_*`), and not the
input. And mean and deviation are taken over each row's real frames, so that rows are independent.

loss = sum over masked frames of the mean over codebooks of -log softmax(logits)[code], divided by
the global number of masked frames.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least, check_most
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.config_checks import SIZES
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts, frame_mask, receptive
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForMaskedPrediction, take_frames
from w2v2_jax.objectives.base import Expectations
from w2v2_jax.objectives.log_mel import log_mel, transform_size
from w2v2_jax.objectives.masked_frames import MaskedFrames, expected_share, mask_sums

LEAST_DEVIATION = 1e-5
MEL_BANDS = 80
OF_QUANTIZER = ("codebooks", "entries", "code_dim")
SPECTRA = 2  # windows of a latent frame: two of 25 ms, 10 ms apart, for the published encoders


def mel_bins(model: ModelConfig) -> int:
    """The number of bins of a frame's spectrum, of which mel bands are made."""
    return transform_size(receptive(model.conv_layers).field) // 2 + 1


@functools.cache
def constants(seed: int, width: int, codebooks: int, entries: int, dim: int):
    """(projection [width, G, dim] with Xavier's bounds, codebook [G, entries, dim] of unit vectors)
    in float32, from NumPy's legacy generator, whose streams are promised never to change."""
    random = np.random.RandomState(seed)
    bound = np.sqrt(6 / (width + dim))
    projection = random.uniform(-bound, bound, (width, codebooks, dim))
    codebook = random.standard_normal((codebooks, entries, dim))
    codebook /= np.linalg.norm(codebook, axis=-1, keepdims=True)
    return projection.astype(np.float32), codebook.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class RandomTargets(MaskedFrames):
    """Pretraining with fixed random targets.

    codebooks: number of quantizers, each with its own projection.
    entries: number of codes of each quantizer.
    code_dim: width of a code.
    mel_bands: number of mel bands of the filterbanks.
    target_seed: seed from which the frozen quantizer is drawn.
    """

    name: ClassVar[str] = "random_targets"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "target_head")
    own_parts: ClassVar[tuple[str, ...]] = ("target_head",)

    model: ModelConfig
    codebooks: int = 1
    entries: int = 8192
    code_dim: int = 16
    mel_bands: int = MEL_BANDS
    target_seed: int = 0
    execution: Execution = PLAIN

    def __post_init__(self):
        check_least("objective", self, codebooks=1, entries=2, code_dim=1, mel_bands=1)
        check_least("objective", self, target_seed=0)
        check_most("objective", self, **{name: SIZES[name] for name in OF_QUANTIZER})
        if self.model.quantize_input:
            raise InputError(
                "config.objective.name='random_targets' has no noise for model.quantize_input=True"
            )
        most = mel_bins(self.model)
        if self.mel_bands > most:  # further bands hold no bin: they are the same for every frame
            raise InputError(
                f"objective.mel_bands={self.mel_bands} must be at most {most}, the bins of the "
                f"spectrum of a frame's {receptive(self.model.conv_layers).field} samples"
            )

    @classmethod
    def for_network(
        cls, model: ModelConfig, num_classes: int = 0, execution: Execution = PLAIN
    ) -> RandomTargets:
        return cls(model, mel_bands=min(MEL_BANDS, mel_bins(model)), execution=execution)

    @property
    def network(self) -> Wav2Vec2ForMaskedPrediction:
        return Wav2Vec2ForMaskedPrediction(
            self.model, self.codebooks * self.entries, self.execution
        )

    def expectations(self) -> Expectations:
        masked, span = expected_share(self.model)
        return Expectations("loss", 1.15, masked=masked, span=span)

    def spectra(self, batch: Batch) -> jax.Array:
        """Normalised filterbanks [B, T, SPECTRA * mel_bands] float32 of every latent frame."""
        layers, samples = self.model.conv_layers, batch.waveforms.shape[1]
        counts = frame_counts(batch.num_samples, layers)
        frames = int(frame_counts(samples, layers))
        heard = jnp.arange(samples)[None] < batch.num_samples[:, None]
        mel = log_mel(
            jnp.where(heard, batch.waveforms, 0),
            SPECTRA * frames,
            window=receptive(layers).field,
            hop=self.model.stride // SPECTRA,
            bands=self.mel_bands,
        )
        mel = mel.reshape(len(mel), frames, SPECTRA * self.mel_bands)
        real = frame_mask(counts, frames)[..., None]
        total = jnp.maximum(counts, 1)[:, None, None]
        centred = mel - (mel * real).sum(1, keepdims=True) / total
        variance = (jnp.square(centred) * real).sum(1, keepdims=True) / total
        return centred / jnp.maximum(jnp.sqrt(variance), LEAST_DEVIATION)

    def codes(self, spectra: jax.Array) -> jax.Array:
        """spectra [B, M, F] -> numbers [B, M, G] int32 of the nearest codes."""
        projection, codebook = constants(
            self.target_seed, spectra.shape[-1], self.codebooks, self.entries, self.code_dim
        )
        projected = jnp.einsum("bmf,fgd->bmgd", spectra, projection, precision="highest")
        # The nearest unit vector is the one at the smallest angle, for any norm of the projection.
        angles = jnp.einsum("bmgd,gvd->bmgv", projected, codebook, precision="highest")
        return jnp.argmax(angles, -1).astype(jnp.int32)

    def terms(self, params, batch: Batch, mask, slots: masking.Slots, keys) -> Sums:
        """The loss and metrics for a given mask; keys None switches dropout off."""
        logits = self.network.apply(
            {"params": params},
            batch.waveforms,
            batch.num_samples,
            mask=mask,
            slots=slots,
            keys=keys,
        )
        codes = self.codes(take_frames(self.spectra(batch), slots.frames))  # [B, M, G]
        logits = logits.astype(jnp.float32).reshape(*codes.shape, self.entries)
        truth = jnp.take_along_axis(logits, codes[..., None], axis=-1)[..., 0]
        cross_entropy = (jax.nn.logsumexp(logits, axis=-1) - truth).mean(-1)  # [B, M]
        right = (jnp.argmax(logits, -1) == codes).mean(-1)
        valid = slots.valid * batch.weights[:, None]  # [B, M] float32
        loss, total = (cross_entropy * valid).sum(), valid.sum()
        return Sums(
            loss,
            total,
            {
                "loss": Mean(loss, total),
                "accuracy": Mean((right * valid).sum(), total),
                "same_code": self._same_code(codes, slots.valid, batch.weights),
                **mask_sums(self.model, mask, batch).metrics(),
            },
        )

    def _same_code(self, codes, valid, weights) -> Mean:
        """The share of pairs of a row's masked frames with the same code. Its inverse is the
        effective number of codes; near 1 the targets carry no information."""
        same = (codes[:, :, None] == codes[:, None]).mean(-1)  # [B, M, M]
        pairs = valid[:, :, None] * valid[:, None] * (1 - jnp.eye(valid.shape[1])[None])
        pairs = pairs * weights[:, None, None]
        return Mean((same * pairs).sum(), pairs.sum())
