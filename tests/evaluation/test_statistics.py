"""Intervals and tests hold what they promise on simulated systems whose truth is known."""

import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.evaluation import error_analysis, scoring
from w2v2_jax.evaluation.error_analysis import Scored
from w2v2_jax.evaluation.phones import LEFT_OUT, TIMIT_39, fold_heard, fold_timit
from w2v2_jax.evaluation.scoring import (
    ErrorCounts,
    bootstrap_interval,
    count_errors,
    percentile_interval,
    rates,
    resampled_sums,
)
from w2v2_jax.evaluation.significance import compare

SYSTEMS = 200
# Of 200 intervals that cover with probability .95, fewer than 182 or all 200 come once in 200.
FEWEST, MOST = 0.91, 0.995


def simulate(rng, utterances, *, rate=0.1, spread=0.08, groups=None):
    """Counts of a system whose utterances differ in difficulty, so that errors come in clumps."""
    lengths = rng.integers(3, 30, utterances)
    difficulty = rng.gamma((rate / spread) ** 2, spread**2 / rate, utterances)
    if groups is not None:
        difficulty = rng.gamma(1.0, rate, groups.max() + 1)[groups]
    errors = rng.poisson(difficulty * lengths)
    return [ErrorCounts(int(e), 0, 0, int(n)) for e, n in zip(errors, lengths, strict=True)]


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


def test_utterance_intervals_cover_the_true_rate_as_often_as_they_say():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(simulate(rng, 150), seed=k) for k in range(SYSTEMS)]
    assert FEWEST < coverage(intervals, 0.1) < MOST


def test_an_interval_is_the_middle_95_percent_of_its_values():
    assert percentile_interval(np.arange(1001)[::-1] / 1000) == (0.025, 0.975)


def test_a_rate_without_reference_units_is_infinite_where_anything_was_said():
    assert rates(np.array([0, 1, 1, 3]), np.array([0, 0, 1, 4])).tolist() == [0, np.inf, 1, 0.75]


def test_a_lone_speaker_is_in_every_draw_with_all_utterances():
    sums = resampled_sums(np.array([[1, 10], [2, 20]]), groups=["anna", "anna"])
    assert (sums == [3, 30]).all()


def test_draws_are_made_in_parts_of_a_bounded_size(monkeypatch):
    """8 utterances for 3 resamples at once: the thousandth is in a part of its own."""
    columns, drawn = np.ones((8, 1), int), []

    class Generator:
        def integers(self, count, size):
            drawn.append(size)
            return np.zeros(size, int)

    monkeypatch.setattr(scoring, "DRAWN_AT_ONCE", 24)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Generator())
    assert (resampled_sums(columns) == 8).all()
    assert drawn == [(3, 8)] * 333 + [(1, 8)]


def test_only_speaker_intervals_cover_where_speakers_differ():
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(40), 5)
    systems = [simulate(rng, 200, groups=speakers) for _ in range(SYSTEMS)]
    drawn = [bootstrap_interval(s, groups=speakers) for s in systems]
    naive = [bootstrap_interval(s) for s in systems]
    assert coverage(drawn, 0.1) > 0.89  # 40 speakers are few for a percentile interval
    assert coverage(naive, 0.1) < 0.85


def paired(rng, utterances, second):
    """Two systems on the same utterances: what is hard for one is hard for the other."""
    lengths = rng.integers(3, 30, utterances)
    difficulty = rng.gamma(1.5, 0.1 / 1.5, utterances) * lengths
    return [
        [ErrorCounts(int(e), 0, 0, int(n)) for e, n in zip(errors, lengths, strict=True)]
        for errors in (rng.poisson(difficulty), rng.poisson(second * difficulty))
    ]


def test_equal_systems_are_called_different_in_one_case_of_twenty_and_differences_are_covered():
    rng = np.random.default_rng(2)
    found = [compare(*paired(rng, 60, 1.0), seed=k) for k in range(100)]
    for name in ("p_permutation", "p_matched_pairs"):
        values = np.array([getattr(c, name) for c in found])
        assert np.mean(values < 0.05) <= 0.11, name  # 5 of 100 expected; 12 come once in 250
        assert 0.35 < np.median(values) < 0.65, name
    assert coverage([c.interval for c in found], 0.0) > 0.88


