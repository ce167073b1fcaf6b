"""What an objective is: all that the rest of the package asks of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError, check_positive
from w2v2_jax.metrics import Sums
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution

TEACHER = "teacher"  # beside `parts` in what `loss` and `evaluate` take


class Expectations(NamedTuple):
    """What the figures of a healthy run look like, for the rules of `health`.

    loss: the metric that is watched for spikes at every update; it depends on no length.
    loss_spike: how many times the median of the updates before is one.
    slow_updates: first updates that do not count towards the time a run has to get started.
    negatives, codebooks, codes (of all codebooks), masked and span (expected share of masked
    frames and their mean run) are 0 where the objective has none or expects nothing.
    """

    loss: str = "loss"
    loss_spike: float = 8.0
    slow_updates: int = 0
    negatives: int = 0
    codebooks: int = 0
    codes: int = 0
    masked: float = 0.0
    span: float = 0.0


def check_gumbel(objective: Any) -> None:
    """Raises InputError where a Gumbel temperature would not fall to an end above 0."""
    check_positive("objective", objective, "gumbel_start", "gumbel_end", "gumbel_decay")
    if objective.gumbel_decay > 1:
        raise InputError(f"objective.gumbel_decay={objective.gumbel_decay} must be at most 1")


class Objective:
    """A frozen, hashable dataclass: a static argument of the compiled step. Its fields are
    `model`, `execution`, what the configuration's section `objective` sets, and `computed_fields`.

    In `loss` and `evaluate`, `keys` [B] hold one key per global row; `step` is the number of
    updates done; `params` has a teacher, where the objective has one, as `TEACHER`. A new objective
    is a subclass in a file of its own and a row of `OBJECTIVES`.
    """

    # As `config.objective.name` and checkpoints have it.
    name: ClassVar[str]
    # Names at the top of the parameter tree; "encoder" is one.
    parts: ClassVar[tuple[str, ...]]
    # Those of them for which no other framework has a place: an export leaves them out.
    own_parts: ClassVar[tuple[str, ...]] = ()
    # Whether a run can have it: others are of networks that are imported, run and exported.
    trains: ClassVar[bool] = True
    # Whether batches carry labels, and so the corpus has transcripts and the model a vocabulary.
    needs_vocabulary: ClassVar[bool] = False
    # Whether calling the network gives CTC logits [B, T, C] with counts [B]; `evaluate` then has
    # them among its arrays as "logits" and "counts".
    ctc_head: ClassVar[bool] = False
    # Whether a row's label is one class, the whole transcript (`Classes` in place of a
    # vocabulary); `evaluate` then has "guesses" [B] among its arrays.
    class_labels: ClassVar[bool] = False

    model: ModelConfig
    execution: Execution

    @classmethod
    def computed_fields(cls, num_classes: int) -> dict[str, Any]:
        """Values of the fields that no configuration sets; num_classes: of the vocabulary."""
        return {}

    @classmethod
    def required_settings(cls, seconds: float) -> dict[str, Any]:
        """Values of the settings without a default, for microbatches of so much audio."""
        return {}

    @classmethod
    def for_network(
        cls, model: ModelConfig, num_classes: int = 0, execution: Execution = PLAIN
    ) -> Objective:
        """The objective where only its network and parameters matter."""
        values = cls.computed_fields(num_classes) | cls.required_settings(1.0)
        make: Callable[..., Objective] = cls  # a dataclass, as every subclass is
        return make(model, execution=execution, **values)

    @classmethod
    def abstract_batch(cls, rows: int, samples: int) -> Batch:
        """The shapes of a batch as it trains on them, for compiling without data."""
        return Batch(
            jax.ShapeDtypeStruct((rows, samples), np.float32),
            jax.ShapeDtypeStruct((rows,), np.int32),
            jax.ShapeDtypeStruct((rows,), np.float32),
        )

    @property
    def network(self) -> Any:
        """The flax module of a checkpoint: `encode(waveforms, num_samples, hidden_states)` gives
        an `Encoded`; `units` and the call are optional (see `ctc_head`)."""
        raise NotImplementedError

    def init(self, key) -> Any:
        """Parameters, each boxed with its logical axis names."""
        raise NotImplementedError

    def teacher(self, params) -> Any:
        """What is kept beside the parameters, no gradient enters and `follow` moves, as it is at
        the start: parts of a tree of parameters, boxed or not. None where there is no such."""
        return None

    def follow(self, teacher, params, updates) -> Any:
        """The teacher after an update that was taken: params are those it gave, updates [] int32
        counts it and those taken before."""
        raise NotImplementedError

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        """Summed loss, weight and metrics of a training batch."""
        raise NotImplementedError

    def evaluate(self, params, batch: Batch, keys, step) -> tuple[Sums, dict]:
        """The same without dropout, and arrays for host-side scoring, rows first."""
        raise NotImplementedError

    def at(self, step: int) -> Objective:
        """The objective in force at `step` (another static value where its graph differs)."""
        return self

    def row_multiple(self, samples: int) -> int:
        """Rows of `samples` samples of one microbatch on one device must be a multiple of this."""
        return 1

    def expectations(self) -> Expectations:
        """What a healthy run of it looks like."""
        return Expectations()
