import itertools
import pickle
import re
import sys
import threading
import zlib

import numpy as np
import pytest

from w2v2_jax.data import pipeline
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.corpus import Entry, open_corpus
from w2v2_jax.data.pipeline import batches, in_flight, label_widths
from w2v2_jax.data.plan import Plan, evaluation_plan
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import LIBRISPEECH

WORDS = "THE CAT SAT ON A MAT WITH ITS HAT".split()  # noqa: SIM905
BUCKETS = (4_000, 8_000, 16_000)


def make_corpus(directory, *, lengths, text=True):
    """A split `train` of loud, offset noise; several shards."""
    rng = np.random.default_rng(0)
    writer = CorpusWriter(directory / "train", shard_bytes=200_000)
    for k, length in enumerate(lengths):
        samples = (rng.standard_normal(length) * 50 * (k % 7 + 1) + 30 * k).astype("<i2")
        scaled = samples / 32768
        words = " ".join(WORDS[: k % len(WORDS) + 1]) if text else ""
        entry = Entry(
            f"ü-{k:04d}", words, "", length, scaled.mean(), scaled.std(), zlib.crc32(samples), k
        )
        writer.add(entry, [samples.tobytes()])
    writer.close(split="train", source="test")
    return open_corpus(directory)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    lengths = np.random.default_rng(1).integers(2_000, 30_000, 120).tolist()
    return make_corpus(tmp_path_factory.mktemp("corpus"), lengths=lengths)


def make_plan(corpus, mode):
    return Plan(
        corpus.num_samples,
        seed=3,
        mode=mode,
        bucket_samples=BUCKETS,
        batch_samples=64_000,
        row_multiple=4,
        min_samples=1_000,
    )


