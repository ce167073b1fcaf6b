"""What the train step asks of an objective."""

from __future__ import annotations

from typing import Any, Protocol

from w2v2_jax.batch import Batch
from w2v2_jax.metrics import Sums


class Objective(Protocol):
    """A frozen, hashable value (a static argument of the compiled step).

    `keys` [B] hold one key per global row; `step` is the number of updates done.
    """

    def init(self, key) -> Any:
        """Parameters, each boxed with its logical axis names."""

    def loss(self, params, batch: Batch, keys, step) -> Sums:
        """Summed loss, weight and metrics of a training batch."""

    def evaluate(self, params, batch: Batch, keys, step) -> tuple[Sums, dict]:
        """The same without dropout, and arrays for host-side scoring, rows first."""

    def at(self, step: int) -> Objective:
        """The objective in force at `step` (another static value where its graph differs)."""

    def row_multiple(self, samples: int) -> int:
        """Rows of `samples` samples of one microbatch on one device must be a multiple of this."""
