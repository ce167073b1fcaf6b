"""A path through the frames -> symbols, words and letters with times. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.texts import normal_form
from w2v2_jax.vocabulary.units import CHARACTERS, DELIMITER, letters_of, starts_word

SECONDS_PER_FRAME = 0.02  # the feature encoder's stride, 320 samples at 16 kHz
SPECIAL_SYMBOLS = frozenset({"<s>", "<pad>", "</s>", "<unk>"})


class Alignment(NamedTuple):
    """The symbols of one utterance, N of them; symbol n spans frames start_frame to end_frame."""

    ids: np.ndarray  # [N] int
    start_frame: np.ndarray  # [N] int, the first frame
    end_frame: np.ndarray  # [N] int, one past the last frame
    confidence: np.ndarray  # [N] mean softmax probability of the symbol over its frames


class Word(NamedTuple):
    """A word with its times in seconds and the mean confidence of its letters."""

    word: str
    start: float
    end: float
    confidence: float


class Character(NamedTuple):
    """A letter of a word with its times in seconds and its confidence."""

    character: str
    start: float
    end: float
    confidence: float


def path_probability(path: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Softmax probability [T] of each step of a path [T] through logits [T, C]."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf)
    exponentials = np.exp(shifted)
    return exponentials[np.arange(len(path)), path] / exponentials.sum(axis=-1)


def collapse(path: np.ndarray, probability: np.ndarray, *, blank: int = 0) -> Alignment:
    """Path [T] and the probability [T] of its steps -> its symbols: repeats joined, no blanks."""
    starts = np.flatnonzero(np.diff(path, prepend=-1))  # [runs], the first frame of each run
    ends = np.append(starts[1:], len(path))[: len(starts)]
    sums = np.concatenate([[0.0], np.cumsum(probability)])
    confidence = (sums[ends] - sums[starts]) / (ends - starts)
    spoken = path[starts] != blank
    return Alignment(path[starts][spoken], starts[spoken], ends[spoken], confidence[spoken])


def align_path(path: np.ndarray, logits: np.ndarray, *, blank: int) -> Alignment:
    """The symbols of a path [T] through logits [T, C], with its probability as confidence."""
    return collapse(path, path_probability(path, logits), blank=blank)


def words(
    alignment: Alignment,
    symbols: Sequence[str],
    *,
    seconds_per_frame: float = SECONDS_PER_FRAME,
    delimiter: str = DELIMITER,
    units: str = CHARACTERS,
) -> list[Word]:
    """Groups the symbols between delimiters into words, without special symbols. units: those of
    the vocabulary; each phoneme is a word, and pieces show where a word begins."""
    timed: list[Word] = []
    letters: list[int] = []  # positions in the alignment

    def close() -> None:
        word = "".join(letters_of(symbols[alignment.ids[n]], units) for n in letters)
        if word:
            timed.append(
                Word(
                    word=normal_form(word),
                    start=float(alignment.start_frame[letters[0]] * seconds_per_frame),
                    end=float(alignment.end_frame[letters[-1]] * seconds_per_frame),
                    confidence=float(np.mean(alignment.confidence[letters])),
                )
            )
        letters.clear()

    for position, symbol_id in enumerate(alignment.ids):
        symbol = symbols[symbol_id]
        if symbol == delimiter or starts_word(symbol, units):
            close()
        if symbol != delimiter and symbol not in SPECIAL_SYMBOLS:
            letters.append(position)
    close()
    return timed


def characters(
    alignment: Alignment,
    symbols: Sequence[str],
    *,
    seconds_per_frame: float = SECONDS_PER_FRAME,
    delimiter: str = DELIMITER,
    units: str = CHARACTERS,
) -> list[Character]:
    """The letters (phonemes, pieces) of the words, in order; delimiters and special symbols are
    left out."""
    return [
        Character(
            letters_of(symbols[symbol], units),
            float(start * seconds_per_frame),
            float(end * seconds_per_frame),
            float(confidence),
        )
        for symbol, start, end, confidence in zip(*alignment, strict=True)
        if symbols[symbol] not in {delimiter, *SPECIAL_SYMBOLS}
        and letters_of(symbols[symbol], units)
    ]


def text(
    alignment: Alignment,
    symbols: Sequence[str],
    *,
    delimiter: str = DELIMITER,
    units: str = CHARACTERS,
) -> str:
    """The words with single spaces between them."""
    spoken = words(alignment, symbols, delimiter=delimiter, units=units)
    return " ".join(word.word for word in spoken)
