"""A transcript of several lines laid over CTC logits: times of lines, words and letters.

Between lines, before the first and after the last, sounds may lie that the transcript leaves out
(CTC segmentation, Kürzinger et al. 2020, lets the audio before the text pass in the same way).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.decode.alignment import Alignment, Character, Word, characters, words
from w2v2_jax.decode.forced import forced_alignment, frames_needed
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import Vocabulary
from w2v2_jax.vocabulary.units import CHARACTERS

MOST_SHOWN = 200  # symbols
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


def encode_lines(
    lines: Sequence[str], vocabulary: Vocabulary, *, where: str
) -> tuple[list[str], list[np.ndarray]]:
    """Normalised lines that are not empty and their ids, each word followed by `|`.

    Raises InputError, naming `where`, on characters the vocabulary lacks and on no text at all.
    """
    unknown = vocabulary.unknown(lines)
    if unknown:
        named = ", ".join(f"{c!r} ({n} times)" for c, n in list(unknown.items())[:8])
        number = next(i for i, line in enumerate(lines, 1) if vocabulary.unknown([line]))
        raise InputError(
            f"{where}: characters the model has no symbol for: {named}, first in line {number}; "
            f"spell them out with {_shown(vocabulary)}"
        )
    texts = [text for line in lines if (text := vocabulary.normalise(line))]
    if not texts:
        raise InputError(f"{where}: no text to align")
    return texts, [vocabulary.encode(text) for text in texts]


def _shown(vocabulary: Vocabulary) -> str:
    """The symbols, letters side by side."""
    space = "" if vocabulary.units == CHARACTERS else " "
    return space.join(vocabulary.symbols[5:][:MOST_SHOWN])


def align_lines(
    logits: np.ndarray,
    lines: Sequence[str],
    vocabulary: Vocabulary,
    *,
    seconds_per_frame: float,
    where: str,
) -> list[Line]:
    """Lines of a transcript, in the order they are spoken, over logits [T, C].

    Raises InputError, naming `where`, on unknown characters, no text, more text than frames, or
    logits that are no finite numbers.
    """
    check_finite(logits, where=where)
    texts, ids = encode_lines(lines, vocabulary, where=where)
    joined = np.concatenate(ids)
    if len(logits) < frames_needed(joined):
        raise InputError(
            f"{where}: the text needs {frames_needed(joined)} frames and the audio has "
            f"{len(logits)} ({len(logits) * seconds_per_frame:.2f} s); is it of this recording?"
        )
    ends = np.cumsum([len(x) for x in ids])
    gaps = np.zeros(len(joined) + 1, bool)
    gaps[[0, *ends]] = True
    aligned = forced_alignment(logits, joined, gaps=gaps)
    pieces = [Alignment(*part) for part in zip(*(np.split(a, ends[:-1]) for a in aligned.symbols),
                                               strict=True)]  # fmt: skip
    return [
        _line(text, piece, aligned.frame_scores, vocabulary, seconds_per_frame)
        for text, piece in zip(texts, pieces, strict=True)
    ]


def _line(text, piece: Alignment, scores, vocabulary: Vocabulary, seconds: float) -> Line:
    read: dict[str, Any] = {"seconds_per_frame": seconds, "units": vocabulary.units}
    spoken = words(piece, vocabulary.symbols, **read)
    letters = characters(piece, vocabulary.symbols, **read)
    inside = scores[piece.start_frame[0] : piece.end_frame[-1]].astype(np.float64)
    width = min(SCORE_FRAMES, len(inside))
    means = np.convolve(inside, np.ones(width) / width, mode="valid")
    confidence = float(np.mean([letter.confidence for letter in letters]))
    return Line(
        text, spoken[0].start, spoken[-1].end, confidence, float(means.min()), spoken, letters
    )
