"""The experiment's own train step, compiled for a target: shapes, compilation, and its verdict."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax

from w2v2_jax import partition
from w2v2_jax.aot.topology import Target
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.buckets import rows_per_batch
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.auto_accumulate import Choice, choose, largest
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.head_symbols import HeadSymbols, head_symbols
from w2v2_jax.experiment.settings import ExperimentSettings, read_settings
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.system.device_memory import memory_shortage


class Shape(NamedTuple):
    """Rows of an update on all devices, samples per row, microbatches; rows the recipe asks for."""

    rows: int
    samples: int
    accumulate: int
    recipe_rows: int


class StepCompilation(NamedTuple):
    """A compiled step, or why there is none: the bytes that its main memory lacked.

    needed and capacity are the compiler's figures where it refused, else None. auto: how
    train.accumulate="auto" was chosen. rows_given: whether the microbatches follow from given rows.
    """

    built: Experiment
    shape: Shape
    compiled: Any | None
    seconds: float
    needed: int | None = None
    capacity: int | None = None
    auto: str = ""
    rows_given: bool = False


def recipe_shapes(settings: ExperimentSettings) -> list[tuple[int, int]]:
    """Rows and samples of the batches of the recipe's buckets, by rising length."""
    data = settings.data
    lengths = sorted(round(seconds * SAMPLE_RATE) for seconds in data.bucket_seconds)
    room = round(data.batch_seconds * SAMPLE_RATE)
    return [
        (rows_per_batch(samples, batch_samples=room, row_multiple=data.row_multiple), samples)
        for samples in (lengths[-1:] if data.mode == "concatenate" else lengths)
    ]


def recipe_rows(settings: ExperimentSettings) -> tuple[int, int]:
    """Rows and samples of the recipe's longest bucket."""
    return recipe_shapes(settings)[-1]


def shape_of(settings: ExperimentSettings, shards: int, rows_per_shard: int | None) -> Shape:
    """The recipe's batch, or microbatches of `rows_per_shard` rows whose number keeps its size."""
    rows, samples = recipe_rows(settings)
    if rows_per_shard is None:
        number = settings.train.accumulate
        assert isinstance(number, int)  # `with_microbatches` has chosen
        return Shape(rows, samples, number, rows)
    if rows_per_shard < 1:
        raise InputError(f"--rows {rows_per_shard} must be at least 1")
    accumulate = max(1, round(rows / (rows_per_shard * shards)))
    return Shape(rows_per_shard * shards * accumulate, samples, accumulate, rows)


def build(
    raw: dict,
    target: Target,
    inherited: ModelConfig | None,
    symbols: HeadSymbols | None = None,
) -> Experiment:
    """The experiment on the target's devices; symbols: those of its head, if they have been
    read."""
    settings = read_settings(raw)
    vocabulary = (symbols or head_symbols(settings)).vocabulary
    return experiment.build(
        settings, vocabulary=vocabulary, inherited=inherited, devices=target.devices
    )


def with_microbatches(built: Experiment, limit: int | None) -> Choice:
    """The experiment with the number of microbatches of `train.accumulate`, chosen for devices of
    `limit` bytes if it is "auto"."""
    shapes = recipe_shapes(built.settings)
    batches = [built.objective.abstract_batch(*shape) for shape in largest(shapes)]
    return choose(built, batches, shapes, limit)


def compile_step(
    built: Experiment, rows_per_shard: int | None, limit: int | None = None
) -> StepCompilation:
    """Compiles the step that trains. A compiler that runs out of the target's memory is an
    outcome; anything else it refuses is raised. limit: bytes of a device, for train.accumulate=
    "auto"."""
    start = time.monotonic()
    auto, rows_given = "", rows_per_shard is not None
    if not rows_given:
        built, auto, _ = with_microbatches(built, limit)
    settings = built.settings
    shape = shape_of(settings, partition.rows_axis(built.mesh), rows_per_shard)
    if settings.train.accumulate != shape.accumulate:
        built = built.with_accumulate(shape.accumulate)
    built.check_shapes([(shape.rows, shape.samples)], shape.accumulate, "training")
    batch = built.objective.abstract_batch(shape.rows, shape.samples)
    needed = capacity = None
    try:
        compiled = built.step_function(built.objective.at(settings.train.steps), batch)
    except jax.errors.JaxRuntimeError as error:
        shortage = memory_shortage(str(error))
        if shortage is None:
            raise
        compiled, (needed, capacity) = None, shortage
    seconds = time.monotonic() - start
    return StepCompilation(built, shape, compiled, seconds, needed, capacity, auto, rows_given)
