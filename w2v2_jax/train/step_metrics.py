"""Fetches metrics one step late, writes them, and passes them to the health rules."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from w2v2_jax.data.damage import Damage
from w2v2_jax.health.bad_batches import BadBatches, note_damage
from w2v2_jax.health.config import ROLLBACK, STOP
from w2v2_jax.health.monitor import Alarm, HealthError, Monitor
from w2v2_jax.metrics import Mean, compute, merge
from w2v2_jax.train.metric_writer import MetricWriter

SPIKES = ("loss-spike", "gradient-spike")  # alarms of one batch


class ThroughputWindow:
    """The audio that was trained on, and the seconds of waiting for data, since the last log.

    A step is dispatched while the one before still runs, so only a window of them can be timed.
    clock: in seconds; a run's leaves compilations out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began, self._audio, self._waited = clock(), 0.0, 0.0

    def add(self, audio: float, waited: float) -> None:
        self._audio += audio
        self._waited += waited

    def rates(self) -> dict[str, float]:
        elapsed = max(self._clock() - self._began, 1e-9)
        return {
            "audio_seconds_per_second": self._audio / elapsed,
            "data_wait": self._waited / elapsed,
        }


class Dispatched(NamedTuple):
    """A step whose metrics may still be on the device. fillers: rows without weight by the plan;
    host: what to log with the metrics, or None; rate: the learning rate of the step, if it is
    logged."""

    step: int
    metrics: dict
    fillers: int
    host: dict[str, float] | None = None
    rate: jax.Array | None = None


# These count every update. The others only count updates that were not skipped: a loss that is not
# finite has no mean, and a batch that is left out has no gradient.
OF_SCALE = ("loss_scale", "loss_scale_overflow")
OF_EVERY_UPDATE = ("skipped", "non_finite", "empty_rows", "weight", *OF_SCALE)


def add_update(total: dict[str, Mean], metrics: dict[str, Mean]) -> dict[str, Mean]:
    """The sums of several updates with one more, on the host in float64."""
    taken = metrics["skipped"].total == 0
    added = dict(total)
    for name, mean in metrics.items():
        if taken or name in OF_EVERY_UPDATE:
            before = total.get(name, Mean(0.0, 0.0))
            added[name] = merge(before, Mean(float(mean.total), float(mean.weight)))
    return added


class StepObserver:
    """Checks every update and writes the logged ones; writer is None except on process 0.

    All hosts apply the same rules to the same global numbers, so all of them decide alike.
    """

    def __init__(
        self,
        monitor: Monitor,
        bad_batches: BadBatches,
        writer: MetricWriter | None,
        damages: list[Damage],
    ):
        self._monitor, self._bad_batches, self._writer = monitor, bad_batches, writer
        self._damages = damages
        self._sums: dict[str, Mean] = {}  # of the updates since the last logged one

    def observe(self, done: Dispatched | None) -> Alarm | None:
        """Waits for an update and checks it; returns the alarm that asks for a rollback, if any.

        Raises HealthError if a rule ends the run.
        """
        if done is None:
            return None
        # One fetch of small, finished values; meanwhile the device computes the next update.
        metrics, rate = jax.device_get((done.metrics, done.rate))
        self._sums = add_update(self._sums, metrics)
        flags = self._monitor.flags(metrics)
        empty, rows = flags.empty_rows
        flags = flags._replace(empty_rows=(empty - done.fillers, rows))  # what is left is damaged
        left_out = done.step in self._bad_batches.left_out
        alarms = self._monitor.saw_step(done.step, flags, left_out=left_out)
        if done.host is not None:
            record = {**compute(self._sums), "learning_rate": float(rate), **done.host}
            self._sums = {}
            if self._writer is not None:
                self._writer.write(done.step, "train", record)
            alarms += self._monitor.saw_record(done.step, record)
        self._tell_damage()
        if flags.non_finite[0] > 0:  # every one, also while the rule is silent
            self._bad_batches.note(done.step, "non-finite", "update skipped", left_out=False)
        for alarm in alarms:
            if alarm.rule in SPIKES:
                self._bad_batches.note(alarm.step, alarm.rule, alarm.message, left_out=False)
            if self._writer is not None:
                self._writer.alarm(alarm)
        for alarm in alarms:
            if alarm.action == STOP:
                raise HealthError(f"stopped by health rule {alarm.line()}")
        return next((alarm for alarm in alarms if alarm.action == ROLLBACK), None)

    def _tell_damage(self) -> None:
        """Every host reports damage on its own disk, because no other host may have seen it."""
        damaged = [broken for damage in self._damages for broken in damage.news()]
        if damaged:
            path = note_damage(self._bad_batches.path.parent, jax.process_index(), damaged)
            shown = ", ".join(f"{name} ({reason})" for name, reason in damaged[:3])
            print(f"warning: damaged audio, left out: {shown}; all in {path}", file=sys.stderr)
