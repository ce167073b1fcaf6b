"""The rows of a seed, as they are: a run that goes on under another version needs the same."""

import numpy as np
import pytest

from w2v2_jax.data.epochs import _stable_order, uniform_integers
from w2v2_jax.data.plan import Plan, _numbered, evaluation_plan

LENGTHS = np.array([10_003, 12_000, 25_000, 40_000, 31_000, 18_000])
SPEAKERS = np.array([3, 1, 3, 2, 1, 2])


def rows_of(mode, step):
    plan = Plan(
        LENGTHS, seed=5, mode=mode, bucket_samples=(10_000, 40_000), batch_samples=80_000,
        row_multiple=2, min_samples=1, speakers=SPEAKERS,
    )  # fmt: skip
    return [[tuple(segment) for segment in row] for row in plan.batch(step).rows]


EXPECTED = {
    ("crop", 0): [
        [(5, 5032, 10000)],
        [(0, 3, 10000)],
        [(2, 2659, 10000)],
        [(4, 3836, 10000)],
        [(1, 1675, 10000)],
        [(5, 5032, 10000)],
        [(0, 3, 10000)],
        [(2, 2659, 10000)],
    ],
    ("crop", 7): [
        [(2, 4644, 10000)],
        [(1, 911, 10000)],
        [(0, 1, 10000)],
        [(4, 6029, 10000)],
        [(5, 6112, 10000)],
        [(2, 4644, 10000)],
        [(1, 911, 10000)],
        [(0, 1, 10000)],
    ],
    ("pad", 0): [[(2, 0, 25000)], [(3, 0, 40000)]],
    ("pad", 7): [[(2, 0, 25000)], [(0, 0, 10003)]],
    ("concatenate", 0): [
        [(4, 11241, 19759), (1, 0, 12000), (0, 0, 8241)],
        [(3, 35240, 4760), (5, 0, 18000), (4, 0, 17240)],
    ],
    ("concatenate", 7): [
        [(1, 7253, 4747), (4, 0, 31000), (5, 0, 4253)],
        [(4, 29253, 1747), (5, 0, 18000), (3, 0, 20253)],
    ],
}


@pytest.mark.parametrize(("mode", "step"), EXPECTED)
def test_a_step_has_these_rows(mode, step):
    assert rows_of(mode, step) == EXPECTED[mode, step]


def test_draws_are_those_of_splitmix64():
    """State 5, increments of the golden ratio: the generator's own outputs, scaled to 2^53."""
    draws = uniform_integers(np.uint64(5), np.arange(4), np.full(4, 2**53))
    state, expected = 5, []
    for _ in range(4):
        x = state
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        expected.append((x ^ (x >> 31)) >> 11)
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert draws.tolist() == expected


def test_crops_begin_at_every_place_that_leaves_a_whole_row_and_at_no_other():
    plan = Plan(
        np.full(8, 10_003), seed=0, mode="crop", bucket_samples=(10_000,), batch_samples=80_000,
        row_multiple=1, min_samples=1,
    )  # fmt: skip
    starts = {row[0].start for step in range(40) for row in plan.batch(step).rows}
    assert starts == {0, 1, 2, 3}


def test_the_tables_of_two_epochs_are_kept_and_no_more():
    plan = Plan(
        LENGTHS, seed=0, mode="pad", bucket_samples=(40_000,), batch_samples=80_000,
        row_multiple=1, min_samples=1,
    )  # fmt: skip
    for epoch in range(4):
        plan.batch(epoch * plan.steps_per_epoch)
    assert sorted(plan._epochs) == [2, 3]


def test_speakers_are_numbered_by_their_order():
    assert _numbered(np.array([70, 30, 70, 90, 30])).tolist() == [1, 0, 1, 2, 0]


spread = np.random.default_rng(0).integers(0, 2**64, 999, np.uint64)
SOME_SPEAKERS = {
    "hashes": np.concatenate([spread, spread[::2]]),
    "hashes that share their high bits": spread % np.uint64(500) + np.uint64(2**63),
    "small and large": np.concatenate([spread, np.arange(500, dtype=np.uint64)]),
    "signed": (spread % np.uint64(64)).astype(np.int64) - 32,
    "one": np.full(3, 7),
}


@pytest.mark.parametrize("case", SOME_SPEAKERS)
def test_speakers_are_numbered_as_unique_does(case):
    speakers = SOME_SPEAKERS[case]
    assert np.array_equal(_numbered(speakers), np.unique(speakers, return_inverse=True)[1])


def test_clips_of_one_speaker_keep_their_shuffled_order():
    turns = np.random.default_rng(0).integers(0, 2**32, 300, np.uint32)[np.arange(3000) * 7 % 300]
    assert np.array_equal(_stable_order(turns), np.argsort(turns, kind="stable"))


def test_an_evaluation_s_summary_counts_its_batches_and_fillers():
    plan = evaluation_plan(
        LENGTHS, bucket_samples=(20_000, 40_000), batch_samples=80_000, row_multiple=2, mode="pad"
    )
    summary = plan.summary()
    assert plan.shapes == [(4, 20_000), (2, 40_000)]
    assert (summary.batches, plan.num_steps, summary.rows, summary.repeated_rows) == (3, 3, 8, 2)
