"""From a plan and a prepared corpus to batches of numpy arrays, read in advance and in parallel."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Generator

import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.data.augment import Augmentation, RowChanges
from w2v2_jax.data.damage import Damage
from w2v2_jax.data.plan import AnyPlan, BatchPlan
from w2v2_jax.data.tensorflow_host import import_tensorflow
from w2v2_jax.data.transcribed import AnyCorpus
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import EPSILON, gain
from w2v2_jax.vocabulary import Vocabulary

FULL_SCALE = 32768
LABEL_MULTIPLE = 16
WAITING = 4  # batches that are made in advance


def batches(
    corpus: AnyCorpus,
    plan: AnyPlan,
    *,
    first_step: int,
    num_steps: int | None,
    normalise: bool,
    workers: int,
    parts: tuple[int, ...] = (0,),
    num_parts: int = 1,
    vocabulary: Vocabulary | None = None,
    max_labels: dict[int, int] | None = None,
    reader: str = "tfdata",
    prefetch_bytes: int = 2 << 30,
    damage: Damage | None = None,
    epsilon: float = EPSILON,
    augmentation: Augmentation | None = None,
) -> Generator[Batch]:
    """Batches of steps `first_step`, `first_step + 1`, ... in order, made in advance by `workers`.

    num_steps: how many batches; None means endless, or to the end of an evaluation plan.
    parts: which of `num_parts` equal pieces of every global batch's R rows to read, one after the
        other: part p of P is rows p*R/P to (p+1)*R/P. All hosts have the same bucket at a step.
    vocabulary: adds labels, [rows, U] with one U per bucket (`max_labels`, by default
        `label_widths`); only for plans of whole utterances.
    normalise: zero mean and unit variance over the whole file (epsilon is added to the variance);
        otherwise samples are scaled to [-1, 1].
    reader: one of READERS; both give identical batches.
    prefetch_bytes: see `in_flight`.
    damage: rows with samples that fail their checksum become silent and get weight 0.
    augmentation: how the rows are changed.
    The arrays may be read-only. Closing the generator stops its threads.
    Raises InputError, before anything is read, if the arguments do not fit each other.
    """
    _check(plan, first_step, parts, num_parts, vocabulary, reader)
    if vocabulary is not None and max_labels is None:
        max_labels = label_widths(corpus, plan, vocabulary)
    widths = max_labels or {}
    last = None if num_steps is None else first_step + num_steps
    if plan.num_steps is not None:
        last = min(plan.num_steps, plan.num_steps if last is None else last)

    def make(step: int) -> Batch:
        batch = plan.batch(step)
        part = host_rows(batch, parts=parts, num_parts=num_parts)
        changes = None
        if augmentation is not None:
            numbers = row_numbers(len(batch.rows), parts=parts, num_parts=num_parts)
            changes = augmentation.changes(corpus, step, numbers)
        width = None if vocabulary is None else widths[part.samples]
        return make_batch(
            corpus, part, normalise=normalise, vocabulary=vocabulary, label_width=width,
            damage=damage, epsilon=epsilon,
            changes=changes,
        )  # fmt: skip

    largest = max(rows * samples for rows, samples in plan.shapes) * 4 * len(parts) // num_parts
    making, waiting = in_flight(largest, workers=workers, prefetch_bytes=prefetch_bytes)
    return READERS[reader](make, first_step, last, making, waiting, vocabulary is not None)


def in_flight(batch_bytes: int, *, workers: int, prefetch_bytes: int) -> tuple[int, int]:
    """(batches made at the same time, finished batches that wait), which have at most
    `prefetch_bytes` together; one of each even if they are larger."""
    most = max(prefetch_bytes // batch_bytes, 2)
    waiting = min(WAITING, most // 2)
    return min(workers, most - waiting), waiting


def _check(plan, first_step, parts, num_parts, vocabulary, reader) -> None:
    if first_step < 0:
        raise InputError(f"first_step={first_step} must be at least 0")
    if reader not in READERS:
        raise InputError(f"data.reader={reader!r} is unknown; use one of {', '.join(READERS)}")
    if not parts or min(parts) < 0 or max(parts) >= num_parts:
        raise InputError(f"parts {parts} of a batch are outside 0..{num_parts - 1}")
    for rows, samples in plan.shapes:
        if rows % num_parts:
            raise InputError(
                f"batches of {rows} rows (bucket {samples}) do not divide into {num_parts} parts; "
                f"make data.row_multiple a multiple of {num_parts}"
            )
    if vocabulary is not None and plan.mode != "pad":
        raise InputError(f"labels need whole utterances: data.mode={plan.mode!r}; use 'pad'")


def host_rows(plan: BatchPlan, *, parts: tuple[int, ...], num_parts: int) -> BatchPlan:
    """The rows of a global batch that one host reads."""
    numbers = row_numbers(len(plan.rows), parts=parts, num_parts=num_parts)
    return BatchPlan(plan.samples, tuple(plan.rows[n] for n in numbers), plan.weights[numbers])


def row_numbers(rows: int, *, parts: tuple[int, ...], num_parts: int) -> list[int]:
    """Numbers in the global batch of `rows` of the rows that one host reads."""
    size = rows // num_parts
    return [row for part in parts for row in range(part * size, (part + 1) * size)]


def make_batch(
    corpus: AnyCorpus,
    plan: BatchPlan,
    *,
    normalise: bool,
    vocabulary: Vocabulary | None,
    label_width: int | None,
    damage: Damage | None = None,
    epsilon: float = EPSILON,
    changes: RowChanges | None = None,
) -> Batch:
    """Reads the rows of `plan`: a pure function of its arguments and the corpus on disk. changes:
    how each row is augmented."""
    weights = plan.weights
    if damage is not None:
        whole = [all([damage.whole(part.utterance) for part in row]) for row in plan.rows]
        weights = weights * np.array(whole, np.float32)
    waveforms = np.zeros((len(plan.rows), plan.samples), np.float32)  # [B, S]
    num_samples = np.zeros(len(plan.rows), np.int32)
    for row, segments in enumerate(plan.rows):
        if plan.weights[row] and not weights[row]:
            num_samples[row] = sum(part.length for part in segments)
            continue
        added = epsilon if normalise else None
        end = changes.read(row, segments, waveforms[row], added) if changes else None
        if end is None:
            end = _read_row(corpus, segments, waveforms[row], added)
        num_samples[row] = end
    labels, num_labels = None, None
    if vocabulary is not None:
        assert label_width is not None
        texts = [corpus.text(segments[0].utterance) for segments in plan.rows]
        labels, num_labels = _labels(texts, vocabulary, label_width)
    return Batch(waveforms, num_samples, weights, labels, num_labels)


def _read_row(corpus: AnyCorpus, segments, out: np.ndarray, epsilon: float | None) -> int:
    """Reads the segments into `out`; returns how many samples they have."""
    end = 0
    for utterance, start, length in segments:
        samples = corpus.read(utterance, start, length)
        scale, shift = _scale_and_shift(corpus, utterance, epsilon)
        part = out[end : end + length]
        np.multiply(samples, scale, out=part)
        if shift:
            part += shift
        end += length
    return end


def _scale_and_shift(corpus: AnyCorpus, utterance: int, epsilon: float | None):
    """float32 (a, b) with waveform = a * int16 + b, normalised by the statistics of the whole file
    if there is an epsilon."""
    if epsilon is None:
        return np.float32(1 / FULL_SCALE), np.float32(0)
    mean, std = float(corpus.mean[utterance]), float(corpus.std[utterance])
    scale = gain(std * std, epsilon)
    return np.float32(scale / FULL_SCALE), np.float32(-mean * scale)


def _labels(texts: list[str], vocabulary: Vocabulary, width: int) -> tuple[np.ndarray, np.ndarray]:
    """([B, U] int32 padded with 0, [B] int32)."""
    labels = np.zeros((len(texts), width), np.int32)
    num_labels = np.zeros(len(texts), np.int32)
    for row, text in enumerate(texts):
        ids = vocabulary.encode(text)
        if len(ids) > width:
            raise InputError(f"a transcript has {len(ids)} labels, more than the {width} of U")
        labels[row, : len(ids)], num_labels[row] = ids, len(ids)
    return labels, num_labels


def label_widths(corpus: AnyCorpus, plan: AnyPlan, vocabulary: Vocabulary) -> dict[int, int]:
    """bucket samples -> U: its longest label rounded up to a multiple of 16, the same on all hosts.

    Utterances of shorter buckets may be in its rows, so their labels count too.

    Raises InputError when no utterance of the plan has a transcript.
    """
    longest = {
        b.samples: max(len(vocabulary.encode(corpus.text(int(i)))) for i in b.utterances)
        for b in plan.buckets
    }
    if not any(longest.values()):
        raise InputError(f"{corpus.directory}: no transcripts, so there are no labels to train on")
    most = itertools.accumulate(longest.values(), max, initial=1)
    next(most)
    return {s: -(-n // LABEL_MULTIPLE) * LABEL_MULTIPLE for s, n in zip(longest, most, strict=True)}


def read_with_threads(
    make: Callable[[int], Batch],
    first: int,
    last: int | None,
    workers: int,
    prefetch: int,
    has_labels: bool,
) -> Generator[Batch]:
    """`make(step)` for the steps in order, by a pool of threads; needs nothing but numpy."""
    del has_labels
    steps = itertools.count(first) if last is None else iter(range(first, last))
    pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="w2v2-data")
    try:
        ahead = itertools.islice(steps, workers + prefetch)
        pending = collections.deque(pool.submit(make, step) for step in ahead)
        while pending:
            batch = pending.popleft().result()
            pending.extend(pool.submit(make, step) for step in itertools.islice(steps, 1))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_with_tfdata(
    make: Callable[[int], Batch],
    first: int,
    last: int | None,
    workers: int,
    prefetch: int,
    has_labels: bool,
) -> Generator[Batch]:
    """`make(step)` for the steps in order, by tf.data. TensorFlow never sees a GPU."""
    tf = import_tensorflow("data.reader='tfdata' (use 'threads' without it)")
    types = [tf.float32, tf.int32, tf.float32] + [tf.int32, tf.int32] * has_labels
    failures: list[Exception] = []

    def call(step):
        try:
            return [field for field in make(int(step)) if field is not None]
        except Exception as error:
            failures.append(error)
            raise

    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    options.deterministic = True
    steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max if last is None else last)
    dataset = steps.map(
        lambda step: tf.numpy_function(call, [step], types),
        num_parallel_calls=workers,
        deterministic=True,
    )
    iterator = dataset.prefetch(prefetch).with_options(options).as_numpy_iterator()
    try:
        for fields in iterator:
            yield Batch(*fields)
    except tf.errors.OpError:
        raise failures[0] if failures else RuntimeError("tf.data failed") from None
    finally:
        del iterator, dataset


READERS = {"tfdata": read_with_tfdata, "threads": read_with_threads}
