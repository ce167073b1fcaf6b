"""Pronunciations: which phonemes a word consists of, read from a lexicon.

A line has one pronunciation, `word p h o n e m e s`, with spaces or a tab between them; a word may
have several lines. These are the lexicons of Kaldi and of CMUdict, whose further pronunciations
have a number (`read(2)`) and whose comments begin with `;;;` or `#`. So no word begins with `#`.
HTK's have what is printed for a word in brackets behind it (`READ [READ] r iy d`).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.texts import normal_form, text_lines
from w2v2_jax.vocabulary.units import SPECIALS

Pronunciations = tuple[tuple[str, str], ...]  # (word, its phonemes with a space between two)

LINES = "write lines word<TAB>p h o n e m e s"
_LEAVE_OUT = "a probability; leave that column out"
_NUMBER = re.compile(r"(?<=.)\(\d+\)$")
_PROBABILITY = re.compile(r"\d*\.\d+([eE]-?\d+)?|\d+[eE]-\d+")
_CERTAIN = "1"  # a probability if every line has it, and a phoneme of X-SAMPA otherwise
COMMENT = "#"
# Of a lexicon, about five million pronunciations. Checkpoints and vocabulary.json have them, in up
# to five times as many bytes, and readers of JSON stop at 1 GiB.
MOST_BYTES = 128 << 20
_COMMENT_LINES = (";;;", COMMENT)
_PRINTED = re.compile(r"(\s*\S+\s+)\[[^][]*\]\s+(?=\S)")
_STRESS = "012"  # behind a vowel of CMUdict
LONG = 3  # letters of a word, or characters of a symbol, that are seldom one phoneme


def read_pronunciations(path: str | Path) -> Pronunciations:
    """The pronunciations of a lexicon, each once, by words in its order; of a word's, the first is
    the usual one. InputError names the line that is none."""
    if os.path.isfile(path) and (size := os.path.getsize(path)) > MOST_BYTES:
        raise InputError(
            f"{path}: {size >> 20} MiB, more than the {MOST_BYTES >> 20} of a lexicon; leave out "
            "words that no transcript has"
        )
    found: dict[str, dict[str, int]] = {}
    for number, line in enumerate(text_lines(path), 1):
        if is_comment(line) or not line.strip():
            continue
        word, phonemes = _entry(line, where=f"{path}, line {number}")
        said = " ".join(map(normal_form, phonemes))
        found.setdefault(normal_form(without_number(word)), {}).setdefault(said, number)
    entries = [(word, said) for word, several in found.items() for said in several]
    if not entries:
        raise InputError(f"{path}: an empty lexicon; {LINES}")
    if all(one.startswith(f"{_CERTAIN} ") for _, one in entries):
        first = next(iter(found[entries[0][0]].values()))
        raise InputError(f"{path}, line {first}: {_CERTAIN} is {_LEAVE_OUT}")
    _refuse_unspaced(found, path)
    return tuple(entries)


def _refuse_unspaced(found: dict[str, dict[str, int]], path: str | Path) -> None:
    """InputError if the usual pronunciation of most long words is one long symbol: of phonemes that
    nothing separates, each word would become a symbol of its own. Chinese characters are too short
    to count, of syllables words have several, and one symbol for each word needs no lexicon."""
    usual = {word: next(iter(said.items())) for word, said in found.items() if len(word) >= LONG}
    whole = [(word, *said) for word, said in usual.items() if _is_long(said[0])]
    if 2 * len(whole) > len(usual):
        word, said, number = whole[0]
        raise InputError(
            f"{path}, line {number}: {word!r} has one phoneme, {said!r}, and so has most of the "
            f"lexicon ({len(whole)} of {len(usual)} words of {LONG} or more letters); write spaces "
            f"between phonemes, word<TAB>p h o n e m e s (where each word is meant to be one "
            "symbol: vocabulary.name=phonemes, without a lexicon)"
        )


def _is_long(said: str) -> bool:
    """Whether a pronunciation is one symbol that seldom is one phoneme, as AY1 and t\u0361s are."""
    characters = [c for c in said.rstrip(_STRESS) if not unicodedata.combining(c)]
    return " " not in said and len(characters) >= LONG


def is_comment(line: str) -> bool:
    """Whether a whole line of a lexicon is a comment."""
    return line.lstrip().startswith(_COMMENT_LINES)


def without_number(word: str) -> str:
    """`read` of `read(2)`, which has a further pronunciation of the same word."""
    return _NUMBER.sub("", word)


def without_printed(line: str) -> str:
    """`READ r iy d` of HTK's `READ [READ] r iy d`."""
    return _PRINTED.sub(r"\1", line, count=1) if _PRINTED.match(line) else line


