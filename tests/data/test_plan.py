import json
import subprocess
import sys

import numpy as np
import pytest

from w2v2_jax.data.epochs import uniform_integers
from w2v2_jax.data.plan import Plan, evaluation_plan, length_histogram, rows_per_batch
from w2v2_jax.errors import InputError

corpus_lengths = np.random.default_rng(0).integers(1_000, 90_000, 500)
BUCKETS = (10_000, 20_000, 40_000)


def make_plan(lengths=corpus_lengths, **options):
    chosen = {
        "seed": 7,
        "mode": "crop",
        "bucket_samples": BUCKETS,
        "batch_samples": 170_000,
        "row_multiple": 4,
        "min_samples": 2_000,
    }
    return Plan(np.asarray(lengths), **(chosen | options))


def segments_of(plan, steps):
    return [s for k in steps for row in plan.batch(k).rows for s in row]


def same(a, b):
    return a.samples == b.samples and a.rows == b.rows and np.array_equal(a.weights, b.weights)


def test_rows_follow_max_tokens_and_the_row_multiple():
    assert rows_per_batch(10_000, batch_samples=170_000, row_multiple=4) == 16
    assert rows_per_batch(90_000, batch_samples=170_000, row_multiple=4) == 4


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_batch_k_is_the_same_from_a_fresh_plan_whatever_was_asked_before(mode):
    plan = make_plan(mode=mode)
    far = 1_000_003 * plan.steps_per_epoch + 5
    walked = [plan.batch(k) for k in [0, 3, far, 1, plan.steps_per_epoch, far]]
    assert same(walked[2], walked[5])
    assert same(make_plan(mode=mode).batch(far), walked[2])
    assert same(make_plan(mode=mode).batch(1), walked[3])
    assert plan.epoch(far) == 1_000_003


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_epochs_and_seeds_have_different_orders(mode):
    plan = make_plan(mode=mode)
    steps = range(plan.steps_per_epoch)
    first = segments_of(plan, steps)
    assert first != segments_of(plan, [k + plan.steps_per_epoch for k in steps])
    assert first != segments_of(make_plan(mode=mode, seed=8), steps)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_shapes_are_those_announced(mode):
    plan = make_plan(mode=mode)
    batches = [plan.batch(k) for k in range(2 * plan.steps_per_epoch)]
    assert {(len(b.rows), b.samples) for b in batches} == set(plan.shapes)
    assert all((b.weights == 1).all() and b.weights.dtype == np.float32 for b in batches)


def test_crops_fill_their_rows_and_stay_inside_their_files():
    plan = make_plan()
    for k in range(plan.steps_per_epoch):
        batch = plan.batch(k)
        for ((utterance, start, length),) in batch.rows:
            assert length == batch.samples
            assert 0 <= start <= corpus_lengths[utterance] - length
            bucket = max(b for b in BUCKETS if b <= corpus_lengths[utterance])
            assert batch.samples == bucket


def test_crop_uses_every_long_enough_file_each_epoch_and_counts_the_rest():
    plan = make_plan()
    used = {s.utterance for s in segments_of(plan, range(plan.steps_per_epoch))}
    assert used == set(np.flatnonzero(corpus_lengths >= BUCKETS[0]))
    summary = plan.summary()
    assert summary.utterances == len(used)
    assert summary.dropped_too_short == len(corpus_lengths) - len(used)
    assert summary.dropped_too_long == 0
    assert sum(summary.per_bucket.values()) == len(used)


def test_crop_offsets_are_new_each_epoch_and_spread_over_the_file():
    plan = make_plan(lengths=[100_000] * 4, bucket_samples=(10_000,), batch_samples=40_000)
    starts = np.array([s.start for s in segments_of(plan, range(1000))])
    assert len(set(starts.tolist())) > 3_000
    counts = np.histogram(starts, bins=10, range=(0, 90_001))[0]
    assert counts.min() > 300 and counts.max() < 500


def test_a_repeated_row_that_fills_a_batch_has_another_crop():
    plan = make_plan(lengths=[500_000], bucket_samples=(10_000,), batch_samples=40_000)
    starts = {s.start for s in segments_of(plan, [0])}
    assert len(starts) == 4
    assert plan.summary().repeated_rows == 3


def test_uniform_integers_reach_both_ends_and_never_the_limit():
    draws = uniform_integers(np.uint64(5), np.arange(10_000), np.full(10_000, 7))
    assert set(draws.tolist()) == set(range(7))
    assert uniform_integers(np.uint64(5), np.arange(9), np.ones(9, int)).tolist() == [0] * 9


