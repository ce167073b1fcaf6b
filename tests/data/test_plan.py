import json
import pickle
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
    """Segments of the rows that have weight."""
    batches = [plan.batch(k) for k in steps]
    rows = [one for b in batches for one in zip(b.rows, b.weights, strict=True)]
    return [s for row, weight in rows if weight for s in row]


def weights_of(plan, count, epoch=0):
    """[count] each utterance's share of the updates of an epoch: an update is divided by its
    weight, so one of few rows gives each of them much."""
    weights = np.zeros(count)
    for k in range(plan.steps_per_epoch):
        batch = plan.batch(epoch * plan.steps_per_epoch + k)
        for ((utterance, _, _),), weight in zip(batch.rows, batch.weights, strict=True):
            weights[utterance] += weight / batch.weights.sum()
    return weights


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
    assert all(b.weights.dtype == np.float32 and set(b.weights) <= {0, 1} for b in batches)
    fillers = [int((b.weights == 0).sum()) for b in batches]
    assert fillers == [plan.fillers(k) for k in range(len(batches))]
    assert sum(fillers) == 2 * plan.summary().repeated_rows > 0
    assert sum(len(b.rows) for b in batches) == 2 * plan.summary().rows


def test_crops_fill_their_rows_and_stay_inside_their_files():
    plan, shorter = make_plan(), 0
    for k in range(plan.steps_per_epoch):
        batch = plan.batch(k)
        for ((utterance, start, length),) in batch.rows:
            assert length == batch.samples
            assert 0 <= start <= corpus_lengths[utterance] - length
            bucket = max(b for b in BUCKETS if b <= corpus_lengths[utterance])
            assert batch.samples <= bucket
            shorter += batch.samples < bucket
    assert shorter < len(BUCKETS) * 16, "only what is left of a bucket joins a shorter one"


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


def test_uniform_integers_reach_both_ends_and_never_the_limit():
    draws = uniform_integers(np.uint64(5), np.arange(10_000), np.full(10_000, 7))
    assert set(draws.tolist()) == set(range(7))
    assert uniform_integers(np.uint64(5), np.arange(9), np.ones(9, int)).tolist() == [0] * 9


def test_pad_uses_each_fitting_utterance_once():
    plan = make_plan(mode="pad")
    segments = segments_of(plan, range(plan.steps_per_epoch))
    fitting = set(np.flatnonzero((corpus_lengths >= 2_000) & (corpus_lengths <= BUCKETS[-1])))
    assert {s.utterance for s in segments} == fitting
    assert len(segments) == len(fitting)
    assert all(s.start == 0 and s.length == corpus_lengths[s.utterance] for s in segments)
    assert plan.summary().dropped_too_long == (corpus_lengths > BUCKETS[-1]).sum()
    assert plan.summary().dropped_too_short == (corpus_lengths < 2_000).sum()


def test_pad_takes_the_smallest_bucket_that_holds_the_utterance():
    lengths = [10_000] * 4 + [10_001] * 4 + [40_000] * 4 + [40_001]
    plan = make_plan(mode="pad", lengths=lengths)
    batches = [plan.batch(k) for k in range(plan.steps_per_epoch)]
    rows = [(s.utterance, b.samples) for b in batches for (s,) in b.rows]
    assert {(lengths[u], samples) for u, samples in rows} == {
        (10_000, 10_000), (10_001, 20_000), (40_000, 40_000),
    }  # fmt: skip


FINETUNE = {
    "mode": "pad",
    "bucket_samples": [16_000 * s for s in (4, 8, 12, 16, 20, 25, 36)],
    "batch_samples": 1_600 * 16_000,
    "row_multiple": 8,
    "min_samples": 1_600,
}


@pytest.mark.parametrize("count", [3, 48, 100, 290, 1_000, 8_000])
def test_pad_gives_every_utterance_one_row_an_epoch_and_about_the_same_weight(count):
    lengths = np.random.default_rng(count).integers(32_000, 320_000, count)
    plan = make_plan(lengths=lengths, **FINETUNE)
    used = sorted(s.utterance for s in segments_of(plan, range(plan.steps_per_epoch)))
    assert used == list(range(count))
    weights = weights_of(plan, count)
    assert weights.max() < 1.5 * weights.min()
    assert all(rows % 8 == 0 and rows * s <= 1_600 * 16_000 for rows, s in plan.shapes)
    assert plan.summary().repeated_rows <= 8 * plan.steps_per_epoch


def test_ten_minutes_of_speech_are_one_update_without_copies():
    lengths = np.random.default_rng(0).integers(32_000, 320_000, 48)
    plan = make_plan(lengths=lengths, **FINETUNE)
    assert plan.steps_per_epoch == 1 and plan.shapes == [(48, 320_000)]
    assert "1 batch per epoch in shapes 48 x 20 s" in str(plan.summary())


