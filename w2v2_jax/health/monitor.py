"""Applies the rules after every update and every logged record, and decides how to respond.

Decisions depend only on global metrics, so that all hosts decide alike.
"""

from __future__ import annotations

import collections
import math
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.health.config import OFF, ROLLBACK, STOP, WARN, HealthConfig, RunFacts
from w2v2_jax.health.rules import RULES, Rule, RuleInput

PAGE = "docs/symptoms.md"
UPDATES, RECORDS = 1000, 50  # remembered
STEP_VALUES = ("loss", "gradient_norm", "non_finite", "damaged")


class Alarm(NamedTuple):
    """A rule that fired at an update; action: "warn", "stop" or "rollback"."""

    rule: str
    step: int
    message: str
    action: str

    def line(self) -> str:
        """The line to print."""
        return f"health: step {self.step}: {self.message} [{self.action}; {PAGE}#{self.rule}]"


class HealthError(InputError):
    """A health rule ended the run."""


class StepFlags(NamedTuple):
    """The metrics of an update that the rules check every time; sums with weights."""

    loss: tuple
    gradient_norm: tuple
    non_finite: tuple
    empty_rows: tuple


def flags_of(metrics: dict, loss: str) -> StepFlags:
    """The few scalars of a step's metrics (still on the device) that are fetched every time; loss:
    the name of the loss that the run's objective wants to be checked."""
    names = (loss, "gradient_norm", "non_finite", "empty_rows")
    return StepFlags(*(tuple(metrics[name]) for name in names))


def check_names(config: HealthConfig) -> None:
    """Raises InputError for a name that is no rule, or an action that a rule cannot take."""
    known = {rule.name: rule for rule in RULES}
    for section in (STOP, ROLLBACK, OFF):
        for name in getattr(config, section):
            if name not in known:
                raise InputError(
                    f"health.{section}: {name!r} is no rule; known: {', '.join(known)}"
                )
    for name in (*config.stop, *config.rollback):
        if known[name].local:
            raise InputError(f"health: {name} differs from host to host, so it can only warn")
    for name in config.rollback:
        if not known[name].cure:
            able = ", ".join(rule.name for rule in RULES if rule.cure)
            raise InputError(
                f"health.rollback: leaving batches out does not help with {name}; use stop, or "
                f"rollback for {able}"
            )


class Monitor:
    """Keeps what the rules need from the run of one process, and when each rule gave a warning."""

    def __init__(self, config: HealthConfig, run: RunFacts):
        self._config, self._run = config, run
        self._logged: collections.deque = collections.deque(maxlen=RECORDS)
        self._steps = {name: _Recent() for name in STEP_VALUES}
        self._spoke: dict[str, int] = {}
        self._rollbacks = 0

    def flags(self, metrics: dict) -> StepFlags:
        """What `saw_step` needs from an update's metrics."""
        return flags_of(metrics, self._run.expected.loss)

    def saw_step(self, step: int, flags: StepFlags, *, left_out: bool = False) -> list[Alarm]:
        """Alarms of an update. left_out: the weight of its batch was set to 0 on purpose."""
        if left_out:
            return []
        for name, part in zip(STEP_VALUES, flags, strict=True):
            self._steps[name].append(_value(part))
        alarms = self._ask(step, every_step=True)
        return alarms + self._over_limit(step)

    def saw_record(self, step: int, metrics: dict[str, float]) -> list[Alarm]:
        """Alarms of a logged record of training."""
        self._logged.append({"step": step, **metrics})
        return self._ask(step, every_step=False)

    def went_back(self, alarm: Alarm) -> None:
        """Counts a rollback; raises HealthError if there were too many."""
        self._rollbacks += 1
        self._logged.clear()
        if self._rollbacks > self._config.rollback_limit:
            raise HealthError(
                f"{alarm.line()}; stopped: this is rollback {self._rollbacks}, "
                f"health.rollback_limit={self._config.rollback_limit}"
            )

    def _rule_input(self) -> RuleInput:
        arrays = {name: recent.values for name, recent in self._steps.items()}
        return RuleInput(self._logged, arrays, self._run, self._config)

    def _ask(self, step: int, *, every_step: bool) -> list[Alarm]:
        seen, alarms = self._rule_input(), []
        for rule in RULES:
            if rule.every_step != every_step or self._silent(rule, step):
                continue
            message = rule.check(seen)
            if message:
                self._spoke[rule.name] = step
                alarms.append(Alarm(rule.name, step, message, self._config.action(rule.name)))
        return alarms

    def _silent(self, rule: Rule, step: int) -> bool:
        action = self._config.action(rule.name)
        if action != WARN:
            return action == OFF
        spoke = self._spoke.get(rule.name)
        return spoke is not None and 0 <= step - spoke < self._config.cooldown

    def _over_limit(self, step: int) -> list[Alarm]:
        """Ends the run if too much was left out."""
        bad = self._steps["non_finite"].values.sum()
        if bad > self._config.non_finite_limit:
            limit = f"health.non_finite_limit={self._config.non_finite_limit}"
            return [Alarm("non-finite", step, f"{bad:.0f} updates skipped, {limit}", STOP)]
        rows = self._steps["damaged"].values
        # In a short run, a few rows are too few for a share.
        if rows.sum() > max(1.0, self._config.damaged_limit * len(rows)):
            limit = f"health.damaged_limit={self._config.damaged_limit}"
            share = rows.mean()
            return [
                Alarm("damaged-audio", step, f"{share:.1%} of the rows left out, {limit}", STOP)
            ]
        return []


class _Recent:
    """The last UPDATES floats as one view, without copying them at every update."""

    def __init__(self):
        self._buffer, self._end = np.zeros(4 * UPDATES), 0

    def append(self, value: float) -> None:
        if self._end == len(self._buffer):
            self._buffer[:UPDATES] = self._buffer[-UPDATES:]
            self._end = UPDATES
        self._buffer[self._end] = value
        self._end += 1

    @property
    def values(self) -> np.ndarray:
        return self._buffer[max(0, self._end - UPDATES) : self._end]


def _value(part: tuple) -> float:
    total, weight = float(part[0]), float(part[1])
    return total / weight if weight > 0 else math.nan