def test_pad_uses_each_fitting_utterance_once_and_fills_by_going_round():
    plan = make_plan(mode="pad")
    segments = segments_of(plan, range(plan.steps_per_epoch))
    fitting = set(np.flatnonzero((corpus_lengths >= 2_000) & (corpus_lengths <= BUCKETS[-1])))
    assert {s.utterance for s in segments} == fitting
    assert len(segments) - len(fitting) == plan.summary().repeated_rows
    assert all(s.start == 0 and s.length == corpus_lengths[s.utterance] for s in segments)
    assert plan.summary().dropped_too_long == (corpus_lengths > BUCKETS[-1]).sum()
    assert plan.summary().dropped_too_short == (corpus_lengths < 2_000).sum()


def test_pad_takes_the_smallest_bucket_that_holds_the_utterance():
    plan = make_plan(mode="pad", lengths=[10_000, 10_001, 40_000, 40_001])
    found = {s.utterance: b.samples for b in map(plan.batch, range(3)) for (s,) in b.rows}
    assert found == {0: 10_000, 1: 20_000, 2: 40_000}


def coverage(plan, lengths, steps):
    seen = [np.zeros(n, int) for n in lengths]
    for utterance, start, length in segments_of(plan, steps):
        seen[utterance][start : start + length] += 1
    return np.concatenate(seen)


def test_concatenate_uses_every_sample_exactly_once_when_rows_divide_the_audio():
    lengths = np.random.default_rng(1).integers(50, 900, 400)
    lengths[-1] += -lengths.sum() % 8_000
    options = {"mode": "concatenate", "bucket_samples": (500, 1_000), "batch_samples": 8_000}
    plan = make_plan(lengths=lengths, min_samples=1, **options)
    assert plan.shapes == [(8, 1_000)]
    for epoch in range(3):
        steps = np.arange(plan.steps_per_epoch) + epoch * plan.steps_per_epoch
        assert (coverage(plan, lengths, steps.tolist()) == 1).all()


def test_concatenate_joins_the_clips_of_one_speaker():
    speakers = np.random.default_rng(1).integers(0, 3, 300).astype(np.uint64) * 10**15
    options = {"mode": "concatenate", "lengths": [5_000] * 300, "speakers": speakers}
    plan = make_plan(**options)
    rows = [row for k in range(plan.steps_per_epoch) for row in plan.batch(k).rows]
    mixed = [len({speakers[s.utterance] for s in row}) > 1 for row in rows]
    assert len(rows) > 30
    assert sum(mixed) <= 3, "only where one speaker's clips end may a row hold two voices"


def test_concatenate_repeats_only_what_fills_the_last_rows():
    lengths = corpus_lengths[:100]
    plan = make_plan(mode="concatenate", lengths=lengths)
    seen = coverage(plan, lengths, range(plan.steps_per_epoch))
    kept = np.repeat(lengths >= 2_000, lengths)
    assert (seen[kept] >= 1).all() and (seen[~kept] == 0).all()
    rows = plan.steps_per_epoch * plan.shapes[0][0]
    assert seen.sum() == rows * 40_000
    assert seen.sum() - kept.sum() < 40_000 * (plan.shapes[0][0] + 1)


def test_concatenate_rows_are_full_and_start_at_a_new_phase_each_epoch():
    plan = make_plan(mode="concatenate", lengths=[3_000] * 100)
    for k in range(plan.steps_per_epoch):
        assert all(sum(s.length for s in row) == 40_000 for row in plan.batch(k).rows)
    starts = {plan.batch(k * plan.steps_per_epoch).rows[0][0].start for k in range(20)}
    assert len(starts) > 10


