"""What a run would be, without running it: shapes, memory, compilations, hours, and advice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import jax

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.buckets import PlanSummary, duration
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import counted
from w2v2_jax.evaluation import hours_heard
from w2v2_jax.experiment import auto_accumulate
from w2v2_jax.experiment.auto_accumulate import StepMemory, state_bytes
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.microbatches import Shape
from w2v2_jax.system.device_memory import GIB, device_memory
from w2v2_jax.train import memory, smaller_batches
from w2v2_jax.train.fit import left_out

# Hours of the least transcribed audio in the paper (10 minutes, section 4.2), and an hour less than
# the least that helped here (docs/results/quickstart.md).
LEAST_LABELLED, LEAST_PRETRAINING = 1 / 6, 1.0
# The paper's LARGE hears LibriSpeech 700 times (250 000 updates of 2.7 h over 960 h), BASE 670.
PUBLISHED_EPOCHS, MOST_EPOCHS = 700, 1000
MANY_SHAPES, FEW_UPDATES = 5, 10  # that many shapes should have that many updates each


def lines(
    experiment: Experiment, train: Feed, valid: Feed | None, chosen: str = ""
) -> Iterator[str]:
    """The description of a run, line by line. Compiles the step for the longest rows, as the run
    would, and runs nothing. chosen: the line on train.accumulate="auto"."""
    summary = train.plan.summary()
    yield from _network(experiment)
    yield from _updates(experiment, summary)
    if chosen:
        yield f"microbatches: {chosen}"
    yield from _programs(experiment, train, valid)
    step = step_memory(experiment, train)
    yield _memory_line(step)
    lengths = list(left_out(train, valid))
    yield from lengths
    hints = [
        *_amount_advice(experiment, summary),
        *advice(experiment, train, summary),
        *_memory_advice(experiment, summary.shapes, step),
    ]
    yield from (f"advice: {hint}" for hint in hints or (_no_advice(summary, lengths),))


def _no_advice(summary: PlanSummary, lengths: list[str]) -> str:
    """Why there is none. lengths: the lines on what is left out."""
    if lengths:
        return "none; the lines above name the options that keep what is left out"
    if not summary.repeated_rows:
        return "none, recipe and data fit each other"
    return f"none: rows of weight 0 ({summary.repeated_rows} of {summary.rows}) are few"


def _network(experiment: Experiment) -> Iterator[str]:
    parameters = jax.tree.leaves(experiment.abstract_state.params)
    count = sum(math.prod(leaf.shape) for leaf in parameters)
    held = state_bytes(experiment)
    mesh = ", ".join(f"{axis} {size}" for axis, size in experiment.mesh.shape.items())
    device = experiment.mesh.devices.flat[0].device_kind
    average = " and the average" if experiment.ema_decay else ""
    yield (
        f"network: {_parameters(count)}; with the optimizer's moments{average} "
        f"{_size(held)} on each device ({experiment.mesh.size} x {device}: {mesh})"
    )


def _parameters(count: int) -> str:
    return f"{count / 1e6:.1f} million parameters" if count >= 1e6 else f"{count} parameters"


def _updates(experiment: Experiment, summary: PlanSummary) -> Iterator[str]:
    config = experiment.settings.train
    seconds = [rows * samples / SAMPLE_RATE for rows, samples in summary.shapes]
    epochs = config.steps / summary.batches
    yield (
        f"updates: {config.steps}, each of {_span(min(seconds), max(seconds))} "
        f"of rows; microbatches of an update: {experiment.accumulate}"
    )
    yield (
        f"epoch: {duration(3600 * summary.hours)} of audio, utterances: {summary.utterances}, "
        f"updates: {summary.batches}; {summary.repeated_rows} of {summary.rows} rows have weight 0 "
        f"and only fill up batches; epochs of the run: {epochs:.4g}"
    )
    if experiment.objective.name == "contrastive":
        hours = epochs * summary.hours
        yield (
            f"heard: {hours:.{0 if hours >= 10 else 2}f} h of audio in the whole run; WER of "
            f"published runs of BASE by hours heard ({hours_heard.PAPER}): "
            f"{hours_heard.comparison(hours)}"
        )
    for rows, samples in summary.shapes:
        yield f"batch: {counted(rows, 'row')} x {samples / SAMPLE_RATE:g} s"


def _span(least: float, most: float) -> str:
    """ "24 s to 48 s", or one of them where they are the same."""
    return " to ".join(dict.fromkeys((duration(least), duration(most))))


def _size(count: float | None) -> str:
    if count is None:
        return "an unknown amount"
    return f"{count / GIB:.2f} GiB" if count > GIB / 10 else f"{1024 * count / GIB:.2f} MiB"


def _programs(experiment: Experiment, train: Feed, valid: Feed | None) -> Iterator[str]:
    shapes = len(train.plan.shapes)
    phases = len(_phases(experiment))
    validation = len(valid.plan.shapes) if valid else 0
    yield (
        f"compiled programs: {shapes * phases} of training (shapes: {shapes}, phases of the "
        f"objective: {phases}), {validation} of validation"
    )


def _phases(experiment: Experiment) -> set:
    """The objective's static values from the first update to the last."""
    last = experiment.settings.train.steps - 1
    return {experiment.objective.at(0), experiment.objective.at(last)}