def _entry(line: str, *, where: str) -> tuple[str, list[str]]:
    """The word and the phonemes of a line without its comment."""
    line = without_printed(line)
    before, tab, _ = line.partition("\t")
    word, *phonemes = line.split()
    if tab and len(before.split()) > 1:
        raise InputError(f"{where}: {before!r} is more than one word; {LINES}")
    if COMMENT in phonemes:
        del phonemes[phonemes.index(COMMENT) :]
    if not phonemes:
        raise InputError(f"{where}: {word!r} has no pronunciation; {LINES}")
    if _PROBABILITY.fullmatch(phonemes[0]) and len(phonemes) > 1:
        raise InputError(f"{where}: {phonemes[0]} is {_LEAVE_OUT}")
    if phonemes[0].startswith("[") and phonemes[-1].endswith("]") and len(phonemes) > 1:
        raise InputError(f"{where}: {word!r} has its pronunciation in brackets; leave them out")
    if reserved := [phoneme for phoneme in phonemes if phoneme in SPECIALS]:
        raise InputError(
            f"{where}: {reserved[0]} is a symbol of every vocabulary and no phoneme; remove the "
            f"line of {word!r}, or write another symbol"
        )
    marked = [phoneme for phoneme in phonemes if phoneme.startswith(COMMENT)]
    if marked:
        raise InputError(
            f"{where}: {marked[0]} begins like a comment, or like Kaldi's marks of words that "
            "sound alike; leave it out, or write a space after #"
        )
    return word, phonemes


def phonemes_of(pronunciations: Pronunciations) -> tuple[str, ...]:
    """The different phonemes, by code point: the order of the lines does not matter."""
    return tuple(sorted({phoneme for _, said in pronunciations for phoneme in said.split()}))


def by_word(
    pronunciations: Pronunciations, *, fold: Callable[[str], str]
) -> dict[str, list[list[str]]]:
    """Word -> its pronunciations. A word in another case than in the lexicon is found under its
    folded case."""
    found: dict[str, list[list[str]]] = {}
    for word, said in pronunciations:
        found.setdefault(word, []).append(said.split())
    for word in list(found):
        found.setdefault(fold(word), found[word])
    return found


def differing(now: Pronunciations, there: Pronunciations) -> str:
    """What is different, for messages; "" if every word has the same ones, the usual one first."""
    if changed := sorted({*now} ^ {*there}):
        word, said = changed[0]
        return f"{word!r} {said} is only {'now' if changed[0] in now else 'there'}"
    first, old = said_of_words(now), said_of_words(there)
    for word in (word for word in first if first[word][0] != old[word][0]):
        return f"{word!r} is first {old[word][0]} there, {first[word][0]} now"
    return ""


def said_of_words(pronunciations: Pronunciations) -> dict[str, list[str]]:
    """{word: [its pronunciations]}, as JSON has them."""
    content: dict[str, list[str]] = {}
    for word, said in pronunciations:
        content.setdefault(word, []).append(said)
    return content


def pronunciations_of(content: Any) -> Pronunciations:
    """What `said_of_words` made, from JSON; ValueError if it is something else."""
    listed = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    if not listed or not all(isinstance(said, str) for v in content.values() for said in v):
        raise ValueError("its pronunciations are no lists of phonemes by word")
    return tuple((word, said) for word, several in content.items() for said in several)
