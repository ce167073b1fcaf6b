"""The order of the data as a pure function of (seed, step): numpy only, the same on every host.

Only the step has to be saved. A batch is computed from the tables of its epoch, so resuming takes
the same time at step 10 and at step 400000, and the number of hosts changes nothing.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.buckets import (
    MODES,
    Bucket,
    PlanSummary,
    length_histogram,
    make_buckets,
    rows_per_batch,
    summarise,
)
from w2v2_jax.data.epochs import (
    BatchPlan,
    Epoch,
    Segment,
    bucketed_epoch,
    rows_of_bucket,
    stream_epoch,
)
from w2v2_jax.data.layout import Layout, cropped_layout, joined_layout, padded_layout
from w2v2_jax.data.mixture import Mixture
from w2v2_jax.data.repeats import make_repeats
from w2v2_jax.errors import InputError

__all__ = [
    "MODES",
    "SAMPLE_RATE",
    "AnyPlan",
    "BatchPlan",
    "Bucket",
    "EvaluationPlan",
    "Plan",
    "PlanSummary",
    "Segment",
    "evaluation_plan",
    "length_histogram",
    "rows_per_batch",
]

TABLE_BITS = 20  # size of a table that stays in the cache


class AnyPlan(Protocol):
    """What the pipeline needs from a plan. `num_steps` is None for an endless plan."""

    mode: str
    buckets: tuple[Bucket, ...]

    @property
    def num_steps(self) -> int | None: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def shapes(self) -> list[tuple[int, int]]: ...

    def batch(self, step: int) -> BatchPlan: ...


class Plan:
    """Endless training plan: `batch(step)` for any step >= 0, independent of all other steps.

    num_samples: [N] length of every utterance of the corpus, 16 kHz samples.
    mode: "crop", "concatenate" or "pad" (see MODES). crop puts an utterance into the largest
    bucket it fills and takes a random crop, so long files are kept (docs/traps.md#t40); pad
    takes the smallest bucket that holds it. concatenate uses the largest bucket only.
    bucket_samples: row lengths S; each non-empty one is a compiled shape.
    batch_samples, row_multiple: see `rows_per_batch`. In pad, a bucket has fewer rows if its
    batches never hold that many.
    min_samples: shorter utterances are dropped and counted.
    speakers: [N] integers, equal for one speaker; concatenate joins a speaker's clips.
    mixture: shares of several corpora (`data.repeats`); None if shares are those of the audio.

    Every epoch shuffles the utterances of each bucket, cuts them into batches by `data.layout`,
    with each utterance in one batch, and shuffles the batches; all epochs have `steps_per_epoch`
    steps. Rows that only fill up a batch have weight 0. Raises InputError for unusable arguments
    or if nothing is usable.
    Safe to call from several threads.
    """

    num_steps = None

    def __init__(
        self,
        num_samples: np.ndarray,
        *,
        seed: int,
        mode: str,
        bucket_samples: tuple[int, ...],
        batch_samples: int,
        row_multiple: int,
        min_samples: int,
        speakers: np.ndarray | None = None,
        mixture: Mixture | None = None,
    ):
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError(f"seed={seed!r} of a plan must be a whole number, at least 0")
        self.seed, self.mode = seed, mode
        self.num_samples = np.asarray(num_samples)
        if speakers is not None:
            speakers = np.asarray(speakers)
            if speakers.shape != self.num_samples.shape or speakers.dtype.kind not in "iu":
                raise InputError(
                    f"speakers {speakers.dtype} {list(speakers.shape)} are not one whole number "
                    f"for each of the {len(self.num_samples)} utterances"
                )
        buckets, self._dropped = make_buckets(
            self.num_samples, mode, bucket_samples, batch_samples, row_multiple, min_samples
        )
        self.speakers = None if speakers is None else _numbered(speakers)
        self._total = sum(int(self.num_samples[b.utterances].sum()) for b in buckets)
        if mode == "concatenate" and self._total < buckets[0].samples:
            raise InputError(
                f"data: {self._total / SAMPLE_RATE:.1f} s of audio do not fill one row of "
                f"{buckets[0].samples / SAMPLE_RATE:g} s; use a smaller bucket or more audio"
            )
        # In the layout's order, which is by rising or by falling row length.
        self._ordered = buckets[::-1] if mode == "pad" else buckets
        self.repeats = None
        if mixture is not None:
            ordered, crops = list(self._ordered), mode == "crop"
            self.repeats = make_repeats(ordered, self.num_samples, mixture, crops=crops)
        self.layout = self._make_layout(row_multiple)
        rows = zip(self._ordered, self.layout.rows, strict=True)
        buckets = [b._replace(rows=n) for b, n in rows]
        self.buckets = tuple(sorted(buckets, key=lambda b: b.samples))
        self._epochs: dict[int, Epoch] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """For another process: a lock cannot be sent, and tables are made again."""
        return self.__dict__ | {"_lock": None, "_epochs": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _make_layout(self, row_multiple: int) -> Layout:
        sizes = [len(b.utterances) for b in self._ordered]
        if self.repeats is not None:
            sizes = list(self.repeats.sizes)
        samples, rows = ([b[k] for b in self._ordered] for k in (0, 1))
        if self.mode == "pad":
            return padded_layout(sizes, rows, row_multiple)
        if self.mode == "crop":
            return cropped_layout(sizes, samples, rows)
        return joined_layout(-(-self._total // samples[0]), rows[0])

    @property
    def steps_per_epoch(self) -> int:
        return len(self.layout.buckets)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, samples) of every bucket with batches: all shapes a step is compiled for."""
        return [shape for shape, _ in self._batches_of_shapes()]

    def _batches_of_shapes(self) -> list[tuple[tuple[int, int], int]]:
        """Each shape and its batches in an epoch, by rising row length."""
        counts = np.bincount(self.layout.buckets, minlength=len(self._ordered))
        shapes = zip(self.layout.rows, [b.samples for b in self._ordered], strict=True)
        used = [(shape, int(n)) for shape, n in zip(shapes, counts, strict=True) if n]
        return sorted(used, key=lambda one: one[0][1])

    def epoch(self, step: int) -> int:
        return step // self.steps_per_epoch

    def batch(self, step: int) -> BatchPlan:
        """The global batch of `step`; costs O(rows), plus the tables when its epoch is new."""
        if step < 0:
            raise IndexError(f"step {step} of a plan is below 0")
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._tables(epoch).batch(index)

    def fillers(self, step: int) -> int:
        """Rows of weight 0 in the global batch of `step`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return int(self.layout.fillers[self._tables(epoch).number(index)])

    def _tables(self, epoch: int) -> Epoch:
        """Tables of an epoch; two are kept because batches in advance may be in the next epoch."""
        with self._lock:
            if epoch not in self._epochs:
                for old in sorted(self._epochs)[:-1]:
                    del self._epochs[old]
                self._epochs[epoch] = self._build(epoch)
            return self._epochs[epoch]

    def _build(self, epoch: int) -> Epoch:
        place: dict[str, Any] = dict(seed=self.seed, epoch=epoch)
        buckets = self._ordered
        if self.repeats is not None:
            buckets = self.repeats.buckets(list(buckets), **place)
        tables = self.num_samples, buckets, self.layout
        if self.mode == "concatenate":
            return stream_epoch(*tables, speakers=self.speakers, **place)
        repeats = self.repeats is not None
        return bucketed_epoch(*tables, mode=self.mode, repeats=repeats, **place)

    def summary(self) -> PlanSummary:
        shapes, batches = map(list, zip(*self._batches_of_shapes(), strict=True))
        fillers = int(self.layout.fillers.sum())
        summary = summarise(self.buckets, self._dropped, self._total, shapes, batches, fillers)
        if self.mode != "pad":
            return summary
        counts = self.layout.usual_counts
        return summary._replace(counts=(int(counts.min()), int(counts.max())))


class EvaluationPlan:
    """Every usable utterance exactly once, by rising length, in static bucket shapes.

    The last batch of a bucket is filled with rows of weight 0, which repeat the bucket's longest
    utterance so that every value stays finite. `batch(step)` holds for 0 <= step < num_steps.
    """

    def __init__(
        self,
        num_samples: np.ndarray,
        *,
        bucket_samples: tuple[int, ...],
        batch_samples: int,
        row_multiple: int,
        mode: str,
    ):
        if mode == "concatenate":
            raise InputError("evaluation plan: mode 'concatenate' is unknown; use 'pad' or 'crop'")
        self.mode = mode
        self.num_samples = np.asarray(num_samples)
        buckets, self._dropped = make_buckets(
            self.num_samples, mode, bucket_samples, batch_samples, row_multiple, 1
        )
        self.buckets = tuple(b._replace(utterances=self._by_length(b.utterances)) for b in buckets)
        self._ends = np.cumsum([-(-len(b.utterances) // b.rows) for b in self.buckets])

    def _by_length(self, utterances: np.ndarray) -> np.ndarray:
        return utterances[np.argsort(self.num_samples[utterances], kind="stable")]

    @property
    def num_steps(self) -> int:
        return int(self._ends[-1])

    @property
    def steps_per_epoch(self) -> int:
        return self.num_steps

    @property
    def shapes(self) -> list[tuple[int, int]]:
        return [(b.rows, b.samples) for b in self.buckets]

    def batch(self, step: int) -> BatchPlan:
        if not 0 <= step < self.num_steps:
            raise IndexError(f"evaluation step {step} is outside 0..{self.num_steps - 1}")
        place = int(np.searchsorted(self._ends, step, side="right"))
        bucket = self.buckets[place]
        first = step - (int(self._ends[place - 1]) if place else 0)
        positions = first * bucket.rows + np.arange(bucket.rows)
        real = positions < len(bucket.utterances)
        utterances = bucket.utterances[np.minimum(positions, len(bucket.utterances) - 1)]
        lengths = np.minimum(self.num_samples[utterances], bucket.samples)
        rows = rows_of_bucket(utterances, np.zeros_like(lengths), lengths)
        return BatchPlan(bucket.samples, rows, real.astype(np.float32))

    def summary(self) -> PlanSummary:
        total = sum(int(self.num_samples[b.utterances].sum()) for b in self.buckets)
        filler = sum(-len(b.utterances) % b.rows for b in self.buckets)
        batches = [-(-len(b.utterances) // b.rows) for b in self.buckets]
        return summarise(self.buckets, self._dropped, total, self.shapes, batches, filler)


def evaluation_plan(
    num_samples: np.ndarray,
    *,
    bucket_samples: tuple[int, ...],
    batch_samples: int,
    row_multiple: int,
    mode: str,
) -> EvaluationPlan:
    """A finite plan for evaluation: "pad" keeps whole utterances (longer than the largest bucket
    are dropped and counted), "crop" takes the first samples (shorter than the smallest bucket are
    dropped and counted). Raises InputError when nothing is usable."""
    return EvaluationPlan(
        num_samples,
        bucket_samples=bucket_samples,
        batch_samples=batch_samples,
        row_multiple=row_multiple,
        mode=mode,
    )


def _numbered(speakers: np.ndarray) -> np.ndarray:
    """[N] int32 positions of the speakers among the sorted distinct ones: the same as np.unique's
    inverse, in a third of its memory.

    A table of the highest bits says where to look. That is right for nearly all numbers that are
    spread evenly, as hashes are; the rest are searched."""
    known = np.sort(speakers)
    known = known[np.concatenate([[True], known[1:] != known[:-1]])]
    span = int(known[-1]) - int(known[0])
    shift = np.uint64(max(0, span.bit_length() - min(TABLE_BITS, len(known).bit_length() + 4)))
    heads = (known - known[0]).astype(np.uint64) >> shift
    table = np.searchsorted(heads, np.arange(int(heads[-1]) + 1, dtype=np.uint64))
    places = (speakers - known[0]).astype(np.uint64)
    places >>= shift
    numbers = table.astype(np.int32).take(places.view(np.int64))
    rest = np.flatnonzero(known.take(numbers) != speakers)
    numbers[rest] = np.searchsorted(known, speakers[rest])
    return numbers
