"""Segments of a long recording against a known truth: their times, and texts that were not said."""

import numpy as np
import pytest

from tests.helpers.segment_cases import SECONDS, VOCABULARY, recording, sentence, with_wrong
from w2v2_jax.decode.segments import fit_text, fit_times
from w2v2_jax.decode.spelling import Speller, strict

COUNT, LEAST = 60, -2.0


@pytest.fixture(scope="module")
def long():
    return recording(np.random.default_rng(0), COUNT)


def spelled(texts):
    return [strict(text, VOCABULARY) for text in texts]


def late(fits, truth):
    """[N] seconds by which a segment's worse edge is away from the truth."""
    starts, ends = (np.array([getattr(fit, name) for fit in fits]) for name in ("start", "end"))
    return np.maximum(np.abs(starts - truth.starts), np.abs(ends - truth.ends))


def test_95_percent_of_the_segments_of_a_running_text_are_within_100_ms(long):
    fits = fit_text(long.logits, spelled(long.texts), seconds_per_frame=SECONDS, where="text")
    assert np.mean(late(fits, long) <= 0.1) >= 0.95
    assert np.mean([fit.score > LEAST for fit in fits]) >= 0.95


@pytest.mark.parametrize("timed", [False, True])
def test_95_percent_of_wrong_sentences_are_told_and_the_others_stay_where_they_are(long, timed):
    texts, wrong = with_wrong(np.random.default_rng(1), long.texts)
    assert wrong.sum() == 6
    lines, options = spelled(texts), {"seconds_per_frame": SECONDS, "where": "text"}
    if timed:
        times = list(zip(long.starts, long.ends, strict=True))
        fits = fit_times(long.logits, lines, times, **options)
    else:
        fits = fit_text(long.logits, lines, **options)
    low = np.array(
        [not fit.score > LEAST for fit in fits]
    )  # also what has no place between its times
    assert np.mean(low[wrong]) >= 0.95 and np.mean(~low[~wrong]) >= 0.95
    assert np.mean((late(fits, long) <= 0.1)[~wrong]) >= 0.95


def test_times_that_are_a_second_off_are_mended_within_reach(long):
    rng = np.random.default_rng(2)
    moved = rng.uniform(-1, 1, (2, COUNT))
    times = list(zip(long.starts + moved[0], long.ends + moved[1], strict=True))
    fits = fit_times(
        long.logits, spelled(long.texts), times, seconds_per_frame=SECONDS, where="x", reach=1.2
    )
    assert np.mean(late(fits, long) <= 0.1) >= 0.95


def test_a_line_that_leaves_out_half_of_what_is_said_between_its_times_scores_low(long):
    halves = [" ".join(text.split()[: len(text.split()) // 2]) for text in long.texts[:20]]
    times = list(zip(long.starts, long.ends, strict=True))[:20]
    fits = fit_times(long.logits, spelled(halves), times, seconds_per_frame=SECONDS, where="x")
    assert max(fit.score for fit in fits) < LEAST


def test_a_long_silence_does_not_hide_a_wrong_line(long):
    silence = np.zeros((1500, long.logits.shape[1]), np.float32)
    silence[:, 0] = 9
    logits = np.concatenate([long.logits[: round(long.ends[0] / SECONDS) + 20], silence])
    other = sentence(np.random.default_rng(3))
    fits = fit_text(logits, spelled([long.texts[0], other]), seconds_per_frame=SECONDS, where="x")
    assert fits[0].score > LEAST and not fits[1].score > -4  # it may also have no place


def test_numbers_and_lines_of_none_of_the_models_letters_leave_their_neighbours_in_place(long):
    texts = [*long.texts[:6]]
    said = texts[2].split()
    texts[2] = " ".join([said[0], "1984", *said[2:]])  # the second word is said as it was
    texts[4] = "..."
    speller = Speller(VOCABULARY)
    logits = long.logits[: round(long.ends[5] / SECONDS) + 20]
    fits = fit_text(logits, [speller(text) for text in texts], seconds_per_frame=SECONDS, where="x")
    assert np.isnan(fits[4].start) and not fits[4].words
    for n in (0, 1, 2, 3, 5):
        assert abs(fits[n].start - long.starts[n]) <= 0.1 and fits[n].score > LEAST
    word = fits[2].words[1]
    assert word.word == "1984"
    assert fits[2].words[0].end <= word.start < word.end <= fits[2].words[2].start


def test_one_wrong_word_shows_in_the_worst_stretch(long):
    said = long.texts[1].split()
    changed = " ".join([*said[:2], "xyzzyq", *said[3:]])
    logits = long.logits[: round(long.ends[1] / SECONDS) + 20]
    right, wrong = (
        fit_text(logits, spelled([long.texts[0], text]), seconds_per_frame=SECONDS, where="x")[1]
        for text in (long.texts[1], changed)
    )
    assert right.worst > -2.5 > wrong.worst
