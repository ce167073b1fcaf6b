"""Texts that people give: one reader of their files, one normal form and the rules of case.

Every comparison of letters (references, hypotheses, symbols, lexicons, language models' texts)
goes through `normal_form` on both of its sides.
"""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from w2v2_jax.errors import InputError

MOST_LINE = 1 << 20  # characters; the words of a day of speech
MARKS = {  # first bytes: the encoding; the longer ones first
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}  # fmt: skip
BOM = b"\xef\xbb\xbf"

# Unicode's Default_Ignorable_Code_Point but for the joiners, and the control characters but for
# white space: a text shows the same without them.
_IGNORABLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# U+200C and U+200D choose between letters' shapes, and so between words, in Persian and in Indic
# scripts; behind the letters of other scripts, which lie below U+0600, they say nothing.
_DROPPED = re.compile(f"[{_IGNORABLE}]|(?<![\u0600-\U0010ffff])[\u200c\u200d]+")


def text_lines(path: str | Path) -> Iterator[str]:
    """Lines without their ends, a byte order mark dropped; InputError names a file that is not
    UTF-8, cannot be read, is no plain file (a pipe would be waited for) or has a line of more than
    MOST_LINE characters."""
    try:
        if not Path(path).is_file():
            raise InputError(
                f"{path}: {'not a plain file' if Path(path).exists() else 'no such file'}"
            )
        with open(path, "rb") as file:
            yield from decoded_lines(file, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def decoded_lines(
    file: IO[bytes] | io.BufferedIOBase, name: str, *, most: int = MOST_LINE
) -> Iterator[str]:
    """The lines, of at most `most` characters, of a file that is open as bytes; errors as in
    `text_lines`."""
    first = True
    while raw := file.readline(4 * most + 1):
        if first and (encoding := _other_encoding(raw)):
            raise InputError(f"{name}: {encoding} text; save it as UTF-8")
        raw, first = raw.removeprefix(BOM) if first else raw, False
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: not UTF-8 text ({error}); save it as UTF-8") from error
        if len(line) > most:
            raise InputError(f"{name}: a line of more than {most} characters")
        yield from re.split("\r\n?", line.rstrip("\r\n")) if "\r" in line else [line.rstrip("\n")]


def _other_encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32 by its mark, or by its zeros: every other byte of Latin letters."""
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    halves = (start[::2][:99], start[1::2][:99])
    zeros = max(half.count(0) / max(1, len(half)) for half in halves)
    return "UTF-16" if len(start) > 4 and zeros > 0.6 else None


def normal_form(text: str) -> str:
    """Without characters that show nothing, composed (Unicode NFC)."""
    return unicodedata.normalize("NFC", _DROPPED.sub("", text))


def dropped(text: str) -> str:
    """The characters that `normal_form` leaves out."""
    return "".join(_DROPPED.findall(text))


def _lower_turkic(text: str) -> str:
    """I is the capital of a dotless i; a dot that is written apart belongs to the I before it."""
    text = text.replace("I\u0307", "i").replace("\u0130", "i").replace("I", "\u0131")
    return text.lower()


def _upper_turkic(text: str) -> str:
    return text.replace("i\u0307", "\u0130").replace("i", "\u0130").upper()


def _lower_lithuanian(text: str) -> str:
    """A lower i or j keeps its dot below an accent (Unicode's SpecialCasing)."""
    apart = re.sub("[\u00cc\u00cd\u0128]", lambda m: unicodedata.normalize("NFD", m[0]), text)
    return re.sub("([IJ\u012e])(?=[\u0300\u0301\u0303])", "\\1\u0307", apart).lower()


def _upper_lithuanian(text: str) -> str:
    return re.sub("([ij\u012f])\u0307", r"\1", text).upper()


# Of a language where case goes another way than elsewhere: its code behind a colon.
CASES: dict[str, Callable[[str], str]] = {
    "upper": str.upper, "lower": str.lower, "keep": str,
    "upper:tr": _upper_turkic, "lower:tr": _lower_turkic,
    "upper:az": _upper_turkic, "lower:az": _lower_turkic,
    "upper:lt": _upper_lithuanian, "lower:lt": _lower_lithuanian,
}  # fmt: skip


@functools.cache
def with_case(case: str) -> Callable[[str], str]:
    """The normal form in a case; single spaces between words."""
    change = CASES[case]
    return lambda text: " ".join(normal_form(change(normal_form(text))).split())
