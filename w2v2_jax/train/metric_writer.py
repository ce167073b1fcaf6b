"""The output of a run: a console line with speed and time left, metrics.jsonl, and TensorBoard."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

from w2v2_jax.errors import counted
from w2v2_jax.evaluation.rates import rates_shown
from w2v2_jax.health.monitor import Alarm
from w2v2_jax.paths import AnyPath, is_remote, json_text, write_text

METRICS = "metrics.jsonl"
PUBLISH_SECONDS = 60
SHOWN = (
    "loss",
    "contrastive_accuracy",
    "code_perplexity",
    "prob_perplexity",
    "cer",
    "wer",
    "per",
    "gradient_norm",
    "learning_rate",
)


def keep_until(path: Path, step: int) -> None:
    """Drops the records after `step` from a metrics file, because the resumed run writes them
    again. Records of rollbacks stay, because these are not repeated. If lines cannot be read, other
    than a last one that a kill cut short, the file is kept beside the new one."""
    if not path.exists():
        return
    content = path.read_bytes()
    lines, unread = [], 0
    for line in content.decode("utf-8-sig", "replace").split("\n"):
        try:
            record = json.loads(line)
            if record["step"] <= step or record.get("action") == "rollback":
                lines.append(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            unread += bool(line.strip("\r\0 "))
    if unread > (not content.endswith(b"\n")):
        kept = path.with_name(f"{path.name}.damaged")
        kept.write_bytes(content)
        print(
            f"warning: {counted(unread, 'line')} of {path} cannot be read and are left out; the "
            f"file as it was is {kept.name}",
            file=sys.stderr,
        )
    write_text(path, "".join(line + "\n" for line in lines))


def _new_file(folder: Path, name: str) -> BinaryIO:
    """Opens a new file: in containers process numbers repeat, and clocks may go back."""
    for number in itertools.count(os.getpid()):
        with contextlib.suppress(FileExistsError):
            return (folder / f"{name}.{number}").open("xb")
    raise AssertionError("numbers do not end")


def duration(seconds: float) -> str:
    """1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Local:
    """The workdir itself, if it is a folder."""

    def __init__(self, workdir: Path):
        self.folder = workdir

    def publish(self, *, now: bool = False) -> None:
        """Nothing to do: flushed data is already in the file."""

    def close(self) -> None:
        """Nothing to do."""


class _Mirror:
    """A local folder whose files are copied to an object store, which cannot append."""

    def __init__(self, workdir: AnyPath):
        self._workdir, self._last = workdir, time.monotonic()
        self._temporary = tempfile.TemporaryDirectory(prefix="w2v2-log-")
        self.folder = Path(self._temporary.name)
        if (workdir / METRICS).exists():
            (self.folder / METRICS).write_bytes((workdir / METRICS).read_bytes())

    def publish(self, *, now: bool = False) -> None:
        """Copies the files up, at most every PUBLISH_SECONDS unless `now`."""
        if not now and time.monotonic() - self._last < PUBLISH_SECONDS:
            return
        self._last = time.monotonic()
        for path in self.folder.rglob("*"):
            if path.is_file():
                target = self._workdir / path.relative_to(self.folder).as_posix()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())

    def close(self) -> None:
        self.publish(now=True)
        self._temporary.cleanup()


class MetricWriter:
    """Writes one object per logged step. A context manager; only one process should open it.

    clock: the seconds by which the time left is estimated; a run's leaves compilations out.
    """

    def __init__(
        self,
        workdir: AnyPath,
        *,
        first_step: int,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ):
        # Only the record writer: tensorboard's own file writer would load TensorFlow.
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._place = _Mirror(workdir) if is_remote(workdir) else _Local(workdir)
        self.path = self._place.folder / METRICS
        keep_until(self.path, first_step)
        self._file = self.path.open("a", encoding="utf-8")
        folder = self._place.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        self._events = RecordWriter(_new_file(folder, f"events.out.tfevents.{int(time.time())}"))
        self._total, self._stream = total, stream or sys.stderr
        self._clock = clock
        self._start = (clock(), first_step)

    def write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Appends a record and prints a line. Metrics are plain floats; those that are not finite
        become null in the file."""
        self._file.write(json_text({"step": step, "split": split, **metrics}) + "\n")
        self._file.flush()
        self._tensorboard(step, split, metrics)
        figures = "  ".join(f"{name} {metrics[name]:.4g}" for name in rates_shown(metrics, SHOWN))
        rate = metrics.get("audio_seconds_per_second")
        speed = f"  {rate:.1f} audio-s/s" if rate else ""
        left = f"  {duration(self._left(step))} left" if split == "train" else ""
        line = f"{split:5} {step}/{self._total}  {figures}{speed}{left}"
        print(line, file=self._stream, flush=True)
        self._place.publish(now=split == "valid")

    def alarm(self, alarm: Alarm) -> None:
        """Appends a record with split "health" and shows the alarm's line."""
        record = {"step": alarm.step, "split": "health", **alarm._asdict()}
        self._file.write(json_text(record) + "\n")
        self._file.flush()
        self._tensorboard(alarm.step, "health", {alarm.rule: 1.0})
        print(alarm.line(), file=self._stream, flush=True)
        self._place.publish(now=alarm.action != "warn")

    def _left(self, step: int) -> float:
        start, first = self._start
        done = max(step - first, 1)
        return (self._clock() - start) / done * (self._total - step)

    def _tensorboard(self, step: int, split: str, metrics: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=f"{split}/{k}", simple_value=v) for k, v in metrics.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._events.write(event.SerializeToString())
        self._events.flush()

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._events.close()
        self._place.close()