def step_memory(experiment: Experiment, train: Feed) -> StepMemory:
    """Memory of the training step for the longest rows, from its compilation."""
    longest = max(train.plan.shapes, key=lambda shape: shape[1])
    devices = experiment.mesh.devices.flat
    capacity = device_memory(devices[0], sharing=len(jax.devices()))
    batch = memory.abstract_batch(experiment, train, longest)
    return auto_accumulate.step_memory(experiment, batch, capacity)


def _memory_line(step: StepMemory) -> str:
    verdict = "fits" if step.fits else "does not fit"
    return (
        f"memory: an update of {counted(step.rows, 'row')} x {step.samples / SAMPLE_RATE:g} s "
        f"takes {_size(step.needed)} of a device's {_size(step.capacity)}, as compiled: {verdict}"
    )


def _memory_advice(
    experiment: Experiment, shapes: Sequence[Shape], step: StepMemory
) -> Iterator[str]:
    """What to change if the step does not fit."""
    if step.fits:
        return
    remedy = memory.remedy(experiment, shapes, needed=step.needed, capacity=step.capacity)
    yield (
        f"the step does not fit into the device's memory: {remedy}; `w2v2 aot` says what fits on "
        "other machines"
    )


def advice(experiment: Experiment, train: Feed, summary: PlanSummary) -> Iterator[str]:
    """What to change if recipe and data do not fit, with the option that changes it."""
    if summary.repeated_rows > smaller_batches.FILLERS * summary.rows:
        yield _smaller_batches(experiment, train, summary)
    steps, shapes = experiment.settings.train.steps, len(summary.shapes)
    if shapes >= MANY_SHAPES and steps < FEW_UPDATES * shapes:
        yield (
            f"{shapes} row lengths need {shapes} compilations for a run of {steps} updates: with a "
            "shorter list in data.bucket_seconds the run starts sooner"
        )


def _amount_advice(experiment: Experiment, summary: PlanSummary) -> Iterator[str]:
    """What to change if the audio is too little for the recipe, or its updates too few for it."""
    epochs = experiment.settings.train.steps / summary.batches
    times = f"{epochs:.{0 if epochs >= 10 else 2}f}"
    heard = f"{duration(3600 * summary.hours)} of {{}}audio, heard {times} times, are"
    if epochs < 1:
        yield (
            f"the run ends after {times} of an epoch, before it has heard all utterances: "
            f"--config.train.steps={summary.batches} hears each once"
        )
    if experiment.objective.ctc_head and summary.hours < LEAST_LABELLED:
        yield (
            f"{heard.format('transcribed ')} less than the 10 minutes that the paper tunes with: "
            "transcribe more, or expect many errors"
        )
    if experiment.objective.needs_vocabulary:
        return  # a few labels are heard thousands of times
    if summary.hours < LEAST_PRETRAINING and not experiment.settings.init_from:
        yield (
            f"{heard.format('')} too little to pretrain a network on: add audio, or go on from a "
            "pretrained one, --config.init_from=DIR (recipe continue_pretraining)"
        )
    elif epochs > MOST_EPOCHS:
        yield (
            f"the run hears its audio {times} times, the published ones theirs 700 times at "
            f"most: --config.train.steps={PUBLISHED_EPOCHS * summary.batches} is as often"
        )


def _smaller_batches(experiment: Experiment, train: Feed, summary: PlanSummary) -> str:
    return (
        f"{counted(summary.repeated_rows, 'row')} of weight 0 for "
        f"{counted(summary.utterances, 'utterance')}: the "
        f"batches are too large for this corpus; {smaller_batches.told(experiment, train)}"
    )
