"""Whether batches can be right at all for the corpus and the machine, said before anything is
compiled; and which utterances their lengths leave out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError, counted
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.objectives.base import Objective
from w2v2_jax.system.device_memory import GIB, device_memory
from w2v2_jax.train import smaller_batches

EMPTY = 100  # times the rows that the corpus fills; batches of so many are a slip
BYTES = 4  # of a float32 sample


def check_batches(experiment: Experiment, train: Feed, valid: Feed | None) -> None:
    """Raises InputError that names the setting if an update has rows for far more audio than the
    corpus has, or if the waveforms of a batch alone exceed the memory of its devices."""
    summary = train.plan.summary()
    filled = summary.rows - summary.repeated_rows
    rows, _ = max(summary.shapes)
    if rows > train.config.row_multiple and summary.rows > EMPTY * filled:
        raise InputError(
            f"config.data.batch_seconds={train.config.batch_seconds:g} makes updates of {rows} "
            f"rows, of which the corpus fills {filled}; "
            f"{smaller_batches.told(experiment, train)}"
        )
    _check_waveforms(experiment, train, train.config.batch_seconds, "batch_seconds")
    if valid is not None:
        own = valid.config.valid_batch_seconds
        name = "valid_batch_seconds" if own else "batch_seconds"
        _check_waveforms(experiment, valid, own or valid.config.batch_seconds, name)


def mostly_fillers(feed: Feed) -> bool:
    """Whether more than half of the rows only fill batches."""
    summary = feed.plan.summary()
    return 2 * summary.repeated_rows > summary.rows


def head_alone(objective: Objective, *, steps: int) -> str:
    """A line for a run that ends before its encoder learns anything; "" for any other.

    Recipes train the head alone for a number of updates, not for a share of the run: one that is
    shortened, as to a few epochs of a small corpus, may have no others."""
    first = objective.expectations().slow_updates
    if not first or steps > first:
        return ""
    return (
        f"warning: config.objective.freeze_updates={first} of train.steps={steps}: the whole run "
        "trains only the head, and the encoder stays as it was; "
        f"--config.objective.freeze_updates={steps // 5} trains both after a fifth of the run"
    )


def _check_waveforms(experiment: Experiment, feed: Feed, seconds: float, name: str) -> None:
    capacity = device_memory(experiment.mesh.devices.flat[0], sharing=len(jax.devices()))
    rows, samples = max(feed.plan.shapes, key=lambda shape: shape[0] * shape[1])
    needed = BYTES * rows * samples / partition.rows_axis(experiment.mesh)
    if capacity is not None and needed > capacity:
        raise InputError(
            f"config.data.{name}={seconds:g} and data.row_multiple={feed.config.row_multiple} make "
            f"batches of {rows} rows x {samples / SAMPLE_RATE:g} s, whose waveforms alone take "
            f"{needed / GIB:.4g} GiB of a device's {capacity / GIB:.4g}; use smaller ones, or more "
            "devices"
        )


def left_out(train: Feed, valid: Feed | None) -> Iterator[str]:
    """For each split, a line on the utterances that are too short and one on those too long, with
    the option that keeps them."""
    yield from _left_out("train", train)
    if valid is not None:
        yield from _left_out("valid", valid)


def _left_out(name: str, feed: Feed) -> Iterator[str]:
    summary = feed.plan.summary()
    for side, count in (
        ("shorter", summary.dropped_too_short),
        ("longer", summary.dropped_too_long),
    ):
        if count:
            everything = counted(len(feed.corpus), "utterance")
            are = f"{'is' if count == 1 else 'are'} left out, {side} than"
            yield f"{name}: {count} of {everything} {are} {_remedy(name, feed, side)}"


def _remedy(name: str, feed: Feed, side: str) -> str:
    data, seconds = feed.config, feed.corpus.num_samples / SAMPLE_RATE
    training = name == "train"
    own = () if training else data.valid_bucket_seconds
    buckets = sorted(own or data.bucket_seconds)
    setting = f"--config.data.{'' if training else 'valid_'}bucket_seconds"
    if side == "longer":
        longest = math.ceil(seconds.max())
        return (
            f"the longest rows, {buckets[-1]:g} s; {_rows(setting, *buckets, longest)} takes them"
        )
    shortest = max(0.1, math.floor(10 * seconds.min()) / 10)
    bound = data.least_seconds() if training else buckets[0]
    options = []
    if shortest < buckets[0] and (data.mode == "crop" or not training):
        options.append(_rows(setting, shortest, *buckets))
    if training and (data.min_seconds or data.mode != "crop"):
        options.append(f"--config.data.min_seconds={shortest:g}")
    return f"{bound:g} s; {' '.join(options)} takes those from {shortest:g} s on"


def _rows(setting: str, *seconds: float) -> str:
    return f'{setting}="({", ".join(f"{x:g}" for x in seconds)})"'
