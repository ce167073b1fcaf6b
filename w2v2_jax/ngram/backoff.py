"""A backoff language model, read from ARPA into arrays, that scores many words at once.

Scores equal KenLM's bit for bit: log10, float32, backoff weights added from the shortest context to
the longest. What KenLM refuses is refused here too, except for models of single words. All n-grams
are in one sorted array of keys, 24 bytes each. Only KenLM can read its binary models.
"""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.ngram import arpa
from w2v2_jax.ngram.text import SPECIALS

UNKNOWN, START, END = SPECIALS
UNKNOWN_ALIAS = "<UNK>"
MISSING_UNKNOWN = -100.0  # log10 probability of unknown words where a model has no <unk>
NOTHING = -1  # the state of no context


class Backoff(NamedTuple):
    """N-grams of all orders, numbered: single words first, each order sorted by (context, word).

    A state is the number of the longest n-gram in the model that a next word's context ends with.
    """

    words: dict[str, int]  # the number of each word, which is that of its 1-gram
    keys: np.ndarray  # [n of two words and more] int64, context * len(words) + last word, sorted
    probability: np.ndarray  # [n] float32, log10
    backoff: np.ndarray  # [n] float32, log10; 0 for those of the highest order
    suffix: np.ndarray  # [n] int64, the longest n-gram that this one ends with, or NOTHING
    contexts: int  # n-grams with a lower number may be a state

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return self.words[START] if self.words[START] < self.contexts else NOTHING

    def number(self, word: str) -> int:
        """A word's number, that of unknown words for one that the model lacks."""
        return self.words.get(word, self.words[UNKNOWN])

    def score(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [n] and word numbers [n] -> float32 [n] log10 probabilities, [n] next states."""
        grams, passed = _longest(self.keys, self.suffix, len(self.words), states, words)
        scores = self.probability[grams]
        for contexts in reversed(passed):
            scores = scores + np.where(contexts == NOTHING, 0, self.backoff[contexts])
        return scores, np.where(grams < self.contexts, grams, self.suffix[grams])


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places [n] of keys in a sorted array, and whether [n] they are there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted


def _longest(
    keys: np.ndarray, suffix: np.ndarray, size: int, states: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The longest n-gram [n] of the end of a state and a word; and the contexts given up on the
    way, step for step, NOTHING where the n-gram had been found."""
    grams, at = words.astype(np.int64), states.astype(np.int64)
    passed = []
    open_ = np.flatnonzero(at != NOTHING)
    while len(open_):
        places, there = _find(keys, at[open_] * size + words[open_])
        grams[open_[there]] = places[there] + size
        open_ = open_[~there]
        if not len(open_):
            break
        step = np.full(len(at), NOTHING, np.int64)
        step[open_] = at[open_]
        passed.append(step)
        at[open_] = suffix[at[open_]]
        open_ = open_[at[open_] != NOTHING]
    return grams, passed


class _Section(NamedTuple):
    """The n-grams of one order, as the file has them."""

    words: np.ndarray  # [n, order] int64
    probability: np.ndarray  # [n] float32
    backoff: np.ndarray  # [n] float32


def read(path: str | Path) -> Backoff:
    """Reads an ARPA file, plain or gzip. Raises InputError that names the file if it is none,
    is damaged, has n-grams whose words or contexts it lacks, or probabilities that are none."""
    path = Path(path)
    with arpa.opened(path) as file:
        lines = arpa.text_lines(file)
        counts, line = arpa.announced(path, lines)
        words: dict[str, int] = {}
        sections = []
        for order, count in enumerate(counts, 1):
            while not line.strip():
                line = next(lines, "\\end\\")
            if line.rstrip("\n") != f"\\{order}-grams:":
                raise InputError(f"{path}: a broken ARPA language model: {order}-grams expected")
            sections.append(_section(path, lines, words, order=order, count=count))
            line = next(lines, "")
        while line and not line.strip():
            line = next(lines, "")
        if line.rstrip("\n") != "\\end\\":
            raise InputError(f"{path}: a broken ARPA language model: no \\end\\ at its end")
        if rest := next((rest for rest in lines if rest.strip()), ""):
            raise InputError(
                f"{path}: a broken ARPA language model: {rest[:80]!r} follows its \\end\\"
            )
    if sections and sections[-1].backoff.any() and len(sections) > 1:
        raise InputError(f"{path}: an n-gram of the highest order, {len(sections)}, has a backoff")
    return _joined(path, words, sections)


def _section(
    path: Path, lines: Iterator[str], words: dict[str, int], *, order: int, count: int
) -> _Section:
    """Reads an order's lines up to an empty one; single words are numbered in `words`."""
    numbers, probability, backoff = array("q"), array("f"), array("f")
    for _ in range(count):
        entry = next(lines, "")
        gram: list[str] = []
        with contextlib.suppress(ValueError):
            chance, gram, weight = arpa.gram(entry)
        if len(gram) != order:
            raise InputError(
                f"{path}: a broken ARPA language model: {order}-gram {len(probability) + 1} of "
                f"{count} is {entry.rstrip()[:80]!r}; write probability<TAB>words<TAB>backoff"
            )
        if order == 1 and words.setdefault(gram[0], len(words)) != len(probability):
            raise InputError(f"{path}: has the word {gram[0]!r} twice")
        try:
            numbers.extend([words[word] for word in gram])
        except KeyError as error:
            raise InputError(f"{path}: no 1-gram of {error}, which an n-gram has") from None
        probability.append(chance)
        backoff.append(weight or 0.0)
    section = _Section(
        np.array(numbers, np.int64).reshape(-1, order),
        np.array(probability, np.float32),
        np.array(backoff, np.float32),
    )
    strange = ~((section.probability <= 0) & np.isfinite(section.probability + section.backoff))
    if strange.any():
        first = int(strange.argmax())
        names = list(words)
        shown = " ".join(names[number] for number in section.words[first])
        raise InputError(
            f"{path}: the log probability of {shown!r} is {section.probability[first]}, its "
            f"backoff {section.backoff[first]}: log10 of a probability is a number up to 0, such "
            "as -99"
        )
    return section


def _with_unknown(path: Path, words: dict[str, int], singles: _Section) -> _Section:
    """The 1-grams, <unk> among them; its number is in `words`."""
    if UNKNOWN_ALIAS in words and UNKNOWN in words:
        raise InputError(f"{path}: has both {UNKNOWN} and {UNKNOWN_ALIAS}; keep one of them")
    if UNKNOWN_ALIAS in words:
        words[UNKNOWN] = words.pop(UNKNOWN_ALIAS)
    if UNKNOWN in words:
        return singles
    print(
        f"warning: {path}: no {UNKNOWN}; unknown words have the log10 probability "
        f"{MISSING_UNKNOWN:g}",
        file=sys.stderr,
    )
    words[UNKNOWN] = len(words)
    return _Section(
        np.append(singles.words, [[words[UNKNOWN]]], axis=0),
        np.append(singles.probability, np.float32(MISSING_UNKNOWN)),
        np.append(singles.backoff, np.float32(0)),
    )


def _joined(path: Path, words: dict[str, int], sections: list[_Section]) -> Backoff:
    """One model of the sections, its n-grams sorted and linked."""
    for word in (START, END):
        if word not in words:
            raise InputError(f"{path}: the language model has no {word}")
    sections[0] = _with_unknown(path, words, sections[0])
    size = len(words)
    keys, suffix = np.empty(0, np.int64), np.full(size, NOTHING)
    for order, section in enumerate(sections[1:], 2):
        context = section.words[:, 0]
        for column in range(1, order - 1):
            places, there = _find(keys, context * size + section.words[:, column])
            if not there.all():
                raise InputError(f"{path}: lacks the first {column + 1} words of a {order}-gram")
            context = places + size
        new = context * size + section.words[:, -1]
        rank = np.argsort(new, kind="stable")
        new, context = new[rank], context[rank]
        if (new[1:] == new[:-1]).any():
            raise InputError(f"{path}: has a {order}-gram twice")
        ends, _ = _longest(keys, suffix, size, suffix[context], section.words[rank, -1])
        keys, suffix = np.concatenate([keys, new]), np.concatenate([suffix, ends])
        sections[order - 1] = section._replace(
            probability=section.probability[rank], backoff=section.backoff[rank]
        )
    return Backoff(
        words=words,
        keys=keys,
        probability=np.concatenate([section.probability for section in sections]),
        backoff=np.concatenate([section.backoff for section in sections]),
        suffix=suffix,
        contexts=len(suffix) - len(sections[-1].probability),
    )
