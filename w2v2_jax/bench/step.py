"""Timing of the train step and of inference: the very functions that train and transcribe."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.bench.measure import summary, timed
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.head_symbols import head_symbols
from w2v2_jax.experiment.settings import ExperimentSettings, read_settings
from w2v2_jax.inference import Model
from w2v2_jax.models import flops
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import FIELDS, Execution
from w2v2_jax.models.families import model_config
from w2v2_jax.models.layer_stack import split_layers
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.system import cpu_memory
from w2v2_jax.vocabulary import BOUNDARY, LIBRISPEECH, Vocabulary


def changes(arguments) -> tuple[dict, dict]:
    """The values that --set gives for the sections model and execution."""
    values = dict(arguments.set)
    execution = {name: value for name, value in values.items() if name in FIELDS}
    return {name: value for name, value in values.items() if name not in FIELDS}, execution


def settings_of(arguments, *, model: dict | None = None, **objective) -> ExperimentSettings:
    """The settings of --config, or those of a model family's step at the given shape.

    model, objective: values of those sections that the caller asks for.
    """
    of_model, of_execution = changes(arguments)
    if arguments.config:
        from w2v2_jax.experiment.recipe import load_config, override

        raw = load_config(arguments.config)
        override(raw, arguments.overrides)
        raw["model"] |= of_model
        raw["execution"] |= of_execution
        return read_settings(raw)
    kind = OBJECTIVES[arguments.objective]
    samples = round(arguments.seconds * SAMPLE_RATE)
    group = arguments.rows // arguments.accumulate * samples / SAMPLE_RATE
    required = kind.required_settings(group)
    return read_settings(
        dict(
            model={"family": arguments.family, **of_model, **(model or {})},
            execution={"dtype": arguments.dtype, "remat": arguments.remat, **of_execution},
            objective={"name": kind.name, **required, **objective},
            schedule=dict(name="constant", peak=1e-4),
            data=dict(
                train="none",
                mode="pad" if kind.needs_vocabulary else "crop",
                bucket_seconds=(arguments.seconds,),
                batch_seconds=arguments.rows * arguments.seconds,
                row_multiple=arguments.rows,
            ),
            train=dict(steps=1000, accumulate=arguments.accumulate),
        )
    )


def largest_shape(settings: ExperimentSettings) -> tuple[int, int]:
    """(rows, samples) of a batch of the recipe's longest rows."""
    data = settings.data
    seconds = max(data.bucket_seconds)
    multiple = data.row_multiple
    rows = max(multiple, int(data.batch_seconds / seconds) // multiple * multiple)
    return rows, round(seconds * SAMPLE_RATE)


def random_batch(
    settings: ExperimentSettings, vocabulary: Vocabulary | Classes | None = None
) -> Batch:
    """One batch of noise in the largest bucket's shape, with labels where the objective has any;
    vocabulary: None for the usual one."""
    rows, samples = largest_shape(settings)
    random = np.random.default_rng(0)
    waveforms = random.standard_normal((rows, samples), np.float32)
    batch = Batch(waveforms, np.full(rows, samples, np.int32), np.ones(rows, np.float32))
    labels = settings.objective_class.abstract_batch(rows, samples).labels
    if labels is None:
        return batch
    symbols = vocabulary or settings.usual_vocabulary()
    first = BOUNDARY if isinstance(symbols, Vocabulary) else 0
    drawn = random.integers(first, len(symbols or ()), labels.shape).astype(np.int32)
    return batch._replace(labels=drawn, num_labels=np.full(rows, labels.shape[1], np.int32))


def build(settings: ExperimentSettings) -> experiment.Experiment:
    """The experiment of a benchmark. Says so if its head has other symbols than a training's."""
    symbols = head_symbols(settings)
    if symbols.note:
        print(symbols.note, file=sys.stderr)
    return experiment.build(settings, vocabulary=symbols.vocabulary)


def compile_step(built: experiment.Experiment, local: Batch):
    """(compiled step, batch on the mesh, seconds) of the step after all frozen phases."""
    built.check_shapes([local.waveforms.shape], built.accumulate, "benchmark")
    batch = partition.global_batch(local, built.mesh)
    start = time.perf_counter()
    step = built.step_function(built.objective.at(10**9), batch)
    return step, batch, time.perf_counter() - start


def stepper(step, state, batch, seed):
    """A function that takes one training step and waits for it; the state is its own."""
    held = [jax.block_until_ready(state)]  # only then is the memory of its making free
    cpu_memory.trim()

    def run():
        held[0], metrics = step(held[0], batch, seed)
        jax.block_until_ready((held[0], metrics))

    return run


def bench_train(arguments) -> dict:
    """Times the step that trains, on the same batch every time."""
    settings = settings_of(arguments)
    built = build(settings)
    local = random_batch(settings, built.vocabulary)
    step, batch, compile_seconds = compile_step(built, local)
    run = stepper(step, built.init(), batch, built.seed)
    seconds = timed(run, warmup=2, repeats=arguments.repeats)
    rows, samples = local.waveforms.shape
    analysis = step.memory_analysis()
    return {
        **summary(
            "train",
            built.model,
            settings.execution,
            seconds,
            rows=rows,
            samples=samples,
            work=flops.train_flops(built.model, samples),
            compile_seconds=compile_seconds,
        ),
        "accumulate": settings.train.accumulate,
        "compiled_temporary_bytes": int(analysis.temp_size_in_bytes),
        "compiled_argument_bytes": int(analysis.argument_size_in_bytes),
    }


class Inferring(NamedTuple):
    """The network that inference is timed on, its execution and the symbols of its head."""

    model: ModelConfig
    execution: Execution
    vocabulary: Vocabulary = LIBRISPEECH


def random_model(network: Inferring) -> Model:
    """A CTC model whose parameters are drawn at random."""
    config, execution, vocabulary = network
    init = jax.jit(CTC(config, len(vocabulary)).init)
    params = partition.unbox(init(jax.random.key(1)))
    description = Description(CTC.name, config, vocabulary, False)
    return Model(Path("random"), description, jax.jit(split_layers)(params), execution)


def infer_config(arguments, **model) -> Inferring:
    """A recipe's network or a family's. A recipe without symbols gets the usual ones."""
    if arguments.config:
        settings = settings_of(arguments, model=model)
        built = build(settings)
        symbols = built.vocabulary
        vocabulary = symbols if isinstance(symbols, Vocabulary) else LIBRISPEECH
        return Inferring(built.model, settings.execution, vocabulary)
    of_model, of_execution = changes(arguments)
    config = model_config(arguments.family, **{**of_model, **model})
    return Inferring(config, Execution(**{"dtype": arguments.dtype, **of_execution}))


def lengths_of(arguments) -> list[int]:
    """Samples of each utterance that inference is timed on."""
    if arguments.lengths:
        return [round(s * SAMPLE_RATE) for s in arguments.lengths]
    return [round(arguments.seconds * SAMPLE_RATE)] * arguments.rows


def noise_waveforms(lengths: list[int]) -> list[np.ndarray]:
    """Noise of each length, the same wherever it is drawn."""
    random = np.random.default_rng(0)
    return [random.standard_normal(samples, np.float32) for samples in lengths]


def transcriber(model: Model, waveforms: list[np.ndarray], *, mixed: bool):
    """A function that gives the logits of all waveforms: the length-sorted buckets of
    transcription for mixed lengths, else one padded batch without any padding."""
    if mixed:
        return lambda: list(model.batched_logits(waveforms))
    stacked = np.stack(waveforms)
    return lambda: model.logits(stacked)


def bench_infer(arguments) -> dict:
    """CTC logits from waveforms, parameters drawn at random."""
    network = infer_config(arguments)
    config, execution, _ = network
    lengths = lengths_of(arguments)
    run = transcriber(
        random_model(network), noise_waveforms(lengths), mixed=bool(arguments.lengths)
    )
    start = time.perf_counter()
    run()
    compile_seconds = time.perf_counter() - start
    seconds = timed(run, warmup=1, repeats=arguments.repeats)
    result = summary(
        "infer",
        config,
        execution,
        seconds,
        rows=1,
        samples=sum(lengths),
        compile_seconds=compile_seconds,
        work=sum(flops.forward_flops(config, samples) for samples in lengths),
    )
    return {**result, "shape": [len(lengths), max(lengths)], "lengths_samples": lengths}
