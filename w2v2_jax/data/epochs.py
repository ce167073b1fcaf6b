"""The tables of one epoch: which utterance, and which part of it, stands in which row."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.data.buckets import Bucket

ORDER, CROPS, PHASE = 1, 2, 3  # purposes of random draws, never shared


class Segment(NamedTuple):
    """`length` samples of an utterance of the corpus from sample `start` on."""

    utterance: int
    start: int
    length: int


class BatchPlan(NamedTuple):
    """One global batch: rows of `samples` samples, each made of segments laid end to end.

    weights: [R] float32, 1 for a real row, 0 for a filler row.
    """

    samples: int
    rows: tuple[tuple[Segment, ...], ...]
    weights: np.ndarray


class Epoch(Protocol):
    def batch(self, index: int) -> BatchPlan: ...


class BucketedEpoch(NamedTuple):
    """Shuffled utterances of every bucket and the shuffled order of all batches."""

    num_samples: np.ndarray  # [N]
    buckets: tuple[Bucket, ...]  # utterances in this epoch's order
    order: np.ndarray  # [steps] batch numbers, buckets one after the other
    ends: np.ndarray  # [buckets] where each bucket's batch numbers end
    crop_key: np.uint64
    mode: str

    def batch(self, index: int) -> BatchPlan:
        number = int(self.order[index])
        place = int(np.searchsorted(self.ends, number, side="right"))
        bucket = self.buckets[place]
        first = number - (int(self.ends[place - 1]) if place else 0)
        positions = first * bucket.rows + np.arange(bucket.rows)
        laps, positions = np.divmod(positions, len(bucket.utterances))
        utterances = bucket.utterances[positions]
        lengths = self.num_samples[utterances].astype(np.int64)
        starts = np.zeros_like(lengths)
        if self.mode == "crop":
            # A row that repeats an utterance to fill a batch gets another crop of it.
            draws = utterances + laps * len(self.num_samples)
            starts = uniform_integers(self.crop_key, draws, lengths - bucket.samples + 1)
            lengths = np.full_like(lengths, bucket.samples)
        rows = rows_of_bucket(utterances, starts, lengths)
        return BatchPlan(bucket.samples, rows, np.ones(bucket.rows, np.float32))


class StreamEpoch(NamedTuple):
    """All clips in this epoch's order as one circular stream, cut into rows."""

    num_samples: np.ndarray  # [N]
    bucket: Bucket  # utterances in this epoch's order
    ends: np.ndarray  # [n] where each clip ends in the stream
    phase: int  # where row 0 begins in the stream
    order: np.ndarray  # [steps * rows] shuffled row numbers: a cut clip's parts fall apart

    def batch(self, index: int) -> BatchPlan:
        samples, count, _ = self.bucket
        numbers = self.order[index * count : (index + 1) * count].astype(np.int64)
        starts = (self.phase + numbers * samples) % self.ends[-1]
        firsts = np.searchsorted(self.ends, starts, side="right")
        rows = tuple(
            self._row(int(s), int(k)) for s, k in zip(starts, firsts, strict=True)
        )  # fmt: skip
        return BatchPlan(samples, rows, np.ones(count, np.float32))

    def _row(self, position: int, clip: int) -> tuple[Segment, ...]:
        """Segments that cover `samples` samples of the stream from `position`, inside `clip`."""
        segments, missing = [], self.bucket.samples
        while missing:
            utterance = int(self.bucket.utterances[clip])
            left = int(self.ends[clip]) - position
            taken = min(left, missing)
            segments.append(Segment(utterance, int(self.num_samples[utterance]) - left, taken))
            missing -= taken
            clip = (clip + 1) % len(self.ends)
            position = int(self.ends[clip - 1]) if clip else 0
        return tuple(segments)


def bucketed_epoch(num_samples, buckets, *, seed: int, epoch: int, mode: str) -> BucketedEpoch:
    """Tables of an epoch in mode "crop" or "pad"."""
    rng = np.random.default_rng((seed, epoch, ORDER))
    shuffled = tuple(b._replace(utterances=_shuffled(rng, b.utterances)) for b in buckets)
    ends = np.cumsum([-(-len(b.utterances) // b.rows) for b in buckets])
    key = np.random.SeedSequence((seed, epoch, CROPS)).generate_state(1, np.uint64)[0]
    order = _shuffled(rng, np.arange(ends[-1], dtype=np.int32))
    return BucketedEpoch(num_samples, shuffled, order, ends, key, mode)


def stream_epoch(
    num_samples, buckets, *, seed: int, epoch: int, speakers: np.ndarray | None
) -> StreamEpoch:
    """Tables of an epoch in mode "concatenate".

    Each speaker's clips stand together, speakers and clips in random order: the negatives of a
    row are to come from the voice of its positives, as they do within one utterance.
    """
    rng = np.random.default_rng((seed, epoch, ORDER))
    utterances = _shuffled(rng, buckets[0].utterances)
    if speakers is not None:
        turns = rng.permutation(int(speakers.max()) + 1).astype(np.uint32)
        turn = turns[speakers][utterances]  # the small table first: it stays in the cache
        utterances = utterances[np.argsort(turn, kind="stable")]
    bucket = buckets[0]._replace(utterances=utterances)
    ends = np.cumsum(num_samples[bucket.utterances], dtype=np.int64)
    rows = -(-int(ends[-1]) // bucket.samples)
    rows = -(-rows // bucket.rows) * bucket.rows
    order = _shuffled(rng, np.arange(rows, dtype=np.int32))
    phase = int(np.random.default_rng((seed, epoch, PHASE)).integers(int(ends[-1])))
    return StreamEpoch(num_samples, bucket, ends, phase, order)


def rows_of_bucket(utterances, starts, lengths) -> tuple[tuple[Segment, ...], ...]:
    """Rows of one segment each from three arrays [R]."""
    table = zip(utterances.tolist(), starts.tolist(), lengths.tolist(), strict=True)
    return tuple((Segment(*row),) for row in table)


def uniform_integers(key: np.uint64, draws: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """[n] int64 uniform in [0, limits): one draw per (key, draw number), by SplitMix64.

    A counter-based generator (Steele, Lea and Flood 2014): the draw of an utterance depends on no
    other, and no generator has to be made for each.
    """
    x = draws.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    unit = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (unit * limits).astype(np.int64)


def _shuffled(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    result = values.copy()
    rng.shuffle(result)
    return result
