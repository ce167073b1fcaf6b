"""Spells a text as ids for forced alignment, including characters that have no symbol.

A run of characters without a symbol (digits, other scripts) is one STAR, which matches whatever is
said there, so that the neighbouring words keep their times.
"""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.texts import normal_form
from w2v2_jax.vocabulary import BOUNDARY, LACKING, Vocabulary
from w2v2_jax.vocabulary.units import CHARACTERS, DELIMITER, MARK, letters_of, starts_word

STAR = -1  # an id that forced alignment takes for any sound
STAR_WORD = "<star>"  # a person's, for words that were not said as written
MOST_SHOWN = 200  # symbols
SPOKEN_SIGNS = "%&@#+="  # of the characters between words those that are read out


class Spelling(NamedTuple):
    """One line: `words` as they are written, each with ids that end with that of `|`.

    ids: [U] rows of the vocabulary or STAR. letters: [U] the characters that each id stands for.
    word: [U] the number of each id's word; -1 for a star that stands for no word of the text.
    """

    text: str
    words: list[str]
    ids: np.ndarray
    letters: list[str]
    word: np.ndarray


def strict(line: str, vocabulary: Vocabulary) -> Spelling:
    """A line whose characters all have symbols; others become `<unk>`, as in `encode`. Its words
    are those of the symbols: each phoneme is one."""
    text, units = vocabulary.normalise(line), vocabulary.units
    ids = vocabulary.encode(text).astype(np.int64)
    words, letters, number, inside = [], [], [], False
    for symbol in (vocabulary.symbols[i] for i in ids):
        ends = symbol == DELIMITER
        if not ends and (not inside or starts_word(symbol, units)):
            words.append("")
        inside = not ends
        letters.append(symbol if ends else letters_of(symbol, units))
        words[-1] += "" if ends else letters[-1]
        number.append(len(words) - 1)
    said = np.array([bool(word) for word in words], bool)  # a mark alone may stand for none
    place = np.where(said, np.cumsum(said) - 1, -1)
    whole = [normal_form(word) for word in words if word]
    return Spelling(text, whole, ids, letters, place[number] if number else ids)


class Speller:
    """Spells lines of any characters. counts: how often each character without a symbol was
    replaced in which way, such as "7 as <star>". romanise: a word -> Latin letters, which are
    spelled instead of it."""

    def __init__(self, vocabulary: Vocabulary, *, romanise: Callable[[str], str] = str):
        self._vocabulary, self._romanise = vocabulary, romanise
        self._rows = {symbol: row for row, symbol in enumerate(vocabulary.symbols)}
        self.counts: collections.Counter[str] = collections.Counter()

    def __call__(self, line: str) -> Spelling:
        """The line's words, without those of only punctuation. A line that cannot be spelled at all
        has no ids."""
        words, ids, letters, number = [], [], [], []
        for word in line.split():
            if word == STAR_WORD:
                spelled = [(STAR, "")]
            else:
                spelled = self._word(word)
            if not spelled:
                continue
            words += [word] if word != STAR_WORD else []
            if self._vocabulary.units == CHARACTERS:
                spelled.append((BOUNDARY, DELIMITER))
            ids += [row for row, _ in spelled]
            letters += [characters for _, characters in spelled]
            number += [len(words) - 1 if word != STAR_WORD else -1] * len(spelled)
        text = " ".join(line.split())
        return Spelling(text, words, np.array(ids, np.int64), letters, np.array(number, np.int64))

    def _word(self, word: str) -> list[tuple[int, str]]:
        spelled: list[tuple[int, str]] = []
        for symbol in self._vocabulary.spell(self._vocabulary.normalise(self._romanise(word))):
            if symbol == " ":  # of a number that the vocabulary's rules write out
                spelled.append((BOUNDARY, ""))
                continue
            rows = [self._rows[symbol]] if symbol in self._rows else self._plain(symbol)
            symbol = letters_of(symbol.removeprefix(LACKING), self._vocabulary.units)
            if rows == [STAR] and spelled and spelled[-1][0] == STAR:
                spelled[-1] = (STAR, spelled[-1][1] + symbol)
            else:
                spelled += [(row, symbol if k == 0 else "") for k, row in enumerate(rows)]
        return spelled

    def _plain(self, character: str) -> list[int]:
        """Rows for a character without a symbol: those of its letters without their marks, none for
        punctuation, else a star."""
        character = character.removeprefix(LACKING)
        signs = character.removeprefix(MARK)
        if all(c not in SPOKEN_SIGNS and unicodedata.category(c)[0] in "PZCM" for c in signs):
            return []
        plain = [
            part
            for part in unicodedata.normalize("NFKD", character)
            if not unicodedata.combining(part)
        ]
        letters = self._vocabulary.units == CHARACTERS and character[0].isalpha()
        known = letters and bool(plain) and all(part in self._rows for part in plain)
        rows = [self._rows[part] for part in plain] if known else [STAR]
        read = "".join(self._vocabulary.symbols[row] for row in rows) if known else STAR_WORD
        self.counts[f"{character} as {read}"] += 1
        return rows


