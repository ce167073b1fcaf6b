"""The training loop: dispatch step k, then log step k-1; validate, save, resume, stop cleanly."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.settings import TrainConfig
from w2v2_jax.health import config as health
from w2v2_jax.health.bad_batches import BadBatches
from w2v2_jax.health.monitor import Alarm, HealthError, Monitor
from w2v2_jax.paths import AnyPath
from w2v2_jax.system import cpu_memory, hosts
from w2v2_jax.train import restore
from w2v2_jax.train.metric_writer import MetricWriter
from w2v2_jax.train.step_metrics import Dispatched, StepObserver, ThroughputWindow
from w2v2_jax.train.validation import validate
from w2v2_jax.train.workdir import disk_errors
from w2v2_jax.train_step import TrainState


class RunEnd(NamedTuple):
    """How a run ended: the state, and whether a signal stopped it before its last step."""

    state: TrainState
    stopped: bool


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


def _metric_writer(workdir: AnyPath, **options):
    """The run's writer on the chief; None on the other hosts."""
    return MetricWriter(workdir, **options) if hosts.is_chief() else contextlib.nullcontext()


def _rank(results: dict[str, float], config: TrainConfig) -> float:
    """The validation figure that decides which checkpoint is best, lower is better."""
    if config.best_metric not in results:
        raise InputError(
            f"config.train.best_metric={config.best_metric!r} is not a validation metric; "
            f"known: {', '.join(results)}"
        )
    return results[config.best_metric] * (1 if config.best_mode == "min" else -1)


class _Job(NamedTuple):
    """What a run holds on to; `dispatched` counts steps on, also where a rollback repeats some."""

    experiment: Experiment
    train: Feed
    valid: Feed | None
    workdir: AnyPath
    description: Description
    checkpoints: checkpoint.Manager
    preemption: hosts.Preemption
    monitor: Monitor
    bad_batches: BadBatches
    dispatched: Iterator[int]

    @property
    def config(self) -> TrainConfig:
        return self.experiment.settings.train


def run(
    experiment: Experiment, train: Feed, valid: Feed | None, workdir: AnyPath, *,
    description: Description, start: TrainState,
) -> RunEnd:  # fmt: skip
    """Trains from `start`, or from the newest whole checkpoint in `workdir`, to the last step.

    Raises InputError where the disk fails or a health rule ends the run.
    """
    settings = experiment.settings
    config = settings.train
    if valid is not None:
        experiment.check_validation_shapes(valid.plan.shapes)
    bad_batches = BadBatches(workdir, train.row_sources, writes=hosts.is_chief())
    hosts.require_same({"bad_batches.jsonl": sorted(bad_batches.left_out)})
    about = health.describe(
        experiment.objective, steps=config.steps, started_after=settings.health.started_after
    )
    keep = {"keep_last": config.keep_last, "keep_best": config.keep_best}
    with (
        disk_errors(workdir),
        checkpoint.manager(workdir, **keep) as checkpoints,
        hosts.Preemption() as preemption,
    ):
        state = restore.restore(checkpoints, experiment.abstract_state) or start
        first = int(state.step)
        if first:
            hosts.log_on_chief(f"resuming {workdir} at step {first}")
        if first >= config.steps:
            return RunEnd(state, False)
        job = _Job(
            experiment, train, valid, workdir, description, checkpoints, preemption,
            Monitor(settings.health, about), bad_batches, itertools.count(first),
        )  # fmt: skip
        # JAX stops all hosts at the call after the last one it saw: a notice that comes while the
        # first step compiles has to find this one, or its step is never met.
        preemption.reached(next(job.dispatched))
        if settings.health.rollback and not first:
            checkpoint.save(checkpoints, state, description)  # what there is to go back to
        alarm = None
        while True:
            state, alarm = _stretch(job, state)
            if alarm is None:
                break
            del state  # two states may not fit
            state = _go_back(job, alarm)
        checkpoints.wait_until_finished()
    return RunEnd(state, int(state.step) < config.steps)


def _go_back(job: _Job, alarm: Alarm) -> TrainState:
    """The state of the checkpoint before the batches that are now left out for good.

    Checkpoints they have part in go first: a kill in between finds the alarm again.
    """
    job.monitor.went_back(alarm)
    wanted = alarm.step - job.experiment.settings.health.skip_batches
    step = restore.forget(job.checkpoints, wanted, alarm.step)
    if step is None:
        raise HealthError(
            f"{alarm.line()}; stopped: no checkpoint from before it; use a larger train.keep_last"
        )
    for bad in range(max(step, wanted) + 1, alarm.step + 1):
        job.bad_batches.note(bad, alarm.rule, alarm.message, left_out=True)
    hosts.log_on_chief(f"health: back at step {step}; batches to {alarm.step} left out")
    return restore.restore(job.checkpoints, job.experiment.abstract_state)


def _stretch(job: _Job, state: TrainState) -> tuple[TrainState, Alarm | None]:
    """Trains to the last step, a signal, or an alarm that asks to go back."""
    experiment, config, first = job.experiment, job.config, int(state.step)
    mine = partition.host_rows(experiment.mesh)
    batches = job.train.batches(first, config.steps - first, **mine._asdict())
    with (
        contextlib.closing(batches),
        _metric_writer(job.workdir, first_step=first, total=config.steps) as writer,
    ):
        feeds = [feed for feed in (job.train, job.valid) if feed is not None]
        damages = [feed.damage for feed in feeds if feed.damage is not None]
        observer = StepObserver(job.monitor, job.bad_batches, writer, damages)
        before, window = None, ThroughputWindow()
        cpu_memory.trim()  # what loading and restoring took
        for step, (local, waited) in enumerate(_timed(batches), first + 1):
            if step in job.bad_batches.left_out:
                local = local._replace(weights=np.zeros_like(local.weights))
            batch = partition.global_batch(local, experiment.mesh)
            function = experiment.step_function(experiment.objective.at(step - 1), batch)
            state, metrics = function(state, batch, experiment.seed)
            alarm = observer.observe(before)  # never more than one step ahead of the device
            if alarm:
                return state, alarm
            before = Dispatched(step, metrics, job.train.plan.fillers(step - 1))
            stop = job.preemption.reached(next(job.dispatched))
            last = step == config.steps or stop
            window.add(batch.waveforms.size / SAMPLE_RATE, waited)
            if last or step % config.log_every == 0:
                host = {
                    "learning_rate": float(experiment.schedule(step - 1)),
                    **window.rates(),
                    "epoch": job.train.plan.epoch(step - 1),
                    "compilations": len(experiment.compiled),
                }
                before = before._replace(host=host)
                window = ThroughputWindow()
            rank = None
            checks = job.valid is not None and _due(step, config.eval_every, step == config.steps)
            saves = checks or _due(step, config.checkpoint_every, last)
            if saves:
                alarm, before = observer.observe(before), None  # what is saved has been looked at
                if alarm:
                    return state, alarm
            if checks:
                results = validate(experiment, job.valid, state.params, state.step)
                if writer is not None:
                    writer.write(step, "valid", results)
                rank = _rank(results, config)
                cpu_memory.trim()  # other shapes than the next updates'
                window = ThroughputWindow()
            if saves:
                checkpoint.save(job.checkpoints, state, job.description, rank)
            if stop:
                break
        return state, observer.observe(before)
