"""Aligns a transcript of several lines with CTC logits: times of lines, words and letters.

There may be sounds that the transcript leaves out between lines, before the first and after the
last (CTC segmentation, Kürzinger et al. 2020, allows audio before the text in the same way).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.decode.alignment import SPECIAL_SYMBOLS, Alignment, Character, Word
from w2v2_jax.decode.forced import LEAST, forced_alignment, frames_needed
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.decode.spelling import STAR, Spelling, spelled_lines
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import Vocabulary
from w2v2_jax.vocabulary.units import DELIMITER

SCORE_FRAMES = 30  # a line's score is its worst stretch of this length, as in CTC segmentation


class Line(NamedTuple):
    """A line of the transcript with its times in seconds.

    confidence: mean probability of its letters. score: the lowest mean log probability of
    SCORE_FRAMES neighbouring frames; below about -1 the line and the audio hardly belong together.
    """

    text: str
    start: float
    end: float
    confidence: float
    score: float
    words: list[Word]
    characters: list[Character]


class Aligned(NamedTuple):
    """Lines, and for each its first frame and one past its last, and whether it has a place or was
    left out. shortfalls: [T] as in `Forced`; also NaN inside a star."""

    lines: list[Line]
    first: np.ndarray
    last: np.ndarray
    said: np.ndarray
    shortfalls: np.ndarray


def align_lines(
    logits: np.ndarray,
    lines: Sequence[str],
    vocabulary: Vocabulary,
    *,
    seconds_per_frame: float,
    where: str,
) -> list[Line]:
    """Lines of a transcript, in the order they are spoken, over logits [T, C].

    Raises InputError, naming `where`, on no text or text that is unknown for the most part, more
    text than frames, or logits that are no finite numbers.
    """
    check_finite(logits, where=where)
    spelled = spelled_lines(lines, vocabulary, where=where).lines
    return align_spelled(logits, spelled, seconds_per_frame=seconds_per_frame, where=where).lines


def align_spelled(
    logits: np.ndarray,
    spelled: Sequence[Spelling],
    *,
    seconds_per_frame: float,
    where: str,
    gaps: bool = True,
    leave_out: float | None = None,
    pauses: np.ndarray | None = None,
    floor: float = -LEAST,
) -> Aligned:
    """Spelled lines, each with an id at least, over logits [T, C]; see `align_lines`.

    gaps: whether sounds may lie around the lines that are in none of them. leave_out, pauses,
    floor: as in `forced_alignment`.
    """
    check_finite(logits, where=where)
    joined = np.concatenate([spelling.ids for spelling in spelled])
    joined = np.where(joined == STAR, logits.shape[1], joined)
    if len(logits) < frames_needed(joined):
        raise InputError(
            f"{where}: the text needs {frames_needed(joined)} frames and the audio has "
            f"{len(logits)} ({len(logits) * seconds_per_frame:.2f} s); is it for this recording?"
        )
    ends = np.cumsum([len(spelling.ids) for spelling in spelled])
    places = np.zeros(len(joined) + 1, bool)
    places[[0, *ends]] = gaps
    path = forced_alignment(
        logits, joined, gaps=places, leave_out=leave_out, pauses=pauses, floor=floor
    )
    starts = np.concatenate([[0], ends[:-1]])
    symbols = path.symbols
    first, last = symbols.start_frame[starts], symbols.end_frame[ends - 1]
    shortfalls = path.shortfalls.astype(np.float64)
    for n in np.flatnonzero(joined == logits.shape[1]):
        shortfalls[symbols.start_frame[n] : symbols.end_frame[n]] = np.nan
    lines = [
        _line(
            spelling,
            Alignment(*(part[begin:end] for part in symbols)),
            path.frame_scores,
            seconds_per_frame,
        )
        for spelling, begin, end in zip(spelled, starts, ends, strict=True)
    ]
    return Aligned(lines, first, last, path.said[starts], shortfalls)


def _line(spelling: Spelling, piece: Alignment, scores, seconds: float) -> Line:
    _, start, end, confidence = piece
    letters = _characters(spelling, start, end, confidence, seconds)
    words = _words(spelling, start, end, confidence, seconds)
    inside = scores[start[0] : max(end[-1], start[0] + 1)].astype(np.float64)
    width = min(SCORE_FRAMES, len(inside))
    means = np.convolve(inside, np.ones(width) / width, mode="valid")
    sure = float(np.mean([letter.confidence for letter in letters])) if letters else 0.0
    begin = words[0].start if words else float(start[0] * seconds)
    stop = words[-1].end if words else float(end[-1] * seconds)
    return Line(spelling.text, begin, stop, sure, float(means.min()), words, letters)


def _words(spelling: Spelling, start, end, confidence, seconds: float) -> list[Word]:
    spans: list[list[int]] = [[] for _ in spelling.words]  # positions of each word's letters
    for n, number in enumerate(spelling.word):
        if number >= 0 and spelling.letters[n] != DELIMITER:
            spans[number].append(n)
    words = []
    for word, ids in zip(spelling.words, spans, strict=True):
        begin, stop = float(start[ids[0]] * seconds), float(end[ids[-1]] * seconds)
        words.append(Word(word, begin, stop, float(np.mean(confidence[ids]))))
    return words


def _characters(spelling: Spelling, start, end, confidence, seconds: float) -> list[Character]:
    """The letters; those for which a star stands divide its time evenly."""
    letters = []
    for n, text in enumerate(spelling.letters):
        if text == DELIMITER or text in SPECIAL_SYMBOLS:
            continue
        star = spelling.ids[n] == STAR
        parts = list(text) if star else [text] if text else []
        edges = np.linspace(start[n] * seconds, end[n] * seconds, len(parts) + 1).tolist()
        sure = float(confidence[n])
        letters += [Character(c, edges[k], edges[k + 1], sure) for k, c in enumerate(parts)]
    return letters
