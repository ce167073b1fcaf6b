"""The training loop: dispatch step k, then log step k-1; validate, save, resume, stop cleanly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import numpy as np

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.data.feed import Feed
from w2v2_jax.data.plan import Plan
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.settings import TrainConfig
from w2v2_jax.experiment.states import exchanged
from w2v2_jax.health import config as health
from w2v2_jax.health.bad_batches import BadBatches
from w2v2_jax.health.monitor import Alarm, HealthError, Monitor
from w2v2_jax.paths import AnyPath
from w2v2_jax.system import cpu_memory, hosts
from w2v2_jax.train import memory, restore
from w2v2_jax.train.metric_writer import MetricWriter
from w2v2_jax.train.step_metrics import Dispatched, StepObserver, ThroughputWindow
from w2v2_jax.train.validation import validate
from w2v2_jax.train.workdir import disk_errors
from w2v2_jax.train_step import TrainState


class RunEnd(NamedTuple):
    """How a run ended: its step, and the signal that stopped it before its last ("" for none)."""

    step: int
    stopped: str


class Due(NamedTuple):
    """What follows an update: a logged line, a validation, a checkpoint."""

    line: bool
    validation: bool
    checkpoint: bool


def due(step: int, config: TrainConfig, *, validates: bool, stop: bool) -> Due:
    """validates: whether there is a validation corpus; stop: whether the run stops here."""
    last = step == config.steps
    meets = lambda every: every > 0 and step % every == 0  # noqa: E731
    validation = validates and (last or meets(config.eval_every))
    saves = last or stop or meets(config.checkpoint_every) or meets(config.keep_every)
    return Due(last or stop or meets(config.log_every), validation, validation or saves)


def clock_of(experiment: Experiment) -> Callable[[], float]:
    """A clock in seconds that stands still while a step is compiled."""
    return lambda: time.monotonic() - sum(experiment.compile_seconds)


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


def rank(results: dict[str, float], config: TrainConfig) -> float:
    """The validation metric that decides which checkpoint is best; lower is better."""
    if config.best_metric not in results:
        raise InputError(
            f"config.train.best_metric={config.best_metric!r} is not a validation metric; "
            f"known: {', '.join(results)}"
        )
    return results[config.best_metric] * (1 if config.best_mode == "min" else -1)


class _Job(NamedTuple):
    """The parts of a run that stay the same."""

    experiment: Experiment
    train: Feed
    valid: Feed | None
    workdir: AnyPath
    description: Description
    checkpoints: checkpoint.Manager
    preemption: hosts.Preemption
    monitor: Monitor
    bad_batches: BadBatches

    @property
    def config(self) -> TrainConfig:
        return self.experiment.settings.train

    def save(self, state: TrainState, rank: float | None = None) -> None:
        """See `checkpoint.save`; with an average of the parameters in their place."""
        saved = exchanged(self.experiment, state)
        checkpoint.save(self.checkpoints, saved, self.description, rank)


def run(
    experiment: Experiment,
    train: Feed,
    valid: Feed | None,
    workdir: AnyPath,
    *,
    description: Description,
    fresh: Callable[[], TrainState],
) -> RunEnd:
    """Trains from the newest whole checkpoint in `workdir` to the last step, or from the result of
    `fresh` if there is none. `fresh` is not called otherwise, as two states may not fit in memory.

    Raises InputError if the disk fails, a device has too little memory or a health rule ends the
    run.
    """
    settings = experiment.settings
    config = settings.train
    bad_batches = BadBatches(workdir, train.row_sources, writes=hosts.is_chief())
    hosts.require_same({"bad_batches.jsonl": sorted(bad_batches.left_out)})
    about = health.describe(
        experiment.objective, steps=config.steps, started_after=settings.health.started_after
    )
    keep = {name: getattr(config, name) for name in ("keep_last", "keep_best", "keep_every")}
    with (
        disk_errors(workdir),
        checkpoint.manager(workdir, **keep) as checkpoints,
        hosts.Preemption() as preemption,
    ):
        with memory.state(experiment):
            state = _restored(checkpoints, experiment)
            resumed = state is not None
            if state is None:
                state = fresh()
        del fresh  # what it started from is not needed again
        first = int(state.step)
        if resumed:
            hosts.log_on_chief(f"resuming {workdir} at step {first}")
        if first >= config.steps:
            return RunEnd(first, "")
        job = _Job(
            experiment, train, valid, workdir, description, checkpoints, preemption,
            Monitor(settings.health, about), bad_batches,
        )  # fmt: skip
        if settings.health.rollback and not resumed:
            job.save(state)  # a rollback may return to it
        while True:
            state, alarm = _train_until_alarm(job, state)
            if alarm is None:
                break
            del state  # two states may not fit
            state = _roll_back(job, alarm)
        checkpoints.wait_until_finished()
    end = int(state.step)
    return RunEnd(end, preemption.reached() if end < config.steps else "")


def _restored(checkpoints: checkpoint.Manager, experiment: Experiment) -> TrainState | None:
    """The newest saved state, to train on from; None if nothing was saved."""
    state = restore.restore(checkpoints, experiment.abstract_state)
    return None if state is None else cpu_memory.owned(exchanged(experiment, state))


def _roll_back(job: _Job, alarm: Alarm) -> TrainState:
    """The state of the checkpoint before the batches that are now left out for good.

    Checkpoints after these batches are deleted first, so that after an interruption the alarm
    occurs again.
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
    hosts.log_on_chief(f"health: returned to step {step}; batches up to {alarm.step} are left out")
    state = _restored(job.checkpoints, job.experiment)
    assert state is not None  # `forget` has left a step
    return state


