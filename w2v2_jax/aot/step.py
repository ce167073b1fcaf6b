"""The experiment's own train step, compiled for a target: shapes, compilation, and its verdict."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, NamedTuple

import jax

from w2v2_jax import partition
from w2v2_jax.aot.topology import Target
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.buckets import rows_per_batch
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.build import Experiment
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

    needed and capacity are the compiler's figures where it refused, else None.
    """

    built: Experiment
    shape: Shape
    compiled: Any | None
    seconds: float
    needed: int | None = None
    capacity: int | None = None


def recipe_rows(settings: ExperimentSettings) -> tuple[int, int]:
    """Rows and samples of the recipe's longest bucket."""
    data = settings.data
    samples = round(max(data.bucket_seconds) * SAMPLE_RATE)
    room = round(data.batch_seconds * SAMPLE_RATE)
    rows = rows_per_batch(samples, batch_samples=room, row_multiple=data.row_multiple)
    return rows, samples


def shape_of(settings: ExperimentSettings, shards: int, rows_per_shard: int | None) -> Shape:
    """The recipe's batch, or microbatches of `rows_per_shard` rows whose number keeps its size."""
    rows, samples = recipe_rows(settings)
    if rows_per_shard is None:
        return Shape(rows, samples, settings.train.accumulate, rows)
    if rows_per_shard < 1:
        raise InputError(f"--rows {rows_per_shard} must be at least 1")
    accumulate = max(1, round(rows / (rows_per_shard * shards)))
    return Shape(rows_per_shard * shards * accumulate, samples, accumulate, rows)


def build(raw: dict, target: Target, inherited: ModelConfig | None) -> Experiment:
    """The experiment on the target's devices."""
    settings = read_settings(raw)
    vocabulary = settings.usual_vocabulary()
    return experiment.build(
        settings, vocabulary=vocabulary, inherited=inherited, devices=target.devices
    )


def compile_step(built: Experiment, rows_per_shard: int | None) -> StepCompilation:
    """Compiles the step that trains. A compiler that runs out of the target's memory is an
    outcome; anything else it refuses is raised."""
    settings = built.settings
    shape = shape_of(settings, partition.rows_axis(built.mesh), rows_per_shard)
    train = dataclasses.replace(settings.train, accumulate=shape.accumulate)
    built = dataclasses.replace(
        built, settings=dataclasses.replace(settings, train=train), compiled={}, compile_seconds=[]
    )
    built.check_shapes([(shape.rows, shape.samples)], shape.accumulate, "training")
    batch = built.objective.abstract_batch(shape.rows, shape.samples)
    start = time.monotonic()
    try:
        compiled = built.step_function(built.objective.at(settings.train.steps), batch)
    except jax.errors.JaxRuntimeError as error:
        shortage = memory_shortage(str(error))
        if shortage is None:
            raise
        return StepCompilation(built, shape, None, time.monotonic() - start, *shortage)
    return StepCompilation(built, shape, compiled, time.monotonic() - start)
