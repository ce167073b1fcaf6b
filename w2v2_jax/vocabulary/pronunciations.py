"""Pronunciations: which phonemes a word consists of, read from a lexicon.

A line has one pronunciation, `word p h o n e m e s`, with spaces or a tab between them; a word may
have several lines. These are the lexicons of Kaldi and of CMUdict, whose further pronunciations
have a number (`read(2)`) and whose comments begin with `;;;` or `#`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.texts import normal_form, text_lines

Pronunciations = tuple[tuple[str, str], ...]  # (word, its phonemes with a space between two)

LINES = "write lines word<TAB>p h o n e m e s"
_NUMBER = re.compile(r"(?<=.)\(\d+\)$")
_PROBABILITY = re.compile(r"\d*\.\d+|1")
_COMMENT_LINE, _COMMENT = ";;;", "#"


def read_pronunciations(path: str | Path) -> Pronunciations:
    """The pronunciations of a lexicon in its order, each once; of a word's, the first is the usual
    one. InputError names the line that is none."""
    found = []
    for number, line in enumerate(text_lines(path), 1):
        if line.lstrip().startswith((_COMMENT_LINE, f"{_COMMENT} ")) or not line.strip():
            continue
        word, *phonemes = line.split()
        if _COMMENT in phonemes:
            del phonemes[phonemes.index(_COMMENT) :]
        if not phonemes:
            raise InputError(f"{path}, line {number}: {word!r} has no pronunciation; {LINES}")
        if _PROBABILITY.fullmatch(phonemes[0]) and len(phonemes) > 1:
            raise InputError(
                f"{path}, line {number}: {phonemes[0]} is a probability; leave that column out"
            )
        word = normal_form(_NUMBER.sub("", word))
        found.append((word, " ".join(map(normal_form, phonemes))))
    if not found:
        raise InputError(f"{path}: an empty lexicon; {LINES}")
    return tuple(dict.fromkeys(found))


def phonemes_of(pronunciations: Pronunciations) -> tuple[str, ...]:
    """The different phonemes, by code point: the order of the lines does not matter."""
    return tuple(sorted({phoneme for _, said in pronunciations for phoneme in said.split()}))


def by_word(pronunciations: Pronunciations) -> dict[str, list[list[str]]]:
    """Word -> its pronunciations. A word in another case than in the lexicon is found under its
    folded case."""
    found: dict[str, list[list[str]]] = {}
    for word, said in pronunciations:
        found.setdefault(word, []).append(said.split())
    for word in list(found):
        found.setdefault(word.casefold(), found[word])
    return found


def to_json(pronunciations: Pronunciations) -> dict[str, list[str]]:
    """{word: [its pronunciations]}."""
    content: dict[str, list[str]] = {}
    for word, said in pronunciations:
        content.setdefault(word, []).append(said)
    return content


def from_json(content: Any) -> Pronunciations:
    """What `to_json` made; ValueError if it is something else."""
    listed = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    if not listed or not all(isinstance(said, str) for v in content.values() for said in v):
        raise ValueError("its pronunciations are no lists of phonemes by word")
    return tuple((word, said) for word, several in content.items() for said in several)
