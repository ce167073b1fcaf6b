"""Hugging Face's CTC tokenizer files <-> our vocabulary, with the row each symbol came from.

Phonemes and subword pieces have separate settings there. The two sides name the same rows
differently: the CTC blank is fairseq's `<s>` and Hugging Face's `<pad>`, row 0 in the released
models (docs/traps.md#t43).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import switch
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.vocabulary import SPECIALS, Vocabulary, load_vocabulary
from w2v2_jax.vocabulary.make import FILE as VOCABULARY
from w2v2_jax.vocabulary.units import MARK, PHONEMES, PIECES

# Our special symbols in row order, each with its setting in the tokenizer and that one's default.
SETTINGS = (
    ("pad_token", "<pad>"),
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("word_delimiter_token", "|"),
)
NEVER = -1e4  # bias of a symbol that the file's head does not have
PHONEME_CLASS = "Wav2Vec2PhonemeCTCTokenizer"

CHARACTER_SETTINGS = {
    # True would upper-case what is encoded and lower-case what is decoded.
    "do_lower_case": False,
    "replace_word_delimiter_char": " ",
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
}
# Texts are phonemes with spaces between them; `|` is left out there as here.
PHONEME_SETTINGS = {
    "do_phonemize": False,
    "phone_delimiter_token": " ",
    "tokenizer_class": PHONEME_CLASS,
}


class Rows(NamedTuple):
    """vocabulary, and the row of the file's CTC head behind each of its symbols (None: no such
    row, as where a tokenizer has no `<s>`)."""

    vocabulary: Vocabulary
    rows: tuple[int | None, ...]


def read(folder: Path, *, classes: int, blank: int | None, language: str | None = None) -> Rows:
    """vocab.json and tokenizer_config.json of a CTC model with `classes` rows.

    blank: the row that config.json says is the blank; None where nothing else says it.
    language: which of a multilingual vocab.json's vocabularies, instead of target_lang's.

    Raises InputError if the files are absent, the rows are neither characters nor those of a
    phoneme tokenizer or of our own vocabulary.json beside them, or the blank is not the padding
    token.
    """
    if not (folder / "vocab.json").is_file():
        raise InputError(f"{folder} has a CTC head but no vocab.json, so its rows have no names")
    settings = _settings(folder)
    if language is not None:
        settings["target_lang"] = language
    ids = _ids(folder, settings)
    names = [_text(settings.get(key, default)) for key, default in SETTINGS]
    if settings.get("tokenizer_class") == PHONEME_CLASS:  # its default is none
        names[-1] = _text(settings.get("word_delimiter_token", ""))
    rows = [_within(ids.get(name), classes) for name in names]
    if rows[0] is None and blank is None:
        raise InputError(
            f"{folder}/vocab.json: {names[0]!r}, the CTC blank, is none of the {classes} rows of "
            "the head"
        )
    if blank is not None and rows[0] != blank:
        raise InputError(
            f"{folder}: {names[0]!r} is row {rows[0]} of vocab.json but pad_token_id={blank} in "
            "config.json; the CTC blank must be both"
        )
    taken = {row for row in rows if row is not None}
    others = sorted((i, s) for s, i in ids.items() if i < classes and i not in taken)
    unnamed = set(range(classes)) - taken - {i for i, _ in others}
    if unnamed:
        raise InputError(f"{folder}/vocab.json has no symbol for row {min(unnamed)} of the head")
    for (row, symbol), (other, twin) in itertools.pairwise(others):
        if row == other:
            raise InputError(
                f"{folder}/vocab.json gives row {row} to both {symbol!r} and {twin!r}; a row of "
                "the head is one symbol"
            )
    symbols = tuple(symbol for _, symbol in others)
    vocabulary = _vocabulary(folder, symbols, settings)
    return Rows(vocabulary, (*rows, *(index for index, _ in others)))


def _vocabulary(folder: Path, symbols: tuple[str, ...], settings: dict[str, Any]) -> Vocabulary:
    """The vocabulary of the symbols after the special ones, as the tokenizer understands them."""
    phonemes = settings.get("tokenizer_class") == PHONEME_CLASS
    if (folder / VOCABULARY).is_file():
        vocabulary = load_vocabulary(folder / VOCABULARY)
        if _tokens(vocabulary) != symbols:
            raise InputError(f"{folder}: {VOCABULARY} and vocab.json differ; remove the wrong one")
        return vocabulary
    if phonemes:
        try:
            return Vocabulary(SPECIALS + symbols, "keep", PHONEMES)
        except InputError as error:
            raise InputError(f"{folder}/vocab.json: {error}") from error
    for symbol in symbols:
        if len(symbol) != 1:
            raise InputError(
                f"{folder}/vocab.json: {symbol!r} is not one character; longer symbols need a "
                f"{PHONEME_CLASS} (tokenizer_class), or this package's {VOCABULARY} beside it"
            )
    lowered = switch(settings, "do_lower_case", False, where=f"{folder}/tokenizer_config.json")
    case = case_of(symbols, lowered=lowered)
    return Vocabulary(SPECIALS + symbols, case)


def _tokens(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The symbols after the special ones as transformers writes them. It joins symbols without a
    separator, so a piece that begins a word begins with a space."""
    symbols = vocabulary.symbols[len(SPECIALS) :]
    if vocabulary.units != PIECES:
        return symbols
    return tuple(f" {s.removeprefix(MARK)}" if s.startswith(MARK) else s for s in symbols)