def test_a_better_system_is_found_where_the_intervals_of_both_overlap():
    rng = np.random.default_rng(3)
    first, second = paired(rng, 600, 0.87)
    found = compare(first, second)
    assert bootstrap_interval(second)[1] > bootstrap_interval(first)[0]
    assert found.interval[1] < 0 and found.second_better > 0.97
    assert found.p_permutation < 0.05 and found.p_matched_pairs < 0.05
    mirrored = compare(second, first)
    assert mirrored.difference == -found.difference
    assert mirrored.p_permutation == found.p_permutation


def test_the_permutation_test_is_exact_where_all_exchanges_can_be_counted():
    first = [ErrorCounts(e, 0, 0, 10) for e in (3, 2, 4)]
    second = [ErrorCounts(0, 0, 0, 10)] * 3
    assert compare(first, second).p_permutation == pytest.approx(2 / 8, abs=0.02)
    assert compare(first, first)[2:] == (0.0, (0.0, 0.0), 0.5, 1.0, 1.0)


@pytest.mark.parametrize("count", [2, 5])
def test_gaps_that_are_all_equal_prove_no_more_than_their_number(count):
    first = [ErrorCounts(1, 0, 0, 10)] * count
    second = [ErrorCounts(0, 0, 0, 10)] * count
    found = compare(first, second)
    assert found.p_matched_pairs == 2 / 2**count
    assert found.p_permutation == pytest.approx(2 / 2**count, abs=0.02)


def test_unequal_references_are_refused():
    with pytest.raises(ValueError, match="same utterances"):
        compare([ErrorCounts(0, 0, 0, 3)], [ErrorCounts(0, 0, 0, 4)])


def test_timit_has_61_phones_folded_to_39():
    named = {p for phones in TIMIT_39.values() for p in phones.split()} | set(LEFT_OUT)
    assert len(named) == 61 and len(TIMIT_39) == 39
    heard = fold_timit(["h#", "HV", "ax-h", "zh", "q", "ao", "tcl", "t", "sil"])
    assert heard == ["sil", "hh", "ah", "sh", "aa", "sil", "t", "sil"]
    assert fold_heard(["q", "zh", "??"]) == ["sh", "??"]
    with pytest.raises(InputError, match="'xx' is not a TIMIT phone"):
        fold_timit(["xx"])


def rows_of(*triples):
    return [
        Scored(f"u{k}", r.split(), h.split(), count_errors(r.split(), h.split()), seconds, speaker)
        for k, (r, h, seconds, speaker) in enumerate(triples)
    ]


def test_confusions_speakers_lengths_and_worst_are_counted():
    rows = rows_of(
        ("a b c", "a x c", 1.0, "ann"),
        ("b d", "x d e", 3.0, "bob"),
        ("b c", "x", 3.5, "bob"),
        ("a", "a", 40.0, "ann"),
    )
    found = error_analysis.confusions(rows)
    assert found == {
        "substitutions": [["b", "x", 2], ["c", "x", 1]],
        "insertions": [["e", 1]],
        "deletions": [["b", 1]],
    }
    bins = error_analysis.by_length(rows)
    assert [(b["from_seconds"], b["to_seconds"], b["utterances"]) for b in bins] == [
        (0, 2, 1), (2, 4, 2), (30, None, 1),
    ]  # fmt: skip
    assert bins[1]["interval"] is None  # of two utterances
    speakers = error_analysis.by_speaker(rows)
    assert [(s["speaker"], s["rate"]) for s in speakers] == [("bob", 1.0), ("ann", 0.25)]
    assert [row.id for row in error_analysis.worst(rows, 2)] == ["u1", "u2"]
    assert error_analysis.speaker_interval(rows) is None
