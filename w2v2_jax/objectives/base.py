"""The interface of an objective: everything that the rest of the package needs from one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_positive
from w2v2_jax.metrics import Sums
from w2v2_jax.models.call_checks import check_batch, check_values
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution

TEACHER = "teacher"  # beside `parts` in what `loss` and `evaluate` take


class Expectations(NamedTuple):
    """The metrics of a healthy run, for the rules of `health`.

    loss: the metric that is checked for spikes at every update; it must not depend on lengths.
    loss_spike: a spike is this many times the median of the updates before.
    slow_updates: first updates that do not count towards the time that a run has to get started.
    negatives, codebooks, codes (of all codebooks), masked and span (expected share of masked frames
    and the mean length of their runs) are 0 if the objective has none or expects no value.
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
    start, end = objective.gumbel_start, objective.gumbel_end
    if start < end:  # it would be the end from the first update on
        raise InputError(f"objective.gumbel_start={start} must be at least gumbel_end={end}")


class Objective:
    """A frozen, hashable dataclass: a static argument of the compiled step. Its fields are
    `model`, `execution`, the settings of the configuration's section `objective`, and
    `computed_fields`.

    In `loss` and `evaluate`, `keys` [B] hold one key per global row, `step` is the number of
    finished updates, and `params` has the teacher, if there is one, as `TEACHER`. A new objective
    is a subclass in a separate file and a row of `OBJECTIVES`.
    """

    # As `config.objective.name` and checkpoints have it.
    name: ClassVar[str]
    # Names at the top of the parameter tree; "encoder" is one.
    parts: ClassVar[tuple[str, ...]]
    # Those of them that no other framework can store: an export leaves them out.
    own_parts: ClassVar[tuple[str, ...]] = ()
    # Whether a run can train it: others are for networks that are only imported, run and exported.
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
        """Values of the fields that no configuration sets; num_classes: that of the vocabulary."""
        return {}

    @classmethod
    def required_settings(cls, seconds: float) -> dict[str, Any]:
        """Values of the settings without a default, for microbatches with this much audio."""
        return {}

    @classmethod
    def for_network(
        cls, model: ModelConfig, num_classes: int = 0, execution: Execution = PLAIN
    ) -> Objective:
        """The objective for uses in which only its network and parameters matter."""
        values = cls.computed_fields(num_classes) | cls.required_settings(1.0)
        make: Callable[..., Objective] = cls  # a dataclass, as every subclass is
        return make(model, execution=execution, **values)

    @classmethod
    def abstract_batch(cls, rows: int, samples: int) -> Batch:
        """The shapes of a training batch, for compiling without data."""
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
        """The initial teacher: parts of a parameter tree, boxed or not, that are kept beside the
        parameters, get no gradient, and are updated by `follow`. None if there is no teacher."""
        return None

    def follow(self, teacher, params, updates) -> Any:
        """The teacher after an update that was not skipped. params: after that update; updates []
        int32: the number of such updates, including this one."""
        raise NotImplementedError

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        """Summed loss, weight and metrics of a training batch. The mean loss is loss / weight; a
        batch in which nothing counts has weight 0. Raises InputError for arrays that do not fit
        each other; for values that do not (labels are 1 to C - 1, or 0 to C - 1 of a
        classifier, and num_samples at most S) only outside of jit, where they are known."""
        raise NotImplementedError

    def evaluate(self, params, batch: Batch, keys, step) -> tuple[Sums, dict]:
        """The same without dropout, and arrays for host-side scoring, rows first."""
        raise NotImplementedError

    def check(self, batch: Batch, keys, *, draws: bool = True, num_classes: int = 0) -> None:
        """InputError if the arrays of a batch do not fit each other or this objective.

        draws: whether anything is drawn from the keys, so that there must be some. num_classes: of
        the head that the labels are for."""
        if draws and keys is None:
            raise InputError(
                f"objective {self.name} draws from keys [B]; give one for each row, as "
                "jax.random.split(key, B)"
            )
        layers, labels = self.model.conv_layers, self.needs_vocabulary
        check_batch(batch, keys, labels=labels, conv_layers=layers)
        check_values(batch, first_class=int(self.ctc_head), num_classes=num_classes)

    def at(self, step: int) -> Objective:
        """The objective that applies at `step` (another static value if its graph differs)."""
        return self

    def row_multiple(self, samples: int) -> int:
        """The rows of `samples` samples in a device's microbatch must be a multiple of this."""
        return 1

    def expectations(self) -> Expectations:
        """The metrics of a healthy run with this objective."""
        return Expectations()
