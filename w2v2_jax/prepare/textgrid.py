"""Praat's TextGrid files, in their long and their short form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_no_file

MOST_BYTES = 256 << 20
# The values of both forms: texts between quotes, and separate numbers.
VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<![^\s])(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![^\s])')
# Names of tiers that hold whole sentences, the most likely first, and of tiers of words.
SENTENCES = ("sentence", "utterance", "segment", "transcript", "ortho", "text", "speech")
WORDS = ("word", "wrd", "mot", "token")


class Tier(NamedTuple):
    """intervals: (start, end, text) in seconds."""

    name: str
    intervals: list[tuple[float, float, str]]


def read(path: Path) -> list[Tier]:
    """The interval tiers of a file; InputError if it is no TextGrid or cut short."""
    values = _values(_decoded(path))
    try:
        if next(values) != "ooTextFile" or next(values) != "TextGrid":
            raise InputError(f"{path}: not a TextGrid file of Praat")
        next(values), next(values)  # its times
        return list(_tiers(values, int(_number(next(values)))))
    except (StopIteration, RuntimeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: a damaged TextGrid; open and save it in Praat") from error


def _decoded(path: Path) -> str:
    if reason := why_no_file(path):
        raise InputError(f"{path}: {reason}")
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: more than {MOST_BYTES >> 20} MiB; is it a TextGrid?")
    # Praat's default is UTF-16 if a text contains characters outside ASCII.
    utf16 = data.startswith((b"\xfe\xff", b"\xff\xfe"))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error


def _values(text: str) -> Iterator[str | float]:
    for match in VALUE.finditer(text):
        if match[2] is None:
            yield match[1].replace('""', '"')
        else:
            yield float(match[2])


def _tiers(values: Iterator[str | float], count: int) -> Iterator[Tier]:
    for _ in range(count):
        kind, name = _text(next(values)), _text(next(values))
        next(values), next(values)  # its times
        intervals = []
        for _ in range(int(_number(next(values)))):
            start = _number(next(values))
            if kind == "IntervalTier":
                intervals.append((start, _number(next(values)), _text(next(values))))
            else:
                next(values)  # a point's mark
        if kind == "IntervalTier":
            yield Tier(name, intervals)


def _text(value: str | float) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value} for a text")
    return value


def _number(value: str | float) -> float:
    if isinstance(value, str):
        raise ValueError(f"{value!r} for a number")
    return value


def choose(tiers: Sequence[Tier], name: str | None, path: str) -> Tier:
    """The tier of that name, or without one the only tier, the first that is named after
    sentences, or that of words; InputError lists the tiers."""
    filled = [tier for tier in tiers if any(text.strip() for *_, text in tier.intervals)]
    known = ", ".join(repr(tier.name) for tier in filled) or "none with a text"
    if name is not None:
        named = [tier for tier in filled if tier.name == name]
        if not named:
            raise InputError(f"{path}: no tier {name!r}; there are {known}")
        if len(named) > 1:
            begins = " and ".join(f"one that begins with {_first(tier)!r}" for tier in named)
            raise InputError(
                f"{path}: {len(named)} tiers are called {name!r}: {begins}; rename them in Praat"
            )
        return named[0]
    if len(filled) == 1:
        return filled[0]
    for part in (*SENTENCES, *WORDS):
        fitting = [tier for tier in filled if part in tier.name.casefold()]
        if len(fitting) == 1:
            return fitting[0]
    raise InputError(f"{path}: which tier has the sentences? Name it: --tier; there are {known}")


def _first(tier: Tier) -> str:
    return next(text for *_, text in tier.intervals if text.strip())[:40]


def is_of_words(tier: Tier) -> bool:
    """Whether a tier's name says that each interval is one word."""
    folded = tier.name.casefold()
    return any(part in folded for part in WORDS) and not any(part in folded for part in SENTENCES)
