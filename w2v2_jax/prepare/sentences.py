"""A running text cut into sentences or lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from w2v2_jax.texts import text_lines

# A sentence's end with the quotes and brackets that close it; scripts without spaces between
# sentences have ends of their own.
STOPS = ".!?\u2026\u061f\u06d4\u0964\u0965"
END = re.compile(
    rf"(?<![{STOPS}])[{STOPS}]++[\"'\u2019\u201d\u00bb)\]]*+(?=\s)"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019)]*"
)
# A full stop after these, or after one letter, ends no sentence.
SHORT = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "vol", "cf", "e.g", "i.e", "bzw", "ca",
    "z.b", "d.h", "u.a", "mme", "mlle", "sig", "sra", "nr", "approx",
})  # fmt: skip


def sentences(lines: Iterable[str]) -> Iterator[str]:
    """The sentences of a text whose lines may break anywhere; an empty line also ends one."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line.strip())
        elif paragraph:
            yield from _of_paragraph(" ".join(paragraph))
            paragraph = []


def _of_paragraph(text: str) -> Iterator[str]:
    begin = 0
    for end in END.finditer(text):
        before = text[begin : end.start()].rpartition(" ")[2].strip("\"'([\u201c\u2018\u00ab")
        rest = text[end.end() :].lstrip()
        initial = len(before) == 1 and before.isalpha() and before.isupper()
        if end[0] == "." and (initial or before.casefold() in SHORT or rest[:1].islower()):
            continue
        if sentence := text[begin : end.end()].strip():
            yield sentence
        begin = end.end()
    if rest := text[begin:].strip():
        yield rest


def lines_or_sentences(path: Path, by: str) -> Iterator[tuple[str, str]]:
    """Pairs (line or sentence, its position) of a running text."""
    if by == "line":
        for number, line in enumerate(text_lines(path), 1):
            if line.strip():
                yield " ".join(line.split()), f"{path}:{number}"
        return
    for number, sentence in enumerate(sentences(text_lines(path)), 1):
        yield sentence, f"{path}: sentence {number}"