def test_an_epoch_of_steps_is_constant_and_the_plan_endless():
    plan = make_plan(mode="pad")
    per_bucket = plan.summary().per_bucket
    rows = {samples: rows for rows, samples in plan.shapes}
    assert plan.steps_per_epoch == sum(-(-n // rows[s]) for s, n in per_bucket.items())
    assert plan.num_steps is None


@pytest.mark.parametrize("mode", ["pad", "crop"])
def test_evaluation_sees_each_utterance_once_and_weights_filler_zero(mode):
    plan = evaluation_plan(
        corpus_lengths, bucket_samples=BUCKETS, batch_samples=170_000, row_multiple=4, mode=mode
    )
    batches = [plan.batch(k) for k in range(plan.num_steps)]
    real = [
        segment
        for batch in batches
        for (segment,), weight in zip(batch.rows, batch.weights, strict=True)
        if weight
    ]
    usable = corpus_lengths <= BUCKETS[-1] if mode == "pad" else corpus_lengths >= BUCKETS[0]
    assert sorted(s.utterance for s in real) == np.flatnonzero(usable).tolist()
    assert all(s.start == 0 for s in real)
    assert {(len(b.rows), b.samples) for b in batches} == set(plan.shapes)
    lengths = corpus_lengths[[s.utterance for s in real]]
    assert (np.diff(lengths) >= 0).all()
    summary = plan.summary()
    assert summary.utterances == usable.sum()
    assert summary.dropped_too_short + summary.dropped_too_long == (~usable).sum()
    with pytest.raises(IndexError):
        plan.batch(plan.num_steps)


def test_nothing_usable_is_an_error_with_the_histogram():
    with pytest.raises(InputError, match=r"too short: 2.*under 0.1 s: 1, 0.1-0.5 s: 1"):
        make_plan(lengths=[1_000, 2_000])
    with pytest.raises(InputError, match=r"none of 0 utterances.*lengths: none"):
        make_plan(lengths=[])
    with pytest.raises(InputError, match="do not fill one row"):
        make_plan(lengths=[9_000], mode="concatenate")
    assert length_histogram(np.array([16_000, 15_999])) == "0.5-1 s: 1, 1-2 s: 1"


@pytest.mark.parametrize(
    "bad", [{"mode": "loop"}, {"bucket_samples": ()}, {"row_multiple": 0}, {"batch_samples": 0}]
)
def test_bad_arguments_are_input_errors(bad):
    with pytest.raises(InputError):
        make_plan(**bad)


def test_the_training_side_imports_no_audio_library_and_no_tensorflow():
    code = (
        "import sys, w2v2_jax.data.plan, w2v2_jax.data.corpus, w2v2_jax.vocabulary, "
        "w2v2_jax.data.pipeline; "
        "print(sorted({'tensorflow', 'librosa', 'soundfile', 'soxr', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_twelve_million_utterances_plan_within_seconds():
    lengths = np.random.default_rng(0).integers(16_000, 500_000, 12_000_000)
    plan = make_plan(lengths=lengths, bucket_samples=(80_000, 250_000), batch_samples=16_000_000)
    assert len(plan.batch(10**6).rows) in {rows for rows, _ in plan.shapes}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["crop", "concatenate"])
def test_the_plan_of_twelve_million_utterances_takes_under_10_s_and_1_gib(tmp_path, mode):
    """From the index on disk, speakers included, to the first batch, in a process of its own; the
    memory also holds a second epoch. (getrusage would give the peak of the process that forked.)"""
    count, index = 12_000_000, tmp_path / "train" / "index.npz"
    index.parent.mkdir()
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(12), 0.6, count) * 16000, 8000, 640000)
    digits = np.arange(100_000)[:, None] // 10 ** np.arange(4, -1, -1) % 10
    names = (digits + ord("0")).astype(np.uint8)[rng.integers(10_000, 100_000, count)]
    np.savez(
        index, num_samples=lengths.astype(np.int64),
        speaker_blob=names.reshape(-1), speaker_ends=5 * np.arange(1, count + 1),
    )  # fmt: skip
    info = {
        "format": "w2v2_jax.corpus", "version": 1, "split": "train", "utterances": count,
        "hours": float(lengths.sum() / 16000 / 3600),
        "index_bytes": index.stat().st_size, "index_sha256": "",
    }  # fmt: skip
    (index.parent / "corpus.json").write_text(json.dumps(info))
    code = (
        "import sys, time\n"
        "from w2v2_jax.data.feed import DataConfig\n"
        "from w2v2_jax.data.joined import open_splits\n"
        "config = DataConfig(sys.argv[1], sys.argv[2], (4.0, 7.8, 11.7, 15.625), 24000.0, 384,\n"
        "    min_seconds=2.0)\n"
        "start = time.process_time()\n"
        "plan = config.train_plan(open_splits(config.train), seed=1)\n"
        "plan.batch(0)\n"
        "seconds = time.process_time() - start\n"
        "plan.batch(plan.steps_per_epoch)\n"
        "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
        "print(seconds, peak, plan.steps_per_epoch)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), mode],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kibibytes, steps = (float(word) for word in done.stdout.split())
    assert seconds < 10 and kibibytes < 2**20 and steps > 5000
    print(f"{mode}: {seconds:.2f} CPU seconds, {kibibytes / 1024:.0f} MiB")
