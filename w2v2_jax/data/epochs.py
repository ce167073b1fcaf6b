"""The tables of one epoch: which utterance, and which part of it, is in which row."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.data.buckets import Bucket
from w2v2_jax.data.layout import Layout

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
    """The batches of one epoch in order."""

    def number(self, index: int) -> int:
        """The number of the layout's batch at position `index` of the epoch."""

    def batch(self, index: int) -> BatchPlan: ...


class BucketedEpoch(NamedTuple):
    """An epoch's order of the utterances and of the batches that `layout` cuts them into."""

    num_samples: np.ndarray  # [N]
    samples: tuple[int, ...]  # row length of each bucket, in the layout's order
    layout: Layout
    utterances: np.ndarray  # [n] bucket after bucket, shuffled within each
    order: np.ndarray  # [batches] shuffled batch numbers
    crop_key: np.uint64
    mode: str
    repeats: bool  # whether an utterance may occur several times, each time with a new crop

    def number(self, index: int) -> int:
        return int(self.order[index])

    def batch(self, index: int) -> BatchPlan:
        number = self.number(index)
        bucket = int(self.layout.buckets[number])
        places, weights = rows_of_batch(self.layout, number)
        utterances, samples = self.utterances[places], self.samples[bucket]
        lengths = self.num_samples[utterances].astype(np.int64)
        starts = np.zeros_like(lengths)
        if self.mode == "crop":
            draws = places if self.repeats else utterances
            starts = uniform_integers(self.crop_key, draws, lengths - samples + 1)
            lengths = np.full_like(lengths, samples)
        return BatchPlan(samples, rows_of_bucket(utterances, starts, lengths), weights)


class StreamEpoch(NamedTuple):
    """All clips in this epoch's order as one circular stream, cut into rows.

    The rows begin at equal distances of at most their own length, so that no sample is left out and
    the overlap is spread over all rows.
    """

    num_samples: np.ndarray  # [N]
    bucket: Bucket  # utterances in this epoch's order
    layout: Layout
    ends: np.ndarray  # [n] where each clip ends in the stream
    phase: int  # where row 0 begins in the stream
    order: np.ndarray  # [rows] shuffled row numbers, which separates the parts of a clip

    def number(self, index: int) -> int:
        return index

    def batch(self, index: int) -> BatchPlan:
        places, weights = rows_of_batch(self.layout, index)
        numbers, total = self.order[places].astype(np.int64), int(self.ends[-1])
        starts = (self.phase + numbers * total // len(self.order)) % total
        firsts = np.searchsorted(self.ends, starts, side="right")
        rows = tuple(self._row(int(s), int(k)) for s, k in zip(starts, firsts, strict=True))
        return BatchPlan(self.bucket.samples, rows, weights)

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


def bucketed_epoch(
    num_samples, buckets, layout: Layout, *, seed: int, epoch: int, mode: str, repeats: bool
) -> BucketedEpoch:
    """Tables of an epoch in mode "crop" or "pad"; buckets in the layout's order. repeats: whether
    they hold an utterance more than once."""
    rng = np.random.default_rng((seed, epoch, ORDER))
    utterances = np.concatenate([_shuffled(rng, b.utterances) for b in buckets])
    key = np.random.SeedSequence((seed, epoch, CROPS)).generate_state(1, np.uint64)[0]
    order = _shuffled(rng, np.arange(len(layout.buckets), dtype=np.int32))
    samples = tuple(b.samples for b in buckets)
    return BucketedEpoch(num_samples, samples, layout, utterances, order, key, mode, repeats)


def stream_epoch(
    num_samples, buckets, layout: Layout, *, seed: int, epoch: int, speakers: np.ndarray | None
) -> StreamEpoch:
    """Tables of an epoch in mode "concatenate".

    The clips of each speaker are together, with speakers and clips in random order. So the
    negatives of a row come from the same voice as its positives, as within one utterance.
    """
    rng = np.random.default_rng((seed, epoch, ORDER))
    utterances = _shuffled(rng, buckets[0].utterances)
    if speakers is not None:
        turns = rng.permutation(int(speakers.max()) + 1).astype(np.uint32)
        turn = turns.take(speakers).take(utterances)  # the small table first: it stays in the cache
        utterances = utterances.take(_stable_order(turn))
    bucket = buckets[0]._replace(utterances=utterances)
    ends = np.cumsum(num_samples.take(utterances), dtype=np.int64)
    order = _shuffled(rng, np.arange(layout.starts[-1], dtype=np.int32))
    phase = int(np.random.default_rng((seed, epoch, PHASE)).integers(int(ends[-1])))
    return StreamEpoch(num_samples, bucket, layout, ends, phase, order)


def rows_of_batch(layout: Layout, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions in the epoch's order [R], weights [R] float32) of a batch's rows: its own
    positions, and then the same again with weight 0 until the batch is full."""
    first, end = layout.starts[number : number + 2]
    row = np.arange(layout.rows[layout.buckets[number]])
    return first + row % (end - first), (row < end - first).astype(np.float32)


def rows_of_bucket(utterances, starts, lengths) -> tuple[tuple[Segment, ...], ...]:
    """Rows of one segment each from three arrays [R]."""
    table = zip(utterances.tolist(), starts.tolist(), lengths.tolist(), strict=True)
    return tuple((Segment(*row),) for row in table)


def uniform_integers(key: np.uint64, draws: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """[n] int64 uniform in [0, limits): one draw per (key, draw number), by SplitMix64.

    A counter-based generator (Steele, Lea and Flood 2014): the draw of an utterance does not depend
    on any other draw, and no generator has to be made for each.
    """
    x = draws.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    unit = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (unit * limits).astype(np.int64)


def _stable_order(numbers: np.ndarray) -> np.ndarray:
    """[n] int64, np.argsort(numbers, kind="stable") of uint32 numbers in a third of its time: a
    number and its place are one number of 64 bits, which are sorted without their places."""
    keys = numbers.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint32)
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return keys.view(np.int64)


def _shuffled(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    result = values.copy()
    rng.shuffle(result)
    return result
