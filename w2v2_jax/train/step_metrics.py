"""What becomes of metrics: fetched a step late, written down, shown to the health rules."""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import jax

from w2v2_jax.data.damage import Damage
from w2v2_jax.health.bad_batches import BadBatches, note_damage
from w2v2_jax.health.config import ROLLBACK, STOP
from w2v2_jax.health.monitor import Alarm, HealthError, Monitor
from w2v2_jax.metrics import compute
from w2v2_jax.train.metric_writer import MetricWriter

SPIKES = ("loss-spike", "gradient-spike")  # alarms of one batch


class ThroughputWindow:
    """Audio trained on and seconds waited for data since the last logged step.

    A step is dispatched while the one before still runs, so only a window of them can be timed.
    """

    def __init__(self):
        self._began, self._audio, self._waited = time.monotonic(), 0.0, 0.0

    def add(self, audio: float, waited: float) -> None:
        self._audio += audio
        self._waited += waited

    def rates(self) -> dict[str, float]:
        elapsed = max(time.monotonic() - self._began, 1e-9)
        return {
            "audio_seconds_per_second": self._audio / elapsed,
            "data_wait": self._waited / elapsed,
        }


class Dispatched(NamedTuple):
    """A step whose metrics may still be on the device; fillers: its rows that have no weight by the
    plan; host: what to log with the metrics, or None."""

    step: int
    metrics: dict
    fillers: int
    host: dict[str, float] | None = None


class StepObserver:
    """Looks at every update and writes the logged ones; writer is None but on the chief.

    All hosts ask the same rules of the same global numbers, so all of them take the same turn.
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

    def observe(self, done: Dispatched | None) -> Alarm | None:
        """Waits for an update and judges it; the alarm that asks to go back, if there is one.

        Raises HealthError where a rule ends the run.
        """
        if done is None:
            return None
        flags = jax.device_get(self._monitor.flags(done.metrics))
        empty, rows = flags.empty_rows
        flags = flags._replace(empty_rows=(empty - done.fillers, rows))  # what is left is damaged
        left_out = done.step in self._bad_batches.left_out
        alarms = self._monitor.saw_step(done.step, flags, left_out=left_out)
        if done.host is not None:
            record = {**compute(done.metrics), **done.host}
            if self._writer is not None:
                self._writer.write(done.step, "train", record)
            alarms += self._monitor.saw_record(done.step, record)
        self._tell_damage()
        if flags.non_finite[0] > 0:  # every one, also while the rule keeps silent
            self._bad_batches.note(done.step, "non-finite", "update not taken", left_out=False)
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
        """Every host speaks of its own disk: no other may have seen it."""
        found = [broken for damage in self._damages for broken in damage.news()]
        if found:
            path = note_damage(self._bad_batches.path.parent, jax.process_index(), found)
            shown = ", ".join(f"{name} ({reason})" for name, reason in found[:3])
            print(f"warning: damaged audio, left out: {shown}; all in {path}", file=sys.stderr)
