"""How an epoch's utterances are divided into batches: how many per batch, and the row lengths.

The utterances of an epoch are ordered by bucket and cut into batches of consecutive utterances,
with the row length of the first one's bucket. So the rest of one bucket joins the next. In "pad"
the longest bucket comes first, and a shorter clip may be in a longer row. In "crop" the shortest
bucket comes first, and a longer clip may be cropped to a shorter row, as fairseq crops a batch to
its shortest. Each utterance is in one batch, and rows that only fill up a batch have weight 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MORE, MORE_OF_FEW = 1.25, 4  # times, and plus, the fewest possible batches, to make them even
EVEN = 1.5  # utterances of an epoch's largest batch over those of its smallest
FEW = 0.02  # share of the utterances, the longest ones, that may be in even smaller batches
FULL = 0.97  # of a batch of crops, if there are enough of them
HEARD = 0.75  # share of each bucket's audio that is left after cropping to the batch's rows


class Layout(NamedTuple):
    """Batch k of an epoch has the utterances at positions starts[k] to starts[k + 1] of the epoch's
    order, in rows of bucket `buckets[k]`, which is a number in that order. rows: [buckets] rows of
    a batch.
    """

    starts: np.ndarray  # [batches + 1] int64
    buckets: np.ndarray  # [batches] int64
    rows: tuple[int, ...]

    @property
    def counts(self) -> np.ndarray:
        """[batches] utterances of each."""
        return np.diff(self.starts)

    @property
    def fillers(self) -> np.ndarray:
        """[batches] rows of weight 0."""
        return np.asarray(self.rows)[self.buckets] - self.counts

    @property
    def usual_counts(self) -> np.ndarray:
        """The counts without those of batches that have only the FEW first utterances."""
        return self.counts[self.starts[1:] > FEW * self.starts[-1]]


class Run(NamedTuple):
    """Batches that divide `count` utterances, from position `first`, as evenly as possible."""

    bucket: int
    first: int
    count: int  # type: ignore[assignment]
    batches: int

    def starts(self) -> np.ndarray:
        return self.first + np.arange(self.batches, dtype=np.int64) * self.count // self.batches


def padded_layout(sizes: Sequence[int], most: Sequence[int], multiple: int) -> Layout:
    """Layout of whole utterances. sizes, most: number of utterances in each bucket and most rows of
    its batches, longest bucket first, so that `most` rises; multiple: divides the number of rows.

    The weight of an utterance is one over the number of utterances in its update, so batches should
    hold similar numbers: those of the long buckets as many as they may, and all others equal
    numbers. A few more batches than necessary are made if all but a `FEW` utterances are then
    within `EVEN` of each other. (In fairseq an update consists of 8 to 24 batches of all lengths,
    so utterances have about the same weight.)
    """
    ends = np.cumsum(sizes).tolist()
    fewest = _fewest(ends, most)
    for batches in range(fewest, int(fewest * MORE) + MORE_OF_FEW + 1):
        runs = _even_runs(ends, most, batches)
        if _is_even(runs):
            break
    else:
        runs = _even_runs(ends, most, fewest)
    starts = np.concatenate([run.starts() for run in runs])
    buckets = np.searchsorted(ends, starts, side="right")
    starts = np.append(starts, ends[-1])
    rows = list(most)
    for bucket in np.unique(buckets):
        largest = int(np.diff(starts)[buckets == bucket].max())
        rows[bucket] = -(-largest // multiple) * multiple
    return Layout(starts, buckets, tuple(rows))


def _fewest(ends, most) -> int:
    """Batches with as many utterances as the bucket of their first utterance allows."""
    place = batches = 0
    for end, rows in zip(ends, most, strict=True):
        more = max(0, -(-(end - place) // rows))
        place, batches = place + more * rows, batches + more
    return batches


def _even_runs(ends, most, batches: int) -> list[Run]:
    """`batches` batches: full ones until the rest fits into the others, then equal ones."""
    place, runs = 0, list[Run]()
    for bucket, (end, rows) in enumerate(zip(ends, most, strict=True)):
        if place >= end:
            continue
        if ends[-1] - place <= batches * rows:
            return [*runs, Run(bucket, place, ends[-1] - place, batches)]
        full = -(-(end - place) // rows)
        runs.append(Run(bucket, place, full * rows, full))
        place, batches = place + full * rows, batches - full
    raise AssertionError("more utterances than the fewest batches hold")


def _is_even(runs: list[Run]) -> bool:
    """Whether batches hold similar numbers, except those of the few longest utterances."""
    few = FEW * sum(run.count for run in runs)
    most = [run for run in runs if run.first + run.count > few]
    return max(map(_largest, most)) < EVEN * min(run.count // run.batches for run in most)


def _largest(run: Run) -> int:
    return -(-run.count // run.batches)


def cropped_layout(sizes: Sequence[int], samples: Sequence[int], rows: Sequence[int]) -> Layout:
    """Layout of crops. sizes, samples, rows: utterances of each bucket, its row length and the
    rows of its batches, shortest bucket first.

    Full batches have the same amount of audio. A corpus with few batches has smaller ones, again
    with equal amounts, if full ones would crop away more than a quarter of it in every epoch.
    """
    held = float(np.dot(sizes, samples))
    fill = 1.0
    while True:
        most = [max(1, int(fill * n)) for n in rows]
        runs = _settled(_full_runs(np.cumsum(sizes).tolist(), most), most, rows)
        heard = sum(run.count * samples[run.bucket] for run in runs)
        if heard >= HEARD * held:
            break
        fill *= 0.9
    starts = np.concatenate([run.starts() for run in runs])
    buckets = np.repeat([run.bucket for run in runs], [run.batches for run in runs])
    return Layout(np.append(starts, sum(sizes)), buckets, tuple(rows))


def _full_runs(ends, most) -> list[Run]:
    """A run of full batches for each bucket that starts one; the last run may be less full."""
    place, runs = 0, []
    for bucket, (end, rows) in enumerate(zip(ends, most, strict=True)):
        if place < end:
            batches = -(-(end - place) // rows)
            count = min(batches * rows, ends[-1] - place)
            runs.append(Run(bucket, place, count, batches))
            place += count
    return runs


def _settled(runs: list[Run], most, rows) -> list[Run]:
    """The runs, if the last one's batches are not full, after moving what is left over: the
    shortest utterances of each run go to the run before, until nothing changes much."""
    choices, tail, left = [], list[Run](), 0
    for k in reversed(range(len(runs))):
        run, wanted = runs[k], most[runs[k].bucket]
        count = run.count + left
        batches = max(1, round(count / wanted), -(-count // rows[run.bucket]))
        fill = count / (batches * wanted)
        choices.append(
            (min(fill, 1 / fill), [*runs[:k], run._replace(count=count, batches=batches), *tail])
        )
        if choices[-1][0] >= FULL:
            break
        full, left = divmod(count, wanted)
        if full:
            tail.insert(0, Run(run.bucket, run.first + left, count - left, full))
    return max(choices, key=lambda choice: choice[0])[1]


def joined_layout(rows_needed: int, rows: int) -> Layout:
    """Layout of rows cut from one stream: the fewest batches, with similar numbers of rows."""
    run = Run(0, 0, rows_needed, -(-rows_needed // rows))
    return Layout(np.append(run.starts(), rows_needed), np.zeros(run.batches, np.int64), (rows,))
