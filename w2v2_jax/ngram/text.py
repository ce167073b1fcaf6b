"""From text files to sentences to word ids on disk, in one pass, for texts of any size."""

from __future__ import annotations

import gzip
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, cast

from w2v2_jax.errors import InputError
from w2v2_jax.texts import decoded_lines

UNKNOWN, START, END = 0, 1, 2  # ids of the three words every model has
MOST_LINE = 1 << 26  # characters: a book on one line
SPECIALS = ("<unk>", "<s>", "</s>")


def open_text(path: str) -> IO[bytes]:
    """A text file as bytes, gzip by its name; `-` is standard input."""
    if path == "-":
        return sys.stdin.buffer
    try:
        if path.endswith(".gz"):
            return cast(IO[bytes], gzip.open(path, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot read this text: {error.strerror}") from error


def words_of(
    lines: Iterable[str], where: str, normalise: Callable[[str], str]
) -> Iterator[list[str]]:
    """The words of each line that has any. Raises InputError, with `where`, on lines that hold
    `<s>`, `</s>` or `<unk>`, which belong to the model."""
    for number, line in enumerate(lines, 1):
        words = normalise(line).split()
        for word in SPECIALS:
            if word in words:
                raise InputError(f"{where}, line {number}: {word} is reserved; remove it")
        if words:
            yield words


def sentences(paths: Iterable[str], normalise: Callable[[str], str]) -> Iterator[list[str]]:
    """`words_of` text files. Raises InputError on what is not UTF-8 text, too."""
    for path in paths:
        with open_text(path) as file:
            try:
                yield from words_of(decoded_lines(file, path, most=MOST_LINE), path, normalise)
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(f"{path}: cannot read this text: {error}") from error


def letters(
    words: Sequence[str], *, spell: Callable[[str], Sequence[str]] = list, boundary: str = "|"
) -> list[str]:
    """The symbols a CTC model writes for a sentence: letters, and a boundary after each word where
    the model writes one ("" for none)."""
    ends = [boundary] if boundary else []
    return [symbol for word in words for symbol in (*spell(word), *ends)]


class _Ids(dict[str, int]):
    """word -> id in order of first appearance."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def spool(lines: Iterable[Sequence[str]], file: IO[bytes]) -> list[str]:
    """Writes each sentence as int32 ids with `</s>` behind; returns the words by id.

    Only the vocabulary stays in memory. Raises InputError when there is no word at all.
    """
    ids = _Ids((word, number) for number, word in enumerate(SPECIALS))
    for words in lines:
        array("i", [ids[word] for word in words] + [END]).tofile(file)
    file.flush()
    if len(ids) == len(SPECIALS):
        raise InputError("--text has no words; a language model needs some")
    return list(ids)
