"""Symbols and their ids for CTC. Index 0 is the blank."""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.paths import write_json
from w2v2_jax.texts import CASES, normal_form, with_case
from w2v2_jax.texts.rules import TextRules
from w2v2_jax.vocabulary.pieces import model_bytes, splitter
from w2v2_jax.vocabulary.pronunciations import (
    Pronunciations,
    by_word,
    pronunciations_of,
    said_of_words,
)
from w2v2_jax.vocabulary.units import (
    CHARACTERS,
    DELIMITER,
    MARK,
    PHONEMES,
    PIECES,
    SPECIALS,
    UNITS,
    count_characters,
    joined,
)

BLANK, UNKNOWN, BOUNDARY = 0, 3, 4
SILENT = frozenset({0, 1, 2})
# Before a word without a pronunciation, so that it equals no phoneme. It has no space: `lm` writes
# such words into models of phonemes.
LACKING = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of the model's output rows, and how a text becomes symbols.

    symbols: the five special rows `<s> <pad> </s> <unk> |` (fairseq order; `<s>` is the CTC blank),
        then the others.
    case: one of CASES, such as "upper", "lower:tr" or "keep".
    units: the kind of symbols: characters (words end with `|`), phonemes (separated by spaces, or
        those of the words' pronunciations) or subword pieces (`model` splits texts into them).
    rules: text rules that are applied before the case.
    pronunciations: of the words that texts consist of, where these are not phonemes themselves.
    Raises InputError if malformed.
    """

    symbols: tuple[str, ...]
    case: str
    units: str = CHARACTERS
    rules: TextRules | None = None
    model: str = ""
    pronunciations: Pronunciations = ()

    def __post_init__(self):
        if not all(isinstance(symbol, str) for symbol in self.symbols):
            raise InputError("vocabulary: every symbol must be a text")
        if self.case not in CASES:
            raise InputError(f"vocabulary case={self.case!r} is unknown; use {', '.join(CASES)}")
        if self.units not in UNITS:
            raise InputError(f"vocabulary units={self.units!r} is unknown; use {', '.join(UNITS)}")
        if self.symbols[: len(SPECIALS)] != SPECIALS:
            raise InputError(f"vocabulary: the first symbols must be {' '.join(SPECIALS)}")
        doubled = [s for s, n in Counter(self.symbols).items() if n > 1]
        whole = _is_character if self.units == CHARACTERS else _is_unit
        odd = [s for s in self.symbols[len(SPECIALS) :] if not whole(s)]
        if doubled or odd:
            raise InputError(f"vocabulary: symbols must be different {self.units}: {doubled + odd}")
        if self.pronunciations and self.units != PHONEMES:
            raise InputError(f"vocabulary: pronunciations are of phonemes, not of {self.units}")

    def __len__(self) -> int:
        return len(self.symbols)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        """Row of each symbol by its normal form, which may be two characters (U+09DF is)."""
        rows = [BOUNDARY, *range(len(SPECIALS), len(self.symbols))]
        if self.units == PIECES:
            return {self.symbols[i]: i for i in rows}
        ids = {self.symbols[i]: i for i in rows if normal_form(self.symbols[i]) == self.symbols[i]}
        for i in rows:
            ids.setdefault(normal_form(self.symbols[i]) or self.symbols[i], i)
        return ids

    @functools.cached_property
    def _characters(self) -> Callable[[str], Sequence[str]]:
        """Cuts a text in normal form into the characters that are one symbol or none."""
        longer = [re.escape(s) for s in sorted(self._ids, key=len, reverse=True) if len(s) > 1]
        return re.compile("|".join([*longer, "."]), re.DOTALL).findall if longer else str

    def _tokens(self, words: str) -> Sequence[str]:
        """Cuts normalised words, or one of them, into what is one symbol or none."""
        if self.pronunciations:
            return [
                p for word in words.split() for p in (self._said(word) or [[LACKING + word]])[0]
            ]
        if self.units == PHONEMES:
            return words.split()
        if self.units == CHARACTERS:
            return self._characters(words)
        if not self.model:
            raise InputError(
                "this vocabulary has subword pieces but no sentencepiece model to split texts: it "
                "can transcribe, but cannot encode texts"
            )
        return splitter(self.model)(words)

    @functools.cached_property
    def _by_word(self) -> dict[str, list[list[str]]]:
        return by_word(self.pronunciations, fold=self._fold)

    @functools.cached_property
    def _by_spoken_word(self) -> dict[str, list[list[str]]]:
        """The same by what the rules make of the words: `don't` of one with a curved apostrophe."""
        words = reversed([*said_of_words(self.pronunciations)] if self.rules else [])
        return {self.normalise(word): self._by_word[word] for word in words}

    @functools.cached_property
    def _fold(self) -> Callable[[str], str]:
        """What makes words of any case the same, by the language of the texts' rules of case."""
        _, colon, locale = (self._rules or self).case.partition(":")
        lower = with_case(f"lower:{locale}" if colon else "keep")
        return lambda word: lower(word).casefold()

    def _said(self, word: str) -> list[list[str]]:
        """The pronunciations of a word, in its case or the lexicon's; none if it has none."""
        several = self._by_word.get(word) or self._by_word.get(self._fold(word))
        return several or self._by_spoken_word.get(word, [])

    def _rows(self, token: str) -> tuple[int, ...]:
        """The rows of a token: of its parts where only they are symbols; none if unknown."""
        if token in self._ids:
            return (self._ids[token],)
        if self.units != CHARACTERS:
            return ()
        parts = unicodedata.normalize("NFD", token)
        known = len(parts) > 1 and all(part in self._ids for part in parts)
        return tuple(self._ids[part] for part in parts) if known else ()

    def normalise(self, text: str) -> str:
        """The text by the rules, if there are some, in this vocabulary's case, single spaces (a
        `|` in the text is one)."""
        text = text.replace(DELIMITER, " ")
        return self._rules.normalise(text) if self._rules else with_case(self.case)(text)

    @functools.cached_property
    def _rules(self) -> TextRules | None:
        """The rules in this vocabulary's case: two cases after one another would not settle."""
        if self.rules is None or self.case == "keep":
            return self.rules
        return dataclasses.replace(self.rules, case=self.case)

    def is_outside(self, token: str) -> bool:
        """Whether the rules say that a character is none of the language's."""
        if self._rules is None or self.units != CHARACTERS:
            return False
        return all(map(self._rules.is_outside, token))

    def writes_phonemes(self, *, words: bool) -> bool:
        """Whether texts are of phonemes, and their rate of word errors is that of phonemes. words
        as in `reference`."""
        return self.units == PHONEMES and not words

    def reference(self, text: str, *, words: bool = True) -> str:
        """A transcript as it is scored: normalised, or, where its words have pronunciations and
        the hypotheses are no `words`, as phonemes."""
        normalised = self.normalise(text)
        if words or not self.pronunciations:
            return normalised
        lacking = SPECIALS[UNKNOWN]
        return " ".join(
            lacking if token.startswith(LACKING) else token for token in self._tokens(normalised)
        )

    def as_scored(self, hypothesis: str, *, words: bool = True) -> str:
        """What a decoder wrote, as references are written: the same rules, if there are some, and
        the same case, which words of a lexicon or language model need not have. words as in
        `reference`."""
        if not words and (self.rules is None or self.pronunciations):
            return hypothesis
        said = (w if w in SPECIALS else self.normalise(w) for w in hypothesis.split())
        return " ".join(" ".join(said).split())

    def encode(self, text: str) -> np.ndarray:
        """[U] int32 ids; an unknown token becomes `<unk>`, an empty text has no ids. Every word of
        characters is followed by `|`, as in fairseq's .ltr files (the final one matters to the
        loss)."""
        words = self.normalise(text)
        if words and self.units == CHARACTERS:
            words = words.replace(" ", DELIMITER) + DELIMITER
        rows = (self._rows(token) or (UNKNOWN,) for token in self._tokens(words))
        return np.array([row for some in rows for row in some], np.int32)

    def spell(self, word: str) -> list[str]:
        """The symbols of a word; a token without one as it is, which no symbol equals."""
        rows = ((token, self._rows(token)) for token in self._tokens(normal_form(word)))
        return [s for token, r in rows for s in ([self.symbols[i] for i in r] or [token])]

    def spellings(self, word: str) -> list[list[str]]:
        """`spell` with what ends a word behind it, or all pronunciations of the word."""
        if self.pronunciations and (several := self._said(normal_form(word))):
            return several
        return [[*self.spell(word), *([DELIMITER] if self.units == CHARACTERS else [])]]

    def has_words(self, text: str, *, words: bool = False) -> bool:
        """Whether the text holds a token of this vocabulary. One that holds none (it is empty, or
        spaces, or unknown characters) is no transcript: nothing is trained or scored on it. As
        `words`, the words of a text count even if none has a pronunciation."""
        if words and self.pronunciations:
            return bool(self.normalise(text))
        return any(self._rows(token) for token in self.tokens(text) if token not in (" ", MARK))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids whose repeats and blanks are already collapsed; `<unk>` stays visible."""
        symbols = [self.symbols[int(i)] for i in ids if int(i) not in SILENT]
        if self.units == PHONEMES:
            return joined(filter(None, map(normal_form, symbols)), self.units)
        return joined(normal_form("".join(symbols)), self.units)

    def described(self) -> str:
        """What no transcript has that is left out, for messages."""
        if self.pronunciations:
            some = " ".join(word for word, _ in self.pronunciations[:5])
            return f"has a word of the pronunciations ({some} ...)"
        shown = " ".join(self.symbols[len(SPECIALS) : len(SPECIALS) + 20])
        return (
            f"has a character of the vocabulary (case {self.case}: {shown}); is it of another "
            "language?"
        )

    def tokens(self, text: str) -> Sequence[str]:
        """What of the normalised text is one symbol or none, and its spaces if these are symbols:
        characters, pieces or phonemes. A word without a pronunciation is one, after LACKING."""
        return self._tokens(self.normalise(text))

    def unknown(self, texts: Iterable[str]) -> dict[str, int]:
        """Tokens of the normalised texts that this vocabulary lacks, with their counts."""
        counts = count_characters(texts, normalise=self.tokens)
        word = LACKING if self.pronunciations else ""
        return {c.removeprefix(word): n for c, n in counts.items() if not self._rows(c)}

    def to_json(self) -> dict[str, Any]:
        """{"symbols": [...], "case": ...}, and what differs from characters as they are written:
        "locale" where the case follows a language (whoever does not know of locales reads the
        rest), "units", "text" (the rules), "sentencepiece" (the model) and "pronunciations"."""
        case, colon, locale = self.case.partition(":")
        content: dict[str, Any] = {"symbols": list(self.symbols), "case": case}
        content |= {"locale": locale} if colon else {}
        content |= {"units": self.units} if self.units != CHARACTERS else {}
        content |= {"text": self.rules.to_json()} if self.rules else {}
        content |= {"sentencepiece": self.model} if self.model else {}
        said = said_of_words(self.pronunciations)
        return content | ({"pronunciations": said} if said else {})

    @staticmethod
    def from_json(content: dict[str, Any]) -> Vocabulary:
        """What `to_json` made; ValueError, KeyError or TypeError if it is something else."""
        locale, text = content.get("locale"), content.get("text")
        case = f"{content['case']}:{locale}" if locale else content["case"]
        rules = None if text is None else TextRules.from_json(text, where="vocabulary")
        model = content.get("sentencepiece", "")
        model_bytes(model)
        units = content.get("units", CHARACTERS)
        said = pronunciations_of(content.get("pronunciations", {}))
        return Vocabulary(tuple(content["symbols"]), case, units, rules, model, said)

    def save(self, path: str | Path) -> None:
        """Writes `to_json`, by convention `vocabulary.json`."""
        write_json(path, self.to_json())


def _is_character(symbol: str) -> bool:
    return len(symbol) == 1


def _is_unit(symbol: str) -> bool:
    return bool(symbol) and not any(c.isspace() for c in symbol)
