"""What one symbol stands for, and how symbols in a row are words again."""

from __future__ import annotations

from collections.abc import Iterable

CHARACTERS, PHONEMES, PIECES = "characters", "phonemes", "sentencepiece"
UNITS = (CHARACTERS, PHONEMES, PIECES)
DELIMITER = "|"  # ends a word of characters; phonemes and pieces do without
MARK = "\u2581"  # begins a word of sentencepiece's pieces


def starts_word(symbol: str, units: str) -> bool:
    """Whether a symbol that is no delimiter begins a word whatever stands before it."""
    return units == PHONEMES or (units == PIECES and symbol.startswith(MARK))


def letters_of(symbol: str, units: str) -> str:
    """What a symbol adds to its word."""
    return symbol.removeprefix(MARK) if units == PIECES else symbol


def joined(symbols: Iterable[str], units: str) -> str:
    """The text of symbols in a row, single spaces between words; a phoneme is a word."""
    if units == PHONEMES:
        return " ".join(symbol for symbol in symbols if symbol != DELIMITER)
    text = "".join(symbols).replace(DELIMITER, " ")
    return " ".join((text.replace(MARK, " ") if units == PIECES else text).split())
