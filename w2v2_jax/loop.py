"""The training loop: dispatch step k, then log step k-1; validate, save, resume, stop cleanly."""

from __future__ import annotations

import fcntl
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from w2v2_jax import checkpoint, partition
from w2v2_jax.batch import Batch
from w2v2_jax.checkpoint import Description
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import Experiment
from w2v2_jax.logbook import Logbook
from w2v2_jax.metrics import compute
from w2v2_jax.train_step import TrainState
from w2v2_jax.validation import validate

SAMPLE_RATE = 16000


class Outcome(NamedTuple):
    """How a run ended: the state, and whether a signal stopped it before its last step."""

    state: TrainState
    stopped: bool


def lock(workdir: Path):
    """Holds the workdir for this run; a second run in it is an InputError."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = (workdir / ".lock").open("w")
    except OSError as error:
        raise InputError(f"--workdir {workdir}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"--workdir {workdir} is in use by another run") from None
    return handle


def save_config(workdir: Path, config: dict) -> None:
    """Writes the resolved configuration; a resumed run's must be the same but for its length."""
    path = workdir / "config.json"
    text = json.dumps(config, indent=1, sort_keys=True, default=list) + "\n"
    if path.exists():
        _check_same(json.loads(path.read_text("utf-8")), json.loads(text), workdir)
    path.write_text(text, "utf-8")


def _check_same(old: dict, new: dict, workdir: Path) -> None:
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


class _Stop:
    """Remembers a SIGTERM (preemption notice) until the step in flight is done."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, *_):
        self.asked = True

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self._before)


def _due(step: int, every: int, last: int) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    while True:
        start = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.monotonic() - start


def run(
    experiment: Experiment, train: Feed, valid: Feed | None, workdir: Path, *,
    description: Description, start: TrainState,
) -> Outcome:  # fmt: skip
    """Trains from `start`, or from the newest checkpoint in `workdir`, to the last step."""
    config = experiment.settings.train
    shards = partition.rows_axis(experiment.mesh)
    experiment.check_shapes(train.plan.shapes, config.accumulate, "training")
    if valid is not None and valid.plan.shapes:
        experiment.check_shapes(valid.plan.shapes, 1, "validation")
    del shards
    keep = {"keep_last": config.keep_last, "keep_best": config.keep_best}
    with checkpoint.manager(workdir, **keep) as checkpoints, _Stop() as stop:
        state = checkpoint.restore(checkpoints, experiment.abstract_state) or start
        first = int(state.step)
        if first:
            print(f"resuming {workdir} at step {first}", file=sys.stderr)
        if first >= config.steps:
            return Outcome(state, False)
        host, hosts = jax.process_index(), jax.process_count()
        batches = train.batches(first, config.steps - first, host=host, num_hosts=hosts)
        with Logbook(workdir, first_step=first, total=config.steps) as logbook:
            pending: tuple[int, dict, dict] | None = None
            before = time.monotonic()
            for step, (local, waited) in enumerate(_timed(batches), first + 1):
                batch = partition.global_batch(local, experiment.mesh)
                function = experiment.step_function(experiment.objective.at(step - 1), batch)
                state, metrics = function(state, batch)
                if pending is not None:
                    logbook.write(pending[0], "train", {**compute(pending[1]), **pending[2]})
                    pending = None
                last = config.steps if not stop.asked else step
                if _due(step, config.log_every, last):
                    jax.block_until_ready(metrics["loss"]) if step == last else None
                    now = time.monotonic()
                    host_metrics = {
                        "learning_rate": float(experiment.schedule(step - 1)),
                        "audio_seconds_per_second": hosts * local.waveforms.size / SAMPLE_RATE
                        / max(now - before, 1e-9),
                        "data_wait": waited / max(now - before, 1e-9),
                        "epoch": train.plan.epoch(step - 1),
                        "compilations": len(experiment.compiled),
                    }  # fmt: skip
                    pending = (step, metrics, host_metrics)
                before = time.monotonic()
                rank = None
                if valid is not None and _due(step, config.eval_every, config.steps):
                    if pending is not None:
                        logbook.write(pending[0], "train", {**compute(pending[1]), **pending[2]})
                        pending = None
                    results = validate(
                        experiment.eval_function, valid, state.params, state.step, experiment.mesh
                    )
                    logbook.write(step, "valid", results)
                    sign = 1 if config.best_mode == "min" else -1
                    rank = sign * results[config.best_metric]
                    before = time.monotonic()
                if rank is not None or _due(step, config.checkpoint_every, last):
                    checkpoint.save(checkpoints, state, description, rank)
                if stop.asked:
                    break
            if pending is not None:
                logbook.write(pending[0], "train", {**compute(pending[1]), **pending[2]})
        batches.close()
        checkpoints.wait_until_finished()
    return Outcome(state, stop.asked and int(state.step) < config.steps)
