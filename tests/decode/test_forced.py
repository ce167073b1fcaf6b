"""Forced alignment against all paths, a known truth, and its own band."""

import tracemalloc

import numpy as np
import pytest

from w2v2_jax.decode.alignment import words
from w2v2_jax.decode.forced import forced_alignment, frames_needed, log_softmax
from w2v2_jax.decode.greedy import greedy
from w2v2_jax.decode.lines import align_lines
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

VOCABULARY = Vocabulary((*SPECIALS, *"ABCDE'"), "upper")
HEIGHT = 6.0  # of the true class over noise of deviation 1


def best_of_all_paths(log_probs, ids) -> float:
    """The best sum over every CTC path of the ids, by enumeration."""
    classes = np.zeros(2 * len(ids) + 1, int)
    classes[1::2] = ids
    paths = {(s,): log_probs[0, classes[s]] for s in (0, 1)}
    for frame in log_probs[1:]:
        longer = {}
        for path, score in paths.items():
            for state in range(path[-1], min(path[-1] + 3, len(classes))):
                if state == path[-1] + 2 and (
                    state % 2 == 0 or classes[state] == classes[path[-1]]
                ):
                    continue
                longer[(*path, state)] = score + frame[classes[state]]
        paths = longer
    return max(score for path, score in paths.items() if path[-1] >= len(classes) - 2)


def spoken(ids, rng, *, longest_pause=6):
    """Logits [T, 11] of a path whose starts [U] are known: the truth that a test compares with."""
    path, starts = [0] * 3, []
    for i in ids:
        starts.append(len(path))
        path += [i] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, longest_pause))
    logits = rng.normal(size=(len(path), len(VOCABULARY))).astype(np.float32)
    logits[np.arange(len(path)), path] += HEIGHT
    return logits, np.array(starts)


def test_the_path_is_the_best_of_all_paths_in_blocks_of_any_length():
    rng = np.random.default_rng(0)
    for _ in range(25):
        ids = rng.integers(1, 4, rng.integers(1, 4))
        logits = 2 * rng.normal(size=(rng.integers(6, 8), 4))
        found = forced_alignment(logits, ids, block=int(rng.integers(1, 8)))
        best = best_of_all_paths(log_softmax(logits), ids)
        assert found.frame_scores.sum() == pytest.approx(best, abs=1e-4)


def test_every_symbol_is_within_40_ms_of_where_it_was_put():
    rng = np.random.default_rng(1)
    ids = rng.integers(4, 11, 200)
    logits, starts = spoken(ids, rng)
    found = forced_alignment(logits, ids).symbols
    assert found.ids.tolist() == ids.tolist()
    assert np.abs(found.start_frame - starts).max() <= 2
    assert np.median(np.abs(found.start_frame - starts)) == 0


def test_greedy_word_times_are_within_40_ms_of_forced_alignment_and_of_the_truth():
    rng = np.random.default_rng(6)
    text = " ".join("".join(rng.choice(list("ABCDE"), 4)) for _ in range(60))
    ids = VOCABULARY.encode(text)
    logits, starts = spoken(ids, rng)
    (line,) = align_lines(logits, [text], VOCABULARY, seconds_per_frame=0.02, where="text")
    heard = words(greedy(logits, len(logits))[0], VOCABULARY.symbols)
    firsts = starts[np.append(0, np.flatnonzero(ids == 4)[:-1] + 1)] * 0.02
    assert [w.word for w in line.words] == text.split()
    assert np.abs([w.start for w in line.words] - firsts).max() <= 0.04
    forced = {round(w.start, 2): w for w in line.words}
    matched = [(w, forced[round(w.start, 2)]) for w in heard if round(w.start, 2) in forced]
    assert len(matched) > 50  # noise makes greedy mishear some, but not elsewhere
    gaps = [max(abs(a.start - b.start), abs(a.end - b.end)) for a, b in matched]
    assert np.median(gaps) <= 0.04


