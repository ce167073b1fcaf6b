"""What one symbol stands for, how a sequence of symbols becomes words again, and counting them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

CHARACTERS, PHONEMES, PIECES = "characters", "phonemes", "sentencepiece"
UNITS = (CHARACTERS, PHONEMES, PIECES)
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "|")  # the first rows of every vocabulary
DELIMITER = "|"  # ends a word of characters; phonemes and pieces do without
MARK = "\u2581"  # begins a word of sentencepiece's pieces


def starts_word(symbol: str, units: str) -> bool:
    """Whether a symbol other than the delimiter begins a word, whatever precedes it."""
    return units == PHONEMES or (units == PIECES and symbol.startswith(MARK))


def letters_of(symbol: str, units: str) -> str:
    """The letters that a symbol adds to its word."""
    return symbol.removeprefix(MARK) if units == PIECES else symbol


def joined(symbols: Iterable[str], units: str) -> str:
    """The text of a sequence of symbols, single spaces between words; a phoneme is a word."""
    if units == PHONEMES:
        return " ".join(symbol for symbol in symbols if symbol != DELIMITER)
    text = "".join(symbols).replace(DELIMITER, " ")
    return " ".join((text.replace(MARK, " ") if units == PIECES else text).split())


def count_characters(texts: Iterable[str], *, normalise) -> dict[str, int]:
    """Characters but spaces of the normalised texts, most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalise(text))
    counts.pop(" ", None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
