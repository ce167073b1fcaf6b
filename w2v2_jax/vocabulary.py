"""Characters and their ids for CTC. Index 0 is the blank; words end with `|`."""

from __future__ import annotations

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
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.texts import CASES, normal_form, with_case

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "|")
BLANK, UNKNOWN, BOUNDARY = 0, 3, 4


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of the model's output rows, and the case texts are brought to.

    symbols: the five special rows `<s> <pad> </s> <unk> |`, then one character each (fairseq order;
    `<s>` is the CTC blank). case: one of CASES, such as "upper", "lower:tr" or "keep". Raises
    InputError when malformed.
    """

    symbols: tuple[str, ...]
    case: str

    def __post_init__(self):
        if not all(isinstance(symbol, str) for symbol in self.symbols):
            raise InputError("vocabulary: every symbol must be a text")
        if self.case not in CASES:
            raise InputError(f"vocabulary case={self.case!r} is unknown; use {', '.join(CASES)}")
        if self.symbols[: len(SPECIALS)] != SPECIALS:
            raise InputError(f"vocabulary: the first symbols must be {' '.join(SPECIALS)}")
        doubled = [s for s, n in Counter(self.symbols).items() if n > 1]
        long = [s for s in self.symbols[len(SPECIALS) :] if len(s) != 1]
        if doubled or long:
            raise InputError(f"vocabulary: symbols must be different characters: {doubled + long}")

    def __len__(self) -> int:
        return len(self.symbols)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        """Row of each symbol by its normal form, which may be two characters (U+09DF is)."""
        rows = [BOUNDARY, *range(len(SPECIALS), len(self.symbols))]
        ids = {self.symbols[i]: i for i in rows if normal_form(self.symbols[i]) == self.symbols[i]}
        for i in rows:
            ids.setdefault(normal_form(self.symbols[i]) or self.symbols[i], i)
        return ids

    @functools.cached_property
    def _tokens(self) -> Callable[[str], Sequence[str]]:
        """Cuts a text in normal form into the characters that are one symbol or none."""
        longer = [re.escape(s) for s in sorted(self._ids, key=len, reverse=True) if len(s) > 1]
        return re.compile("|".join([*longer, "."]), re.DOTALL).findall if longer else str

    def _rows(self, token: str) -> tuple[int, ...]:
        """The rows of a character: of its parts where only they are symbols; none if unknown."""
        if token in self._ids:
            return (self._ids[token],)
        parts = unicodedata.normalize("NFD", token)
        known = len(parts) > 1 and all(part in self._ids for part in parts)
        return tuple(self._ids[part] for part in parts) if known else ()

    def normalise(self, text: str) -> str:
        """The normal form in this vocabulary's case, single spaces (a `|` in the text is one)."""
        return with_case(self.case)(text.replace("|", " "))

    def encode(self, text: str) -> np.ndarray:
        """[U] int32 ids: every word followed by `|`, as in fairseq's .ltr files (the final one
        matters to the loss). Unknown characters become `<unk>`; an empty text has no ids."""
        words = self.normalise(text)
        letters = words.replace(" ", "|") + "|" if words else ""
        rows = (self._rows(token) or (UNKNOWN,) for token in self._tokens(letters))
        return np.array([row for some in rows for row in some], np.int32)

    def spell(self, word: str) -> list[str]:
        """The symbols of a word; a character without one as it is, which no symbol equals."""
        rows = ((token, self._rows(token)) for token in self._tokens(normal_form(word)))
        return [s for token, r in rows for s in ([self.symbols[i] for i in r] or [token])]

    def has_words(self, text: str) -> bool:
        """Whether the text holds a character of this vocabulary. One that holds none (it is empty,
        or spaces, or unknown characters) is no transcript: nothing is trained or scored on it."""
        return any(self._rows(c) for c in self._tokens(self.normalise(text)) if c != " ")

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids whose repeats and blanks are already collapsed; `<unk>` stays visible."""
        silent = {SPECIALS.index(s) for s in ("<s>", "<pad>", "</s>")}
        text = "".join(self.symbols[int(i)] for i in ids if int(i) not in silent)
        return " ".join(normal_form(text).replace("|", " ").split())

    def described(self) -> str:
        """What no transcript has that is left out, for messages."""
        shown = " ".join(self.symbols[len(SPECIALS) : len(SPECIALS) + 20])
        return (
            f"has a character of the vocabulary (case {self.case}: {shown}); is it of another "
            "language?"
        )

    def unknown(self, texts: Iterable[str]) -> dict[str, int]:
        """Characters of the normalised texts that this vocabulary lacks, with their counts."""
        counts = count_characters(texts, normalise=lambda t: self._tokens(self.normalise(t)))
        return {c: n for c, n in counts.items() if not self._rows(c)}

    def to_json(self) -> dict[str, Any]:
        """{"symbols": [...], "case": ...}, and "locale" where the case follows a language: whoever
        does not know of locales reads the rest."""
        case, colon, locale = self.case.partition(":")
        return {"symbols": list(self.symbols), "case": case} | ({"locale": locale} if colon else {})

    @staticmethod
    def from_json(content: dict[str, Any]) -> Vocabulary:
        """What `to_json` made; ValueError, KeyError or TypeError where it is something else."""
        locale = content.get("locale")
        case = f"{content['case']}:{locale}" if locale else content["case"]
        return Vocabulary(tuple(content["symbols"]), case)

    def save(self, path: str | Path) -> None:
        """Writes `to_json`, by convention `vocabulary.json`."""
        write_json(path, self.to_json())


def load_vocabulary(path: str | Path) -> Vocabulary:
    """Reads what `Vocabulary.save` wrote; InputError names the file when it cannot."""
    try:
        return Vocabulary.from_json(read_json(path))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a vocabulary: {error}") from error


def count_characters(texts: Iterable[str], *, normalise) -> dict[str, int]:
    """Characters but spaces of the normalised texts, most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalise(text))
    counts.pop(" ", None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def build_vocabulary(texts: Iterable[str], *, case: str, min_count: int) -> Vocabulary:
    """The special rows, then the characters seen at least `min_count` times, by falling frequency
    (ties by code point). Raises InputError when the texts hold no character."""
    counts = count_characters(texts, normalise=Vocabulary(SPECIALS, case).normalise)
    symbols = tuple(c for c, n in counts.items() if n >= min_count)
    if not symbols:
        raise InputError(
            f"vocabulary: no character occurs {min_count} times in the transcripts; "
            "does the corpus have transcripts?"
        )
    return Vocabulary(SPECIALS + symbols, case)


def extend_vocabulary(old: Vocabulary, texts: Iterable[str], *, min_count: int) -> Vocabulary:
    """The old symbols in their rows, then the characters of the texts they lack, most frequent
    first; characters seen less than `min_count` times stay unknown."""
    new = tuple(c for c, n in old.unknown(texts).items() if n >= min_count)
    return Vocabulary(old.symbols + new, old.case)


def shared_rows(new: Vocabulary, old: Vocabulary) -> tuple[int | None, ...]:
    """For each symbol of `new` the row `old` has it in, None where it has not."""
    rows = {symbol: row for row, symbol in enumerate(old.symbols)}
    return tuple(rows.get(symbol) for symbol in new.symbols)


# Rows of every released LibriSpeech checkpoint (fairseq dict.ltr.txt after its four specials).
LIBRISPEECH = Vocabulary((*SPECIALS, *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"), "upper")

VOCABULARIES = {"librispeech": LIBRISPEECH}
FROM_TRANSCRIPTS, EXTEND = "from_transcripts", "extend"


def make_vocabulary(
    name: str, texts: Iterable[str] = (), *, case: str | None = None, min_count: int = 1
) -> Vocabulary:
    """A vocabulary by name: one of VOCABULARIES, "from_transcripts" (then `texts` and `case`
    decide), or the path of a saved `.json`. Raises InputError that lists the known names."""
    if name in VOCABULARIES:
        return VOCABULARIES[name]
    if name == FROM_TRANSCRIPTS:
        if case is None:
            raise InputError(f"vocabulary {name}: give its case: {', '.join(CASES)}")
        return build_vocabulary(texts, case=case, min_count=min_count)
    if name.endswith(".json"):
        return load_vocabulary(name)
    known = ", ".join([*VOCABULARIES, FROM_TRANSCRIPTS, EXTEND, "FILE.json"])
    raise InputError(f"vocabulary {name!r} is unknown; use one of {known}")