def test_a_narrow_band_finds_what_the_whole_lattice_finds_or_widens_until_it_does():
    rng = np.random.default_rng(2)
    ids = rng.integers(4, 11, 400)
    logits, _ = spoken(ids, rng)
    whole = forced_alignment(logits, ids, band=1000)
    narrow = forced_alignment(logits, ids, band=128, block=100)
    assert whole.band == 801 and narrow.band == 128
    np.testing.assert_array_equal(narrow.symbols.start_frame, whole.symbols.start_frame)
    silence = np.eye(len(VOCABULARY), dtype=np.float32)[np.zeros(3000, int)] * 9
    late = np.concatenate([logits, silence])  # the end pulls a narrow band away from the words
    found = forced_alignment(late, ids, band=16)
    np.testing.assert_array_equal(found.symbols.start_frame, whole.symbols.start_frame)


def test_memory_is_that_of_a_block_and_a_band():
    rng = np.random.default_rng(3)
    ids = rng.integers(4, 11, 800)
    logits, _ = spoken(ids, rng, longest_pause=3)
    tracemalloc.start()
    forced_alignment(logits, ids, band=128, block=128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole_lattice = len(logits) * (2 * len(ids) + 1)  # a byte a pointer
    assert peak < whole_lattice / 4


def test_equal_neighbours_need_a_blank_between():
    assert frames_needed(np.array([5, 5, 6])) == 4
    with pytest.raises(ValueError, match="3 symbols need 4 frames of 3"):
        forced_alignment(np.zeros((3, 8)), np.array([5, 5, 6]))


def test_an_infinite_logit_rules_a_class_out_but_ends():
    logits = np.full((4, 7), -np.inf)
    logits[:, 0] = 0
    found = forced_alignment(logits, np.array([5, 6]))
    assert np.isfinite(found.frame_scores).all() and len(found.symbols.ids) == 2


def test_lines_skip_what_the_transcript_leaves_out():
    rng = np.random.default_rng(4)
    lines = ["abc ab", "", "dead bed"]
    first, second = (VOCABULARY.encode(lines[k]) for k in (0, 2))
    junk = VOCABULARY.encode("ecce cede ce")
    parts = [spoken(x, rng)[0] for x in (junk, first, junk, second, junk)]
    ends = np.cumsum([len(p) for p in parts]) * 0.02
    found = align_lines(
        np.concatenate(parts), lines, VOCABULARY, seconds_per_frame=0.02, where="text"
    )
    assert [line.text for line in found] == ["abc ab", "dead bed"]
    for line, begin, end in zip(found, ends[[0, 2]], ends[[1, 3]], strict=True):
        assert begin <= line.start <= begin + 0.1 and end - 0.4 <= line.end <= end
        assert line.confidence > 0.9 and line.score > -0.5
    assert [w.word for w in found[1].words] == ["DEAD", "BED"]
    assert "".join(c.character for c in found[1].characters) == "DEADBED"


def test_a_line_that_was_not_said_scores_low():
    rng = np.random.default_rng(5)
    logits = np.concatenate([spoken(VOCABULARY.encode(t), rng)[0] for t in ("abc", "bad bee")])
    said = align_lines(logits, ["abc", "bad bee"], VOCABULARY, seconds_per_frame=1, where="x")
    other = align_lines(logits, ["abc", "cec add"], VOCABULARY, seconds_per_frame=1, where="x")
    assert said[1].score > -0.5 > -1 > other[1].score


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["AB", "x77 7"], r"f.txt: .*'7' \(3 times\), 'X' \(1 times\).*in line 2; .*ABCDE'"),
        (["", "  "], "f.txt: no text to align"),
        (["AAAA BBBB CCCC"], r"f.txt: the text needs 24 frames and the audio has 9 \(0.18 s\)"),
    ],
)
def test_a_transcript_that_cannot_be_aligned_is_one_clear_line(lines, message):
    with pytest.raises(InputError, match=message):
        align_lines(np.zeros((9, 11)), lines, VOCABULARY, seconds_per_frame=0.02, where="f.txt")
