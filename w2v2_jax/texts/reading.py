"""Reads text files; all commands use it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import is_absent, why_not_plain

MOST_LINE = 1 << 20  # characters; the words of a day of speech
MARKS = {  # first bytes: the encoding; the longer ones first
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
BOM = b"\xef\xbb\xbf"


def text_lines(path: str | Path) -> Iterator[str]:
    """Lines without their ends and byte order marks; InputError names a file that is not
    UTF-8, cannot be read, is no plain file (a pipe would be waited for) or has a line of more than
    MOST_LINE characters."""
    try:
        if reason := why_not_plain(path):
            raise InputError(f"{path}: {reason}")
        with open(path, "rb") as file:
            yield from decoded_lines(file, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def optional_lines(path: str | Path) -> Iterator[str]:
    """`text_lines` of a file that need not exist: none if it `is_absent`. What has its name and
    cannot be read, such as a link to a disk that is not mounted, is an error."""
    return iter(()) if is_absent(path) else text_lines(path)


def decoded_lines(
    file: IO[bytes] | io.BufferedIOBase, name: str, *, most: int = MOST_LINE
) -> Iterator[str]:
    """The lines, of at most `most` characters, of a file that is open as bytes; errors as in
    `text_lines`."""
    first = True
    while raw := file.readline(4 * most + 1):
        if first and (encoding := _other_encoding(raw)):
            raise InputError(f"{name}: {encoding} text; save it as UTF-8")
        if first and (packing := packed_by(raw)):
            raise InputError(f"{name}: packed by {packing}; unpack it first")
        # `cat` of two files has a mark in the middle, before the first line of the second.
        raw, first = raw.removeprefix(BOM), False
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: not UTF-8 text ({error}); save it as UTF-8") from error
        if len(line) > most:
            raise InputError(f"{name}: a line of more than {most} characters")
        yield from re.split("\r\n?", line.rstrip("\r\n")) if "\r" in line else [line.rstrip("\n")]


def packed_by(start: bytes) -> str | None:
    """The program that packed a file, by its first bytes."""
    return next((name for mark, name in PACKED.items() if start.startswith(mark)), None)


def _other_encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32 by its mark, or by its zeros: every other byte of Latin letters."""
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    halves = (start[::2][:99], start[1::2][:99])
    zeros = max(half.count(0) / max(1, len(half)) for half in halves)
    return "UTF-16" if len(start) > 4 and zeros > 0.6 else None
