"""Length buckets: which utterance has which static row length, and what is left out."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError, counted

EDGES_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 600)
TOO_SHORT, TOO_LONG = -1, -2
UNEVEN = 2  # utterances of the largest update over those of the smallest, from which it is told
MODES = {
    "crop": "random crops of exactly the bucket, never padded (pretraining)",
    "concatenate": "clips of one speaker joined end to end into rows without padding (pretraining)",
    "pad": "whole utterances, zero padded up to the bucket (CTC)",
}


class Bucket(NamedTuple):
    """Row length, rows per batch, and the utterances [n] int32 that belong here."""

    samples: int
    rows: int
    utterances: np.ndarray


class PlanSummary(NamedTuple):
    """What a plan uses and what it leaves out; `str` gives one readable line.

    hours: audio of the used utterances. per_bucket: samples -> utterances. batches, rows: their
    number per epoch; repeated_rows: rows of weight 0, which repeat others to fill up batches.
    shapes: (rows, samples) of the batches. counts: fewest and most utterances of a batch, of those
    whose utterances weigh one over their number.
    """

    utterances: int
    dropped_too_short: int
    dropped_too_long: int
    hours: float
    per_bucket: dict[int, int]
    batches: int
    rows: int
    repeated_rows: int
    shapes: tuple[tuple[int, int], ...]
    counts: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        buckets = ", ".join(f"{s / SAMPLE_RATE:g} s: {n}" for s, n in self.per_bucket.items())
        shapes = ", ".join(f"{rows} x {s / SAMPLE_RATE:g} s" for rows, s in self.shapes)
        fewest, most = self.counts
        uneven = (
            f"; updates of {fewest} to {most} utterances: one of the smallest counts "
            f"{most / fewest:.1f} times as much as one of the largest"
        )
        return (
            f"{counted(self.utterances, 'utterance')}, {duration(3600 * self.hours)} used; "
            f"dropped: {self.dropped_too_short} too short, {self.dropped_too_long} too long; "
            f"buckets: {buckets}; {counted(self.batches, 'batch')} per epoch in shapes {shapes}; "
            f"rows that only fill batches (weight 0): {self.repeated_rows} of {self.rows}"
            f"{uneven if most >= UNEVEN * fewest else ''}"
        )


def duration(seconds: float) -> str:
    """A length of audio for people: "17.3 s", "12.4 h"."""
    return f"{seconds:.4g} s" if seconds < 360 else f"{seconds / 3600:.3g} h"


def rows_per_batch(bucket: int, *, batch_samples: int, row_multiple: int) -> int:
    """Rows of `bucket` samples in a batch of at most `batch_samples` samples, padding counted.

    A multiple of `row_multiple` (devices times microbatches), and at least that, so that every
    bucket has one static shape (fairseq `batch_by_size`, max_tokens).
    """
    return max(row_multiple, batch_samples // bucket // row_multiple * row_multiple)


def length_histogram(num_samples: np.ndarray) -> str:
    """One line "under 0.1 s: 3, 0.5-1 s: 12, ..." of utterance lengths at 16 kHz."""
    edges = np.asarray(EDGES_SECONDS) * SAMPLE_RATE
    places = np.searchsorted(edges, num_samples, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    names = [f"under {EDGES_SECONDS[0]} s"]
    names += [f"{a}-{b} s" for a, b in itertools.pairwise(EDGES_SECONDS)]
    names += [f"over {EDGES_SECONDS[-1]} s"]
    return ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True) if c) or "none"


def make_buckets(num_samples, mode, bucket_samples, batch_samples, row_multiple, min_samples):
    """Non-empty buckets by rising length, and (dropped too short, dropped too long)."""
    sizes = tuple(sorted({int(s) for s in bucket_samples}))
    if mode not in MODES:
        raise InputError(f"data.mode={mode!r} is unknown; use one of {', '.join(MODES)}")
    if not sizes or sizes[0] < 1:
        raise InputError(f"data.bucket_samples={bucket_samples} must be positive lengths")
    if row_multiple < 1 or batch_samples < 1:
        raise InputError(f"{batch_samples=} and {row_multiple=} must be positive")
    if mode == "concatenate":
        sizes = sizes[-1:]
    place = _assign(num_samples, mode, sizes, min_samples)
    dropped = int((place == TOO_SHORT).sum()), int((place == TOO_LONG).sum())
    buckets = []
    for k, size in enumerate(sizes):
        members = np.flatnonzero(place == k).astype(np.int32)
        if len(members):
            rows = rows_per_batch(size, batch_samples=batch_samples, row_multiple=row_multiple)
            buckets.append(Bucket(size, rows, members))
    if not buckets:
        raise InputError(
            f"data: none of {len(num_samples)} utterances is usable in mode {mode} with buckets "
            f"{', '.join(f'{s / SAMPLE_RATE:g} s' for s in sizes)} (too short: {dropped[0]}, "
            f"too long: {dropped[1]}); lengths: {length_histogram(num_samples)}; "
            "data.bucket_seconds, of validation data.valid_bucket_seconds, sets other buckets"
        )
    return tuple(buckets), dropped


def _assign(num_samples, mode, sizes, min_samples) -> np.ndarray:
    """[N] int16: bucket of every utterance, or TOO_SHORT, or TOO_LONG."""
    if mode == "concatenate":
        place = np.zeros(len(num_samples), np.int16)
    elif mode == "crop":
        place = (np.searchsorted(sizes, num_samples, side="right") - 1).astype(np.int16)
    else:
        place = np.searchsorted(sizes, num_samples, side="left").astype(np.int16)
        place[place == len(sizes)] = TOO_LONG
    place[num_samples < max(1, min_samples)] = TOO_SHORT
    return place


def summarise(buckets, dropped, total_samples, shapes, batches: list[int], repeated) -> PlanSummary:
    """batches: number per epoch, for each of `shapes`."""
    return PlanSummary(
        utterances=sum(len(b.utterances) for b in buckets),
        dropped_too_short=dropped[0],
        dropped_too_long=dropped[1],
        hours=total_samples / SAMPLE_RATE / 3600,
        per_bucket={b.samples: len(b.utterances) for b in buckets},
        batches=sum(batches),
        rows=sum(n * rows for n, (rows, _) in zip(batches, shapes, strict=True)),
        repeated_rows=repeated,
        shapes=tuple(shapes),
    )
