"""Forced alignment that may leave lines out, and the band where a network is weak."""

import itertools

import numpy as np
import pytest

from tests.helpers.segment_cases import SECONDS, VOCABULARY
from w2v2_jax.decode.forced import forced_alignment, frames_needed
from w2v2_jax.decode.segments import NO_FIT, fit_text
from w2v2_jax.decode.spelling import strict

COST = 2.0


def gaps_of(lines):
    gaps = np.zeros(sum(map(len, lines)) + 1, bool)
    gaps[np.cumsum([0, *map(len, lines)])] = True
    return gaps


def best_of_all_choices(logits, lines):
    """The best sum over which lines are kept. Each choice is aligned without leaving anything out,
    with a star, which takes a frame, for the lines between."""
    totals = []
    for kept in itertools.product((False, True), repeat=len(lines)):
        some = []
        for keep, group in itertools.groupby(zip(kept, lines, strict=True), lambda one: one[0]):
            some += [line for _, line in group] if keep else [np.array([logits.shape[1]])]
        ids = np.concatenate(some)
        if frames_needed(ids) <= len(logits):
            found = forced_alignment(logits, ids, gaps=gaps_of(some))
            left_out = sum(len(line) for keep, line in zip(kept, lines, strict=True) if not keep)
            totals.append(found.frame_scores.sum() - COST * left_out)
    return max(totals)


@pytest.mark.parametrize("band", [4000, 8])
def test_the_path_is_the_best_over_all_choices_of_lines_to_leave_out(band):
    rng, left_out = np.random.default_rng(0), 0
    for _ in range(30):
        lines = [rng.integers(1, 4, rng.integers(1, 4)) for _ in range(4)]
        ids = np.concatenate(lines)
        logits = 3 * rng.normal(size=(int(rng.integers(frames_needed(ids), 24)), 5))
        found = forced_alignment(
            logits, ids, gaps=gaps_of(lines), leave_out=COST, band=band, block=5
        )
        said = np.split(found.said, np.cumsum([*map(len, lines)])[:-1])
        assert all(line.all() or not line.any() for line in said)  # lines whole or not at all
        cost = COST * np.count_nonzero(~found.said)
        left_out += cost > 0
        best = best_of_all_choices(logits, lines)
        assert found.frame_scores.sum() - cost == pytest.approx(best, abs=1e-3)
    assert left_out > 5


def heard(lines, rng, *, sure=9.0, blank=7.0, mishear=0.0):
    """Logits [T, C] of lines with half a second between; their first and last letters' frames."""
    path, times = [0] * 25, []
    for line in lines:
        first = len(path)
        for row in VOCABULARY.encode(line):
            wrong = rng.random() < mishear
            path += [int(rng.integers(4, len(VOCABULARY))) if wrong else int(row), 0, 0]
        times.append((first, len(path) - 5))
        path += [0] * 25
    logits = rng.normal(size=(len(path), len(VOCABULARY))).astype(np.float32)
    logits[:, 0] += blank  # everywhere: the network is never sure that something is said
    logits[np.arange(len(path)), path] += sure
    return logits, np.array(times)


def test_a_long_line_that_was_not_said_does_not_displace_the_short_ones_around_it():
    said = ["press one", "eleven", "romeo", "hello there", "your friends", "seven"]
    logits, times = heard(said, np.random.default_rng(0))
    texts = [*said]
    texts[2] = "please enter the number of the conference that you would like to join now"
    lines = [strict(text, VOCABULARY) for text in texts]
    fits = fit_text(logits, lines, seconds_per_frame=SECONDS, where="x")
    assert fits[2] is NO_FIT
    for n in (0, 1, 3, 4, 5):
        assert fits[n].start == pytest.approx(times[n][0] * SECONDS, abs=0.04)
        assert fits[n].end == pytest.approx(times[n][1] * SECONDS, abs=0.1)


def test_the_band_of_a_network_that_prefers_blanks_stays_narrow():
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice([*"abcdefgh"], 12)) for _ in range(120)]
    logits, _ = heard(texts, rng, sure=5.0, blank=3.0, mishear=0.5)
    lines = [VOCABULARY.encode(text) for text in texts]
    ids = np.concatenate(lines)
    found = forced_alignment(logits, ids, gaps=gaps_of(lines), leave_out=4.0, floor=6.0, band=400)
    whole = forced_alignment(logits, ids, gaps=gaps_of(lines), leave_out=4.0, floor=6.0)
    assert found.band == 400 and whole.band == 2 * len(ids) + 1
    np.testing.assert_array_equal(found.symbols.start_frame, whole.symbols.start_frame)


def test_silence_lies_between_lines_where_the_network_does_not_know():
    logits = np.zeros((80, len(VOCABULARY)), np.float32)
    logits[:, 0] = 3.0
    a, b = (int(VOCABULARY.encode(letter)[0]) for letter in "ab")
    logits[[10, 12, 60], [a, b, b]] = 8.0, 3.5, 7.0  # `b` fits better after the silence
    silence = np.zeros(80, bool)
    silence[20:55] = True
    ids, gaps = np.array([a, b]), np.array([1, 0, 1], bool)
    starts = [
        forced_alignment(logits, ids, gaps=gaps, pauses=pauses).symbols.start_frame.tolist()
        for pauses in (None, silence)
    ]
    assert starts[0][1] > 55 and starts[1][1] < 20