class Spelled(NamedTuple):
    """Lines with an id at least. replaced: what was taken for characters without a symbol, and how
    often. left_out: the numbers of lines of punctuation alone."""

    lines: list[Spelling]
    replaced: collections.Counter[str]
    left_out: list[int]


def spelled_lines(
    lines: Sequence[str],
    vocabulary: Vocabulary,
    *,
    where: str,
    romanise: Callable[[str], str] | None = None,
) -> Spelled:
    """The lines that are not empty, as they are written, to be laid over logits. The words of those
    of known characters are what their symbols say; others, and all that are romanised, stay too.

    Raises InputError, naming `where`, on no text at all, and where the vocabulary lacks most of it:
    stars alone would fit any recording.
    """
    speller = Speller(vocabulary, romanise=romanise or str)
    spelled, left_out = [], []
    for number, line in enumerate(lines, 1):
        known = (
            romanise is None
            and not vocabulary.pronunciations  # whose words are not those of the symbols
            and not vocabulary.unknown([line])
            and STAR_WORD not in line.split()
        )
        spelling = strict(line, vocabulary) if known else speller(line)
        spelling = spelling._replace(text=" ".join(line.split()))
        if len(spelling.ids) and (spelling.words or not known):
            spelled.append(spelling)
        elif line.strip():
            left_out.append(number)
    if not any(spelling.words for spelling in spelled):
        raise InputError(f"{where}: no text to align")
    letters = [len(t) for s in spelled for t in s.letters if t != DELIMITER]
    stars = [len(t) for s in spelled for i, t in zip(s.ids, s.letters, strict=True) if i == STAR]
    if 2 * sum(stars) > sum(letters) or not letters:
        raise _lacking(lines, vocabulary, where=where, romanised=romanise is not None)
    return Spelled(spelled, speller.counts, left_out)


def _lacking(lines, vocabulary: Vocabulary, *, where: str, romanised: bool) -> InputError:
    unknown = vocabulary.unknown(lines)
    named = ", ".join(f"{c!r} ({n} times)" for c, n in list(unknown.items())[:8])
    number = next((i for i, line in enumerate(lines, 1) if vocabulary.unknown([line])), 1)
    if vocabulary.pronunciations:
        return InputError(
            f"{where}: words without a pronunciation, most of the text: {named}, first in line "
            f"{number}; the checkpoint knows those of its lexicon"
        )
    remedy = "" if romanised else "align another script with --romanise, or "
    return InputError(
        f"{where}: characters the model has no symbol for, most of the text: {named}, first in "
        f"line {number}; {remedy}spell them out with {_shown(vocabulary)}"
    )


def _shown(vocabulary: Vocabulary) -> str:
    """The symbols, letters side by side."""
    space = "" if vocabulary.units == CHARACTERS else " "
    return space.join(vocabulary.symbols[5:][:MOST_SHOWN])