def test_short_clips_stay_in_full_batches_where_evenness_would_need_many_more():
    lengths = np.random.default_rng(0).integers(16_000, 60_000, 4_000)
    lengths[:200] = 320_000
    plan = make_plan(lengths=lengths, **FINETUNE)
    assert plan.shapes == [(376, 64_000), (80, 320_000)]
    weights = weights_of(plan, len(lengths))
    assert weights.max() / weights.min() < 5.1  # as rows of 4 s to rows of 20 s
    assert "; updates of 80 to 376 utterances: one of the smallest counts 4.7 times as much" in (
        str(plan.summary())
    )


@pytest.mark.parametrize("options", [FINETUNE, FINETUNE | {"mode": "crop"}])
def test_a_plan_that_is_even_but_for_its_few_longest_clips_says_nothing_of_it(options):
    lengths = np.random.default_rng(0).integers(64_000, 320_000, 8_000)
    lengths[:4] = 500_000
    assert "count" not in str(make_plan(lengths=lengths, **options).summary())


@pytest.mark.parametrize("count", [48, 1_000, 20_000])
def test_crop_updates_hold_as_much_audio_each_and_no_copies(count):
    lengths = np.random.default_rng(count).integers(40_000, 300_000, count)
    options = {"bucket_samples": [40_000, 80_000, 120_000, 160_000, 200_000, 240_000]}
    plan = make_plan(lengths=lengths, batch_samples=48_000_000, row_multiple=8, **options)
    used = sorted(s.utterance for s in segments_of(plan, range(plan.steps_per_epoch)))
    assert used == list(range(count))
    batches = [plan.batch(k) for k in range(plan.steps_per_epoch)]
    audio = [b.samples * b.weights.sum() for b in batches]
    assert max(audio) < (2 if count == 48 else 1.5) * min(audio)  # one of few clips is much
    held = np.minimum(lengths // 40_000 * 40_000, 240_000).sum()
    assert sum(audio) > 0.75 * held
    if count == 20_000:
        assert min(audio) > 0.9 * 48_000_000 and sum(audio) > 0.9 * held


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


def test_concatenate_shares_what_its_rows_overlap_out_over_all_samples():
    lengths = corpus_lengths[:100]
    plan = make_plan(mode="concatenate", lengths=lengths)
    seen = coverage(plan, lengths, range(plan.steps_per_epoch))
    used = np.repeat(lengths >= 2_000, lengths)
    assert set(seen[used]) <= {1, 2} and (seen[~used] == 0).all()
    assert seen.sum() == -(-used.sum() // 40_000) * 40_000
    shared = np.add.reduceat(seen - 1, np.cumsum(lengths) - lengths)[lengths >= 2_000]
    assert (shared < 40_000 / 50).all()


def test_concatenate_batches_have_as_many_rows_each():
    plan = make_plan(mode="concatenate", lengths=[40_000] * 9)
    weights = [plan.batch(k).weights.sum() for k in range(plan.steps_per_epoch)]
    assert plan.shapes == [(4, 40_000)] and weights == [3, 3, 3]


def test_concatenate_rows_are_full_and_start_at_a_new_phase_each_epoch():
    plan = make_plan(mode="concatenate", lengths=[3_000] * 100)
    for k in range(plan.steps_per_epoch):
        assert all(sum(s.length for s in row) == 40_000 for row in plan.batch(k).rows)
    starts = {plan.batch(k * plan.steps_per_epoch).rows[0][0].start for k in range(20)}
    assert len(starts) > 10


def test_a_plan_is_endless_and_knows_its_steps_an_epoch():
    plan = make_plan(mode="pad")
    assert plan.num_steps is None and plan.epoch(plan.steps_per_epoch) == 1
    assert plan.steps_per_epoch == plan.summary().batches


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
        "    min_seconds=4.0)\n"
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


@pytest.mark.parametrize("seed", [-1, 1.5, None, "1"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(InputError, match=r"seed=.* of a plan must be a whole number, at least 0"):
        make_plan(seed=seed)


def test_a_step_below_0_is_refused():
    with pytest.raises(IndexError, match="step -1 of a plan is below 0"):
        make_plan().batch(-1)


@pytest.mark.parametrize("speakers", [np.zeros(499, int), np.zeros(501, int), ["a"] * 500])
def test_speakers_of_another_corpus_are_refused(speakers):
    with pytest.raises(InputError, match="are not one whole number for each of the 500"):
        make_plan(mode="concatenate", speakers=speakers)


def test_a_plan_in_another_process_gives_the_same_batches():
    plan = make_plan()
    plan.batch(3)
    other = pickle.loads(pickle.dumps(plan))
    for step in (0, 3, 100):
        assert str(other.batch(step)) == str(plan.batch(step))
