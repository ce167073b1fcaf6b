"""Fine-tuning a classifier of recordings: softmax cross-entropy (as transformers'
`Wav2Vec2ForSequenceClassification`), and the other heads that are imported, run and exported."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.heads import (
    Wav2Vec2ForClassification,
    Wav2Vec2ForFrames,
    Wav2Vec2ForXVector,
    tdnn_loss,
)
from w2v2_jax.objectives.base import Expectations, Objective


@dataclasses.dataclass(frozen=True)
class _Headed(Objective):
    """What the heads have in common."""

    needs_vocabulary: ClassVar[bool] = True
    class_labels: ClassVar[bool] = True

    model: ModelConfig
    num_classes: int
    execution: Execution = PLAIN

    def __post_init__(self):
        if self.model.quantize_input:
            raise InputError(
                f"model.quantize_input=True: objective {self.name} has none; use False"
            )

    @classmethod
    def computed_fields(cls, num_classes: int) -> dict[str, Any]:
        return {"num_classes": num_classes}

    @classmethod
    def abstract_batch(cls, rows: int, samples: int) -> Batch:
        batch = super().abstract_batch(rows, samples)
        return batch._replace(
            labels=jax.ShapeDtypeStruct((rows, 16), np.int32),  # as wide as the pipeline's
            num_labels=jax.ShapeDtypeStruct((rows,), np.int32),
        )

    def init(self, key):
        samples = 60 * self.model.stride
        return self.network.init(key, jnp.zeros((1, samples)), jnp.full((1,), samples))["params"]


@dataclasses.dataclass(frozen=True)
class Classification(_Headed):
    """One class for each recording.

    freeze_updates: number of first updates that train only the head, while the encoder still runs
        with dropout and masks.
    frozen: not a setting; whether these updates are being done.
    """

    name: ClassVar[str] = "classify"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "layer_weights", "projector", "classifier")

    freeze_updates: int = 0
    frozen: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_least("objective", self, freeze_updates=0)

    @classmethod
    def computed_fields(cls, num_classes: int) -> dict[str, Any]:
        return {"num_classes": num_classes, "frozen": False}

    @property
    def network(self) -> Wav2Vec2ForClassification:
        return Wav2Vec2ForClassification(self.model, self.num_classes, self.execution)

    def expectations(self) -> Expectations:
        # A confident wrong guess costs many times the median of a trained model's loss.
        return Expectations("loss", 50.0, slow_updates=self.freeze_updates)

    def at(self, step: int) -> Classification:
        return dataclasses.replace(self, frozen=step < self.freeze_updates)

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        draws = masking.draws(self.model)
        self.check(batch, keys, draws=draws, num_classes=self.num_classes)
        mask, channel_mask = masking.training_masks(
            self.model, keys, batch.num_samples, batch.waveforms.shape[1]
        )
        logits = self.network.apply(
            {"params": params},
            batch.waveforms,
            batch.num_samples,
            mask=mask,
            channel_mask=channel_mask,
            keys=keys,
            frozen=self.frozen,
        )
        return self.terms(logits, batch)

    def evaluate(self, params, batch: Batch, keys, step):
        self.check(batch, keys, draws=False, num_classes=self.num_classes)
        logits = self.network.apply({"params": params}, batch.waveforms, batch.num_samples)
        return self.terms(logits, batch), {"guesses": jnp.argmax(logits, -1)}

    def terms(self, logits, batch: Batch) -> Sums:
        """The summed cross-entropy of logits [B, C] over rows with a label, and the accuracy."""
        assert batch.labels is not None and batch.num_labels is not None
        weights = batch.weights * (batch.num_labels > 0)
        label = batch.labels[:, 0]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]
        loss, total = -(chosen * weights).sum(), weights.sum()
        right = ((jnp.argmax(logits, -1) == label) * weights).sum()
        return Sums(loss, total, {"loss": Mean(loss, total), "accuracy": Mean(right, total)})


@dataclasses.dataclass(frozen=True)
class FrameClassification(_Headed):
    """Classes of every frame, for example who speaks when: imported, run and exported."""

    trains: ClassVar[bool] = False
    name: ClassVar[str] = "frames"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "layer_weights", "classifier")

    @property
    def network(self) -> Wav2Vec2ForFrames:
        return Wav2Vec2ForFrames(self.model, self.num_classes, self.execution)


@dataclasses.dataclass(frozen=True)
class XVector(_Headed):
    """Embeddings of speakers: imported, run and exported."""

    trains: ClassVar[bool] = False
    name: ClassVar[str] = "xvector"
    parts: ClassVar[tuple[str, ...]] = (
        "encoder",
        "layer_weights",
        "projector",
        "tdnn",
        "embedding",
        "classifier",
        "speakers",
    )

    def init(self, key):
        samples = (60 + tdnn_loss(self.model)) * self.model.stride
        return self.network.init(key, jnp.zeros((1, samples)), jnp.full((1,), samples))["params"]

    @property
    def network(self) -> Wav2Vec2ForXVector:
        return Wav2Vec2ForXVector(self.model, self.num_classes, self.execution)
