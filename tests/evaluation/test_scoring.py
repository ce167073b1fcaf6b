"""Error rates: closed-form answers, brute force, and the meaning of the intervals."""

import functools
import math
import random
import time

import numpy as np
import pytest

from w2v2_jax.evaluation.scoring import (
    ErrorCounts,
    align,
    bootstrap_interval,
    count_errors,
    score,
    total,
)


def brute_force_distance(a: str, b: str) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", (0, 0, 0, 3)),
        ("a b c", "a x c", (1, 0, 0, 3)),
        ("a b c", "a c", (0, 0, 1, 3)),
        ("a b c", "a b b c", (0, 1, 0, 3)),
        ("a b c", "", (0, 0, 3, 3)),
        ("", "a b", (0, 2, 0, 0)),
        ("", "", (0, 0, 0, 0)),
        ("a b c d", "x a b d", (0, 1, 1, 4)),
    ],
)
def test_counts_have_closed_form_answers(reference, hypothesis, expected):
    assert count_errors(reference.split(), hypothesis.split()) == ErrorCounts(*expected)


def test_distance_equals_brute_force_on_random_strings():
    rng = random.Random(0)
    for _ in range(300):
        a, b = ("".join(rng.choices("abc", k=rng.randrange(9))) for _ in range(2))
        assert count_errors(a, b).errors == brute_force_distance(a, b), (a, b)


def test_an_alignment_spells_both_sides_and_costs_the_distance():
    rng = random.Random(1)
    for _ in range(100):
        a, b = ("".join(rng.choices("ab ", k=rng.randrange(12))) for _ in range(2))
        pairs = align(a, b)
        assert "".join(r for r, _ in pairs if r is not None) == a
        assert "".join(h for _, h in pairs if h is not None) == b
        assert sum(r != h for r, h in pairs) == brute_force_distance(a, b)


def test_insertions_and_deletions_swap_with_the_sides():
    forward, backward = count_errors("kitten", "sitting"), count_errors("sitting", "kitten")
    assert (forward.substitutions, forward.insertions, forward.deletions) == (2, 1, 0)
    assert (backward.substitutions, backward.insertions, backward.deletions) == (2, 0, 1)


def test_rates_are_over_the_whole_set_not_the_mean_of_utterances():
    scores = score(["a", "b c d e f g h i j"], ["x", "b c d e f g h i j"])
    assert scores.wer == 1 / 10
    assert scores.words == ErrorCounts(1, 0, 0, 10)


def test_characters_include_the_space_and_extra_white_space_is_nothing():
    scores = score(["AB  CD "], [" ABCD"])
    assert scores.characters == ErrorCounts(0, 0, 1, 5)
    assert scores.cer == 1 / 5


def test_empty_references_add_insertions_and_no_length():
    scores = score(["A B", ""], ["A B", "C"])
    assert scores.words == ErrorCounts(0, 1, 0, 2)
    assert scores.wer == 1 / 2
    assert score([""], [""]).wer == 0
    assert math.isinf(score([""], ["A"]).wer)
    assert score(["", ""], ["A", ""]).wer_interval == (0, math.inf)


def test_rows_keep_the_order_and_sum_to_the_totals():
    scores = score(["A B", "C"], ["A", "D E"])
    assert [row.reference for row in scores.rows] == ["A B", "C"]
    assert total([row.words for row in scores.rows]) == scores.words
    assert scores.rows[1].words.rate == 2


def test_interval_of_equal_utterances_is_the_rate_itself():
    scores = score(["A B"] * 20, ["A C"] * 20)
    assert scores.wer_interval == (0.5, 0.5)


def test_interval_is_repeatable_holds_the_rate_and_agrees_with_the_normal_one():
    wrong = np.arange(400) % 4 == 0
    counts = [ErrorCounts(int(w), 0, 0, 1) for w in wrong]
    low, high = bootstrap_interval(counts)
    assert (low, high) == bootstrap_interval(counts) != bootstrap_interval(counts, seed=1)
    half_width = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert low == pytest.approx(0.25 - half_width, abs=0.01)
    assert high == pytest.approx(0.25 + half_width, abs=0.01)


def test_unequal_or_no_lists_are_refused():
    with pytest.raises(ValueError, match="1 references and 0 hypotheses"):
        score(["A"], [])
    with pytest.raises(ValueError, match="at least one"):
        score([], [])


def test_five_hundred_long_utterances_take_seconds():
    rng = random.Random(2)
    texts = [" ".join(rng.choices(["ALPHA", "BRAVO", "CHARLIE"], k=25)) for _ in range(500)]
    start = time.perf_counter()
    score(texts, texts[::-1])
    assert time.perf_counter() - start < 10
