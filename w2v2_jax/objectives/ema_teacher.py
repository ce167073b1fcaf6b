"""data2vec: masked frames predict the output of a slowly moving copy of the network.

arXiv 2202.03555, section 3; fairseq `examples/data2vec/models/data2vec_audio.py`, which decides
where the two differ. The teacher's Transformer is an exponential moving average of the network's;
feature encoder, projection and positional convolution are the network's own, and no gradient
enters the targets (fairseq's ema_transformer_only and ema_layers_only).

loss = sum over masked frames of |prediction - target|^2 / sqrt(D), divided by the global number of
masked frames. The copy gets the whole, unmasked input. The decay changes linearly from `decay` at
update 0 to `end_decay` at update `anneal_updates`, and is constant afterwards. A skipped update
changes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.models import masking
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.teacher import Wav2Vec2ForRegression, layer_targets, over_time
from w2v2_jax.models.wav2vec2 import take_frames
from w2v2_jax.objectives.base import TEACHER, Expectations
from w2v2_jax.objectives.masked_frames import MaskedFrames, expected_share, mask_sums

AVERAGED = ("layers", "norm")  # of the Transformer; its positional convolution is shared
TOP_LAYERS = 8


@dataclasses.dataclass(frozen=True)
class EMATeacher(MaskedFrames):
    """The constants are those of the published configuration for BASE.

    top_layers: number of blocks whose outputs are averaged to targets, counted from the last.
    decay: share of its old weights that the teacher keeps at an update, at the start of the run.
    end_decay: the same share after `anneal_updates` updates.
    anneal_updates: number of updates from the one to the other.
    normalise_mean: whether the mean over layers is normalised over time again, as each layer is
        (fairseq's instance_norm_targets).
    """

    name: ClassVar[str] = "ema_teacher"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "regression_head")
    own_parts: ClassVar[tuple[str, ...]] = ("regression_head",)

    model: ModelConfig
    top_layers: int = TOP_LAYERS
    decay: float = 0.999
    end_decay: float = 0.9999
    anneal_updates: int = 30_000
    normalise_mean: bool = False
    execution: Execution = PLAIN

    def __post_init__(self):
        if not 1 <= self.top_layers <= self.model.num_layers:
            raise InputError(
                f"objective.top_layers={self.top_layers} must be 1 to {self.model.num_layers}, "
                "the network's blocks"
            )
        if not 0 <= self.decay <= self.end_decay <= 1:
            raise InputError(
                f"objective.decay={self.decay} and objective.end_decay={self.end_decay} must be "
                "in [0, 1], the second not below the first"
            )
        if self.decay == 1:
            raise InputError(
                "objective.decay=1: the teacher would never follow the network; use less, such as "
                "0.999"
            )
        check_least("objective", self, anneal_updates=1)
        if self.model.quantize_input:
            raise InputError(
                "config.objective.name='ema_teacher' has no noise for model.quantize_input=True"
            )

    @classmethod
    def for_network(
        cls, model: ModelConfig, num_classes: int = 0, execution: Execution = PLAIN
    ) -> EMATeacher:
        top_layers = min(TOP_LAYERS, model.num_layers)
        return cls(model, top_layers=top_layers, execution=execution)

    @property
    def network(self) -> Wav2Vec2ForRegression:
        return Wav2Vec2ForRegression(self.model, self.execution)

    def teacher(self, params) -> Any:
        transformer = params["encoder"]["transformer"]
        return {name: transformer[name] for name in AVERAGED}

    def follow(self, teacher, params, updates) -> Any:
        # The share of the new value, 1e-4, is computed directly: 1 - .9999 in float32 would lose
        # three digits.
        share = self.new_share(updates)
        new = self.teacher(params)
        return jax.tree.map(lambda old, new: old + share * (new - old), teacher, new)

    def new_share(self, updates) -> jax.Array:
        """1 - the decay after so many updates, float32."""
        progress = jnp.minimum(updates / self.anneal_updates, 1.0).astype(jnp.float32)
        return (1 - self.decay) * (1 - progress) + (1 - self.end_decay) * progress

    def expectations(self) -> Expectations:
        masked, span = expected_share(self.model)
        return Expectations(masked=masked, span=span)

    def targets(self, params, inputs, real) -> jax.Array:
        """inputs [B, T, D], real [B, T] -> the teacher's targets [B, T, D], float32."""
        if TEACHER not in params:
            raise InputError(
                "params have no teacher: give TrainState.weights, or "
                "w2v2_jax.train_step.with_teacher(params, objective.teacher(params))"
            )
        shared = params["encoder"]["transformer"]
        whole = {**params[TEACHER], "position": shared["position"]}
        whole, inputs = jax.lax.stop_gradient((whole, inputs))
        averaged = layer_targets(
            whole, inputs, real, top=self.top_layers, config=self.model, execution=self.execution
        )
        return over_time(averaged, real) if self.normalise_mean else averaged

    def terms(self, params, batch: Batch, mask, slots: masking.Slots, keys) -> Sums:
        """The loss and metrics for a given mask; keys None switches dropout off."""
        own = {name: params[name] for name in self.parts}
        regression = self.network.apply(
            {"params": own}, batch.waveforms, batch.num_samples, mask=mask, slots=slots, keys=keys
        )
        targets = self.targets(params, regression.inputs, regression.real)
        targets = take_frames(targets, slots.frames)  # [B, M, D]
        predictions = regression.predictions.astype(jnp.float32)
        errors = jnp.square(predictions - targets).sum(-1) / math.sqrt(self.model.d_model)
        valid = slots.valid * batch.weights[:, None]  # [B, M] float32
        loss, total = (errors * valid).sum(), valid.sum()
        return Sums(
            loss,
            total,
            {
                "loss": Mean(loss, total),
                "target_deviation": deviation(targets, slots.valid, batch.weights),
                "prediction_deviation": deviation(predictions, slots.valid, batch.weights),
                **mask_sums(self.model, mask, batch).metrics(),
            },
        )


def deviation(x: jax.Array, valid: jax.Array, weights: jax.Array) -> Mean:
    """How much x [B, M, D] varies within a row: the standard deviation of a channel over the row's
    valid slots, averaged over channels and rows with at least two slots.

    fairseq's `compute_var` is over all rows at once. That is not a sum over microbatches, and it
    counts differences between rows as variation.
    """
    count = valid.sum(1)[:, None, None]  # [B, 1, 1]
    there = valid[..., None]
    centred = jnp.where(there, x - (x * there).sum(1, keepdims=True) / jnp.maximum(count, 1), 0)
    variance = jnp.square(centred).sum(1) / jnp.maximum(count[:, 0] - 1, 1)  # [B, D]
    rows = weights * (count[:, 0, 0] > 1)
    return Mean((jnp.sqrt(variance + 1e-6).mean(-1) * rows).sum(), rows.sum())