def read(corpus, plan, steps=6, **options):
    chosen = {"first_step": 0, "num_steps": steps, "normalise": True, "workers": 2}
    return list(batches(corpus, plan, **(chosen | {"reader": "threads"} | options)))


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
@pytest.mark.parametrize("hosts", [2, 4])
def test_the_rows_of_all_hosts_together_are_the_global_batch(corpus, mode, hosts):
    plan = make_plan(corpus, mode)
    vocabulary = LIBRISPEECH if mode == "pad" else None
    whole = read(corpus, plan, vocabulary=vocabulary)
    parts = [
        read(corpus, make_plan(corpus, mode), vocabulary=vocabulary, parts=(h,), num_parts=hosts)
        for h in range(hosts)
    ]
    joined = [
        type(batch[0])(*(None if f[0] is None else np.concatenate(f) for f in zip(*batch)))  # noqa: B905
        for batch in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_resuming_at_a_step_gives_the_same_batches(corpus, mode):
    whole = read(corpus, make_plan(corpus, mode), steps=8)
    rest = read(corpus, make_plan(corpus, mode), first_step=5, steps=3)
    assert_same(rest, whole[5:])


@pytest.mark.parametrize("epsilon", [1e-5, 1e-7])
def test_rows_are_normalised_with_the_statistics_of_the_whole_file(corpus, epsilon):
    plan = make_plan(corpus, "concatenate")
    files = [corpus.read(i, 0, int(n)) / 32768 for i, n in enumerate(corpus.num_samples)]
    normal = [(x - x.mean()) / np.sqrt(x.var() + epsilon) for x in files]
    for step, batch in enumerate(read(corpus, plan, epsilon=epsilon)):
        for row, segments in enumerate(plan.batch(step).rows):
            expected = np.concatenate([normal[u][s : s + n] for u, s, n in segments])
            np.testing.assert_allclose(batch.waveforms[row], expected, atol=2e-5)


def test_without_normalisation_samples_are_scaled_to_one(corpus):
    plan = make_plan(corpus, "crop")
    batch = read(corpus, plan, steps=1, normalise=False)[0]
    for row, ((utterance, start, length),) in enumerate(plan.batch(0).rows):
        samples = corpus.read(utterance, start, length)
        np.testing.assert_array_equal(batch.waveforms[row] * 32768, samples)


def test_padded_rows_are_zero_behind_their_samples(corpus):
    for batch in read(corpus, make_plan(corpus, "pad")):
        inside = np.arange(batch.waveforms.shape[1]) < batch.num_samples[:, None]
        assert (batch.waveforms[~inside] == 0).all()
        assert batch.waveforms.dtype == np.float32
        assert (inside.sum(axis=1) == batch.num_samples).all()


def test_cropped_and_joined_rows_have_no_padding(corpus):
    for mode in ("crop", "concatenate"):
        for batch in read(corpus, make_plan(corpus, mode)):
            assert (batch.num_samples == batch.waveforms.shape[1]).all()


def test_labels_have_one_static_width_a_bucket_and_are_those_of_the_rows(corpus):
    plan = make_plan(corpus, "pad")
    widths = label_widths(corpus, plan, LIBRISPEECH)
    assert all(width % 16 == 0 and width > 0 for width in widths.values())
    for step, batch in enumerate(read(corpus, plan, vocabulary=LIBRISPEECH)):
        assert batch.labels.shape == (len(batch.waveforms), widths[batch.waveforms.shape[1]])
        for row, ((utterance, _, _),) in enumerate(plan.batch(step).rows):
            ids = batch.labels[row, : batch.num_labels[row]]
            assert LIBRISPEECH.decode(ids) == corpus.text(utterance)
            assert not batch.labels[row, batch.num_labels[row] :].any()


def test_the_labels_of_a_short_clip_fit_into_a_batch_of_long_rows(tmp_path):
    lengths = [4_000] * 9 + [16_000]  # the ninth has the longest text, the tenth the shortest
    corpus = make_corpus(tmp_path, lengths=lengths)
    plan = make_plan(corpus, "pad")
    assert plan.shapes == [(4, 4_000), (4, 16_000)]
    read(corpus, plan, vocabulary=LIBRISPEECH)
    widths = label_widths(corpus, plan, LIBRISPEECH)
    assert widths[16_000] == widths[4_000] > 16


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_tfdata_and_threads_give_identical_batches(corpus, mode):
    vocabulary = LIBRISPEECH if mode == "pad" else None
    options = {"vocabulary": vocabulary, "first_step": 2, "parts": (1,), "num_parts": 2}
    plan = make_plan(corpus, mode)
    assert_same(
        read(corpus, plan, reader="tfdata", **options),
        read(corpus, plan, reader="threads", **options),
    )


@pytest.mark.parametrize("reader", ["tfdata", "threads"])
def test_an_evaluation_plan_ends_by_itself(corpus, reader):
    plan = evaluation_plan(
        corpus.num_samples, bucket_samples=(30_000,), batch_samples=64_000, row_multiple=8,
        mode="pad",
    )  # fmt: skip
    found = read(corpus, plan, steps=None, reader=reader)
    assert len(found) == plan.num_steps == 15
    assert sum(b.weights.sum() for b in found) == len(corpus)


@pytest.mark.parametrize("reader", ["tfdata", "threads"])
def test_closing_the_generator_stops_its_threads(corpus, reader):
    read(corpus, make_plan(corpus, "crop"), steps=1, reader=reader)
    before = threading.active_count()
    stream = batches(
        corpus, make_plan(corpus, "crop"), first_step=0, num_steps=None, normalise=True,
        workers=2, reader=reader,
    )  # fmt: skip
    assert len(list(itertools.islice(stream, 3))) == 3
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("reader", ["tfdata", "threads"])
def test_what_fails_while_reading_reaches_the_caller_as_it_is(tmp_path, reader):
    corpus = make_corpus(tmp_path, lengths=[9_000] * 8)
    with open(tmp_path / "train" / "shard-00000.i16", "r+b") as file:
        file.truncate(20_000)
    with pytest.raises(InputError, match="cut short"):
        read(corpus, make_plan(corpus, "crop"), reader=reader)


def test_arguments_that_do_not_fit_are_refused_with_what_would_work(corpus, tmp_path, monkeypatch):
    plan = make_plan(corpus, "crop")
    with pytest.raises(InputError, match=r"'disk' is unknown; use one of tfdata, threads"):
        read(corpus, plan, reader="disk")
    with pytest.raises(InputError, match="do not divide into 3 parts"):
        read(corpus, plan, num_parts=3)
    with pytest.raises(InputError, match=r"parts \(2,\) of a batch are outside 0\.\.1"):
        read(corpus, plan, parts=(2,), num_parts=2)
    with pytest.raises(InputError, match="labels need whole utterances"):
        read(corpus, plan, vocabulary=LIBRISPEECH)
    mute = make_corpus(tmp_path, lengths=[9_000] * 8, text=False)
    with pytest.raises(InputError, match="no transcripts"):
        read(mute, make_plan(mute, "pad"), vocabulary=LIBRISPEECH)


def test_without_tensorflow_the_message_names_the_other_reader(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match="'threads'"):
        read(corpus, make_plan(corpus, "crop"), reader="tfdata")


@pytest.mark.parametrize(
    ("batch_bytes", "workers", "expected"),
    [(1, 8, (8, 4)), (100, 64, (6, 4)), (100, 2, (2, 4)), (300, 8, (2, 1)), (5000, 8, (1, 1))],
)
def test_batches_made_ahead_stay_within_their_bytes(batch_bytes, workers, expected):
    making, waiting = in_flight(batch_bytes, workers=workers, prefetch_bytes=1000)
    assert (making, waiting) == expected
    assert (making + waiting) * batch_bytes <= max(1000, 2 * batch_bytes)


def test_a_host_counts_its_own_part_of_the_largest_batch(corpus, monkeypatch):
    seen = []
    plan = make_plan(corpus, "crop")
    monkeypatch.setitem(
        pipeline.READERS, "threads", lambda make, first, last, *rest: seen.append(rest) or iter([])
    )
    largest = max(rows * samples for rows, samples in plan.shapes) * 4
    for parts in ({}, {"parts": (0,), "num_parts": 2}):
        read(corpus, plan, workers=9, prefetch_bytes=4 * largest, **parts)
    assert seen == [(2, 2, False), (4, 4, False)]


def test_a_first_step_below_0_is_refused(corpus):
    with pytest.raises(InputError, match="first_step=-1 must be at least 0"):
        read(corpus, make_plan(corpus, "pad"), first_step=-1)


def test_a_corpus_that_was_read_can_be_sent_to_another_process(corpus):
    expected = corpus.read(0, 0, 100).tolist()
    other = pickle.loads(pickle.dumps(corpus))
    assert other.read(0, 0, 100).tolist() == expected and other.text(3) == corpus.text(3)


USED = {
    "train": "x:train", "mode": "pad", "bucket_seconds": (1.0,), "batch_seconds": 4.0,
    "row_multiple": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("normalise", "no", "data.normalise='no' must be True or False"),
        ("verify", 0, "data.verify=0 must be True or False"),
        ("row_multiple", 1.5, "data.row_multiple=1.5 must be a whole number"),
        ("workers", True, "data.workers=True must be a whole number"),
        ("bucket_seconds", 3.0, "data.bucket_seconds=3.0 must be a list of numbers"),
        ("batch_seconds", "6", "data.batch_seconds='6' must be a number"),
        ("min_seconds", None, "data.min_seconds=None must be a number"),
        ("augment", {"gain_db": (0, 3)}, "must be an AugmentConfig"),
    ],
)
def test_a_setting_of_another_type_is_refused_in_a_program_too(setting, value, message):
    """As a recipe's is; the text "no" would be true."""
    DataConfig(**USED)
    with pytest.raises(InputError, match=re.escape(message)):
        DataConfig(**USED | {setting: value})
