"""The training loop: dispatch step k, then log step k-1; validate, save, resume, stop cleanly."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

from w2v2_jax import checkpoint, hosts, partition
from w2v2_jax.batch import Batch
from w2v2_jax.checkpoint import Description
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import Experiment, TrainConfig
from w2v2_jax.logbook import Logbook
from w2v2_jax.metrics import compute
from w2v2_jax.paths import AnyPath, is_remote
from w2v2_jax.train_step import TrainState
from w2v2_jax.validation import validate

SAMPLE_RATE = 16000
VISIBLE_SECONDS = 60  # a network file system may show another host's file this late


class Outcome(NamedTuple):
    """How a run ended: the state, and whether a signal stopped it before its last step."""

    state: TrainState
    stopped: bool


@contextlib.contextmanager
def lock(workdir: AnyPath):
    """Holds the workdir for this run; a second run in it is an InputError.

    The chief holds it for all hosts. An object store knows no locks: there nothing is held.
    """
    with contextlib.ExitStack() as held:
        if not is_remote(workdir):
            hosts.by_chief(lambda: _acquire(workdir, held))
        yield


def _acquire(workdir: AnyPath, held: contextlib.ExitStack) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = held.enter_context((workdir / ".lock").open("w"))
    except OSError as error:
        raise InputError(f"--workdir {workdir}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"--workdir {workdir} is in use by another run") from None


def save_config(workdir: AnyPath, config: dict) -> None:
    """Writes the resolved configuration; a resumed run's must be the same but for its length.

    Raises InputError on every host where the workdir is not one that all of them see.
    """
    path = workdir / "config.json"
    text = json.dumps(config, indent=1, sort_keys=True, default=list) + "\n"

    def write():
        if path.exists():
            _check_same(json.loads(path.read_text("utf-8")), json.loads(text), workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    hosts.by_chief(write)
    if not hosts.within(VISIBLE_SECONDS, lambda: path.exists() and path.read_text("utf-8") == text):
        raise InputError(
            f"--workdir {workdir} is not the same folder on all hosts; use a shared file system "
            "or an object store (gs://..., s3://...)"
        )


def _check_same(old: dict, new: dict, workdir: AnyPath) -> None:
    """Data order, network and objective must not change under a run; rhythm and mesh may."""
    for section in ("seed", "model", "objective", "vocabulary", "optimizer"):
        if old.get(section) != new.get(section):
            raise InputError(
                f"--workdir {workdir} was started with another config.{section}: "
                f"{old.get(section)} there, {new.get(section)} now; use a new --workdir"
            )
    for key in ("train", "mode", "bucket_seconds", "batch_seconds", "row_multiple", "min_seconds"):
        if old["data"].get(key) != new["data"].get(key):
            raise InputError(
                f"--workdir {workdir} was started with config.data.{key}={old['data'].get(key)}, "
                f"now {new['data'].get(key)}; use a new --workdir"
            )


def _due(step: int, every: int, last: bool) -> bool:
    return last or (every > 0 and step % every == 0)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    while True:
        start = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.monotonic() - start


class _Window:
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


class _Pending(NamedTuple):
    """A dispatched step whose metrics are still on the device."""

    step: int
    metrics: dict
    host: dict[str, float]


def _logbook(workdir: AnyPath, **options):
    """The run's logbook on the chief; None on the other hosts."""
    return Logbook(workdir, **options) if hosts.is_chief() else contextlib.nullcontext()


def _log(logbook: Logbook | None, pending: _Pending | None) -> None:
    if pending is not None and logbook is not None:
        logbook.write(pending.step, "train", {**compute(pending.metrics), **pending.host})


def _rank(results: dict[str, float], config: TrainConfig) -> float:
    """The validation figure that decides which checkpoint is best, lower is better."""
    if config.best_metric not in results:
        raise InputError(
            f"config.train.best_metric={config.best_metric!r} is not a validation metric; "
            f"known: {', '.join(results)}"
        )
    return results[config.best_metric] * (1 if config.best_mode == "min" else -1)


def run(
    experiment: Experiment, train: Feed, valid: Feed | None, workdir: AnyPath, *,
    description: Description, start: TrainState,
) -> Outcome:  # fmt: skip
    """Trains from `start`, or from the newest checkpoint in `workdir`, to the last step."""
    config = experiment.settings.train
    if valid is not None:
        experiment.check_shapes(valid.plan.shapes, 1, "validation")
    keep = {"keep_last": config.keep_last, "keep_best": config.keep_best}
    with checkpoint.manager(workdir, **keep) as checkpoints, hosts.Preemption() as preemption:
        state = checkpoint.restore(checkpoints, experiment.abstract_state) or start
        first = int(state.step)
        if first:
            hosts.say(f"resuming {workdir} at step {first}")
        if first >= config.steps:
            return Outcome(state, False)
        # JAX stops all hosts at the call after the last one it saw: a notice that comes while the
        # first step compiles has to find this one, or its step is never met.
        preemption.reached(first)
        mine = partition.host_rows(experiment.mesh)
        batches = train.batches(first, config.steps - first, **mine._asdict())
        with (
            contextlib.closing(batches),
            _logbook(workdir, first_step=first, total=config.steps) as logbook,
        ):
            pending: _Pending | None = None
            before: dict = {}
            since = _Window()
            for step, (local, waited) in enumerate(_timed(batches), first + 1):
                batch = partition.global_batch(local, experiment.mesh)
                function = experiment.step_function(experiment.objective.at(step - 1), batch)
                state, metrics = function(state, batch)
                jax.block_until_ready(before)  # never more than one step ahead of the device
                before = metrics
                _log(logbook, pending)  # step k-1, while step k runs
                pending = None
                stop = preemption.reached(step)
                last = step == config.steps or stop
                since.add(batch.waveforms.size / SAMPLE_RATE, waited)
                if last or step % config.log_every == 0:
                    host = {
                        "learning_rate": float(experiment.schedule(step - 1)),
                        **since.rates(),
                        "epoch": train.plan.epoch(step - 1),
                        "compilations": len(experiment.compiled),
                    }
                    pending = _Pending(step, metrics, host)
                    since = _Window()
                rank = None
                if valid is not None and _due(step, config.eval_every, step == config.steps):
                    _log(logbook, pending)
                    pending = None
                    results = validate(
                        experiment.eval_function, valid, state.params, state.step, experiment.mesh
                    )
                    if logbook is not None:
                        logbook.write(step, "valid", results)
                    rank = _rank(results, config)
                    since = _Window()
                if rank is not None or _due(step, config.checkpoint_every, last):
                    checkpoint.save(checkpoints, state, description, rank)
                if stop:
                    break
            _log(logbook, pending)
        checkpoints.wait_until_finished()
    return Outcome(state, int(state.step) < config.steps)
