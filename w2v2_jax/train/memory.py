"""A run and the memory of its devices: the number of microbatches that fits, and the message if an
update, a validation or the state itself does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import jax

from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError, printable
from w2v2_jax.experiment import auto_accumulate
from w2v2_jax.experiment.auto_accumulate import Choice, count, possible, state_bytes
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.microbatches import Shape
from w2v2_jax.system.device_memory import GIB, memory_shortage

MOSTLY_STATE = 0.6  # share of a device's memory; above it, smaller microbatches hardly help


def abstract_batch(experiment: Experiment, train: Feed, shape: Shape) -> Batch:
    """The shapes of a batch, labels as wide as this corpus has them."""
    rows, samples = shape
    batch = experiment.objective.abstract_batch(rows, samples)
    if train.widths is None or batch.labels is None:
        return batch
    labels = jax.ShapeDtypeStruct((rows, train.widths[samples]), batch.labels.dtype)
    return batch._replace(labels=labels)


def choose(experiment: Experiment, train: Feed) -> Choice:
    """The experiment with the number of microbatches of `train.accumulate`, chosen if it is
    "auto"; all hosts call this together."""
    if not auto_accumulate.is_auto(experiment):
        return Choice(experiment, "", True)
    shapes = train.plan.shapes
    batches = [
        abstract_batch(experiment, train, shape) for shape in auto_accumulate.largest(shapes)
    ]
    limit = auto_accumulate.memory_limit(experiment)
    return auto_accumulate.choose(experiment, batches, shapes, limit)


def settled(experiment: Experiment, train: Feed, tell: Callable[[str], None]) -> Experiment:
    """The experiment of `choose`, after printing its line; InputError if no number fits."""
    choice = choose(experiment, train)
    if choice.line:
        tell(choice.line)
    if not choice.fits:
        remedy = other_remedy(choice.experiment)
        raise InputError(f"{choice.line}, and its rows cannot be divided further: {remedy}")
    return choice.experiment


def remedy(
    experiment: Experiment, shapes: Sequence[Shape], *, needed: int | None, capacity: int | None
) -> str:
    """What to set if a step of the shapes needs more memory than a device has (both numbers may be
    None, unknown): more microbatches, as far as the rows divide."""
    if capacity and state_bytes(experiment) > MOSTLY_STATE * capacity:
        return _shard(experiment)
    over = (needed or 0) / (capacity or 1)
    least = experiment.accumulate * max(2.0, over if capacity else 0.0)
    number = next((n for n in possible(experiment, shapes) if n >= least), None)
    if number is None:
        return f"its rows cannot be divided further: {other_remedy(experiment)}"
    return (
        f"--config.train.accumulate={number} makes the same update from smaller microbatches "
        "(auto: the smallest number that fits)"
    )


def other_remedy(experiment: Experiment) -> str:
    """What helps if rows cannot be divided further."""
    full = experiment.settings.execution.remat == "full"
    remat = "" if full else "--config.execution.remat=full, "
    return f"use {remat}a smaller data.batch_seconds, or more devices"


def _shard(experiment: Experiment) -> str:
    size = f"parameters and moments alone take {state_bytes(experiment) / GIB:.2f} GiB of a device"
    devices = experiment.mesh.size
    if experiment.mesh.shape["fsdp"] < devices:
        return f"{size}: --config.mesh.fsdp={devices} shards them over the devices"
    return f"{size}: use more devices, with --config.mesh.fsdp over them"


def _size(shape: Shape) -> str:
    rows, samples = shape
    return f"{rows} rows x {samples / SAMPLE_RATE:g} s"


@contextlib.contextmanager
def _told(line: Callable[[int | None, int | None], str]) -> Iterator[None]:
    """Turns the error that JAX raises when a device runs out of memory into an InputError.

    line: (bytes needed, bytes available), each None if the error does not say, -> what to do.
    Only JAX's own errors count: object stores use the same word when they limit requests.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        shortage = memory_shortage(str(error))
        if shortage is None:
            raise
        detail = printable(str(error).splitlines()[0])[:160]
        needed, there = (size or None for size in shortage)
        raise InputError(
            f"the device's memory does not suffice for {line(needed, there)} ({detail})"
        ) from error


def updates(experiment: Experiment, shapes: Sequence[Shape], running: Sequence[Shape]):
    """A context in which a device that runs out of memory ends the run with one line. shapes: all
    that are trained on. running: those of the updates still under way, filled as the run goes."""

    def line(needed, there):
        worst = max(running or shapes, key=lambda shape: shape[0] * shape[1])
        what = f"an update of {_size(worst)} in {count(experiment.accumulate)}"
        return f"{what}: {remedy(experiment, shapes, needed=needed, capacity=there)}"

    return _told(line)


def validation(shapes: Sequence[Shape]):
    """The same context for a validation on batches of these shapes."""

    def line(needed, there):
        rows, samples = max(shapes, key=lambda shape: shape[0] * shape[1])
        half = rows * samples / SAMPLE_RATE / 2
        return (
            f"a validation on batches of {_size((rows, samples))}: use "
            f"--config.data.valid_batch_seconds={half:g}, or a larger train.accumulate, which "
            "divides these batches too"
        )

    return _told(line)


def state(experiment: Experiment):
    """The same context for creating or reading the parameters and moments."""
    return _told(lambda needed, there: f"the network: {_shard(experiment)}")
