"""Greedy CTC decoding against a loop over frames, and words with their times."""

import itertools

import numpy as np
import pytest

from w2v2_jax.decode.alignment import Alignment, Word, text, words
from w2v2_jax.decode.greedy import greedy

SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "|", "A", "B", "L"]


def logits_of(path: list[int], classes: int = len(SYMBOLS), height: float = 5.0) -> np.ndarray:
    return height * np.eye(classes, dtype=np.float32)[path].reshape(len(path), classes)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_random_logits_decode_as_a_loop_over_frames_does():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20, 30, 4)).astype(np.float32)
    num_frames = rng.integers(0, 31, size=20)
    for row, count, found in zip(logits, num_frames, greedy(logits, num_frames), strict=True):
        path, probability = row[:count].argmax(-1), softmax(row[:count])
        runs = [
            (k, [t for t, _ in g]) for k, g in itertools.groupby(enumerate(path), lambda p: p[1])
        ]
        runs = [(k, frames) for k, frames in runs if k != 0]
        assert found.ids.tolist() == [k for k, _ in runs]
        assert found.start_frame.tolist() == [frames[0] for _, frames in runs]
        assert found.end_frame.tolist() == [frames[-1] + 1 for _, frames in runs]
        expected = [probability[frames, k].mean() for k, frames in runs]
        np.testing.assert_allclose(found.confidence, expected, rtol=1e-5)


def test_a_letter_doubles_only_with_a_blank_between():
    (joined,) = greedy(logits_of([5, 7, 7, 7]), 4)
    (doubled,) = greedy(logits_of([5, 7, 0, 7]), 4)
    assert (text(joined, SYMBOLS), text(doubled, SYMBOLS)) == ("AL", "ALL")


def test_only_blanks_or_no_frames_give_nothing():
    for logits, count in ((logits_of([0, 0]), 2), (logits_of([5, 5]), 0), (logits_of([]), 0)):
        (found,) = greedy(logits, count)
        assert found.ids.size == found.confidence.size == 0
        assert text(found, SYMBOLS) == ""
        assert words(found, SYMBOLS) == []


def test_frames_after_the_valid_ones_are_not_looked_at():
    (found,) = greedy(logits_of([5, 0, 6, 6]), 2)
    assert text(found, SYMBOLS) == "A"


def test_the_batch_and_another_blank_change_nothing_else():
    path = [1, 5, 5, 1, 6]
    (one,) = greedy(logits_of(path), 5, blank=1)
    batch = greedy(np.stack([logits_of(path)] * 2), [5, 3], blank=1)
    assert text(one, SYMBOLS) == text(batch[0], SYMBOLS) == "AB"
    assert text(batch[1], SYMBOLS) == "A"


def test_words_have_times_in_seconds_and_mean_confidence():
    alignment = Alignment(
        ids=np.array([4, 5, 6, 4, 4, 7]),
        start_frame=np.array([0, 10, 12, 15, 18, 20]),
        end_frame=np.array([1, 11, 14, 16, 19, 25]),
        confidence=np.array([1.0, 0.5, 0.7, 1.0, 1.0, 0.9]),
    )
    assert words(alignment, SYMBOLS) == [
        Word("AB", pytest.approx(0.2), pytest.approx(0.28), pytest.approx(0.6)),
        Word("L", pytest.approx(0.4), pytest.approx(0.5), pytest.approx(0.9)),
    ]
    assert words(alignment, SYMBOLS, seconds_per_frame=1.0)[1][1:3] == (20, 25)
    assert text(alignment, SYMBOLS) == "AB L"


def test_special_symbols_are_never_written():
    (found,) = greedy(logits_of([5, 1, 6, 2, 3, 4, 3, 4]), 8)
    assert found.ids.tolist() == [5, 1, 6, 2, 3, 4, 3, 4]
    assert text(found, SYMBOLS) == "AB"


def test_large_logits_do_not_overflow():
    (found,) = greedy(logits_of([5], height=1e4), 1)
    assert found.confidence.tolist() == [1.0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        greedy(logits_of([5, 5]), 3)
    with pytest.raises(ValueError, match="do not fit"):
        greedy(np.zeros((2, 3, 4)), [3])