def _train_until_alarm(job: _Job, state: TrainState) -> tuple[TrainState, Alarm | None]:
    """Trains to the last step, a signal, or an alarm that asks for a rollback."""
    experiment, config, first = job.experiment, job.config, int(state.step)
    plan, mine = cast(Plan, job.train.plan), partition.host_rows(experiment.mesh)
    batches = job.train.batches(first, config.steps - first, **mine._asdict())
    clock = clock_of(experiment)
    running: list[tuple[int, int]] = []  # shapes of the update before and of this one
    with (
        contextlib.closing(batches),
        memory.updates(experiment, plan.shapes, running),
        _metric_writer(job.workdir, first_step=first, total=config.steps, clock=clock) as writer,
    ):
        feeds = [feed for feed in (job.train, job.valid) if feed is not None]
        damages = [feed.damage for feed in feeds if feed.damage is not None]
        observer = StepObserver(job.monitor, job.bad_batches, writer, damages)
        before, window = None, ThroughputWindow(clock)
        cpu_memory.trim()  # return the memory of loading and restoring
        for step, (local, waited) in enumerate(_timed(batches), first + 1):
            stop = bool(job.preemption.reached())
            line, validation, saves = due(step, config, validates=job.valid is not None, stop=stop)
            if step in job.bad_batches.left_out:
                local = local._replace(weights=np.zeros_like(local.weights))
            batch = partition.global_batch(local, experiment.mesh)
            running[:] = [*running[-1:], batch.waveforms.shape]
            function = experiment.step_function(experiment.objective.at(step - 1), batch)
            rate = experiment.learning_rate(state) if line else None
            state, metrics = function(state, batch, experiment.seed)
            alarm = observer.observe(before)  # never more than one step ahead of the device
            if alarm:
                return state, alarm
            before = Dispatched(step, metrics, plan.fillers(step - 1))
            window.add(batch.waveforms.size / SAMPLE_RATE, waited)
            if line:
                host = {
                    **window.rates(),
                    "epoch": plan.epoch(step - 1),
                    "compilations": len(experiment.compiled),
                }
                before = before._replace(host=host, rate=rate)
                window = ThroughputWindow(clock)
            if saves:
                alarm, before = observer.observe(before), None  # check before saving
                if alarm:
                    return state, alarm
            best = None
            if validation:
                best = _validate(job, state, writer)
                window = ThroughputWindow(clock)
            if saves:
                job.save(state, best)
            if stop:
                break
        return state, observer.observe(before)


def _validate(job: _Job, state: TrainState, writer: MetricWriter | None) -> float:
    """Writes the metrics of a validation; returns the rank of the state."""
    valid = job.valid
    assert valid is not None
    with memory.validation(valid.plan.shapes):
        weights = exchanged(job.experiment, state).weights
        results = validate(job.experiment, valid, weights, state.step)
    clips = len(valid.corpus) + valid.without_transcript
    left_out = clips - valid.utterances
    if writer is not None:
        writer.write(int(state.step), "valid", {**results, "clips_left_out": left_out})
    cpu_memory.trim()  # other shapes than the next updates'
    return rank(results, job.config)