def in_our_order(head: dict, rows: tuple[int | None, ...], notes: list[str]) -> dict:
    """A head [D, C] with its columns in our vocabulary's order; adds a note if any was moved."""
    if rows == tuple(range(head["kernel"].shape[1])):
        return head
    notes.append("the CTC head's rows were reordered to this package's order of symbols")
    width = head["kernel"].shape[0]
    kernel, bias = np.zeros((width, len(rows)), np.float32), np.full(len(rows), NEVER, np.float32)
    for ours, theirs in enumerate(rows):
        if theirs is not None:
            kernel[:, ours], bias[ours] = head["kernel"][:, theirs], head["bias"][theirs]
    return {"kernel": kernel, "bias": bias}


def write(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes vocab.json, tokenizer_config.json and special_tokens_map.json, with rows in the same
    order, and our own vocabulary.json if these cannot express everything."""
    # What no file of theirs can say.
    if vocabulary.rules or vocabulary.units == PIECES or vocabulary.pronunciations:
        vocabulary.save(folder / VOCABULARY)
    tokens = [default for _, default in SETTINGS] + list(_tokens(vocabulary))
    special = {key: default for key, default in SETTINGS if key != "word_delimiter_token"}
    write_json(folder / "vocab.json", {token: row for row, token in enumerate(tokens)})
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            **dict(SETTINGS),
            **(PHONEME_SETTINGS if vocabulary.units == PHONEMES else CHARACTER_SETTINGS),
            "processor_class": "Wav2Vec2Processor",
        },
    )


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= {k: v for k, v in read_json(folder / name).items() if v is not None}
    return settings


def _ids(folder: Path, settings: dict[str, Any]) -> dict[str, int]:
    """{symbol: row} of vocab.json and of tokens added later."""
    ids = read_json(folder / "vocab.json")
    if any(isinstance(value, dict) for value in ids.values()):
        language = settings.get("target_lang")
        rows = ids.get(language) if isinstance(language, str) else None
        if not isinstance(rows, dict):
            raise InputError(
                f"{folder}/vocab.json has a vocabulary per language ({', '.join(sorted(ids)[:5])}, "
                "...) and tokenizer_config.json has no target_lang that names one; "
                "choose one with --language"
            )
        ids = dict(rows)
    if (folder / "added_tokens.json").is_file():
        ids |= read_json(folder / "added_tokens.json")
    ids |= {
        _text(token): int(row) for row, token in settings.get("added_tokens_decoder", {}).items()
    }
    if not all(type(row) is int for row in ids.values()):
        raise InputError(f"{folder}/vocab.json must map symbols to row numbers")
    for symbol, row in ids.items():
        if row < 0:
            raise InputError(
                f"{folder}/vocab.json: {symbol!r} is row {row}; rows are counted from 0"
            )
    return ids


def _text(token: str | dict) -> str:
    """The text of a token, which is either a text or a dict that contains it."""
    return token["content"] if isinstance(token, dict) else token


def _within(row: int | None, classes: int) -> int | None:
    return row if row is not None and row < classes else None


def case_of(characters: tuple[str, ...], *, lowered: bool) -> str:
    """The case of texts: by the characters, or by do_lower_case if these do not tell."""
    upper = any(c != c.lower() for c in characters)
    lower = any(c != c.upper() for c in characters)
    # A dotless i is a letter only in Turkish and Azeri, where I is its capital.
    locale = ":tr" if {"\u0131", "\u0130"} & set(characters) else ""
    if upper != lower:
        return ("upper" if upper else "lower") + locale
    return "upper" if lowered and not lower else "keep"
