"""Phones with their times: a table of all utterances, or TIMIT's .phn files."""

from __future__ import annotations

import math
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.texts import text_lines

SAMPLE_RATE = 16000  # of the sample numbers in .phn files
Segments = list[tuple[float, float, str]]


def read_labels(where: Path, ids: list[str]) -> dict[str, Segments]:
    """Utterance id -> (start, end, label) in seconds, for the ids that have labels.

    where: a file of lines `id<TAB>start<TAB>end<TAB>label` in seconds, or a folder with a file
    ID.phn (or .PHN) per utterance, lines `start end label` in samples. Raises InputError that names
    the file and line, or says that no utterance has labels.
    """
    segments = _read_folder(where, ids) if where.is_dir() else _read_table(where)
    labelled = {name: segments[name] for name in ids if name in segments}
    if not labelled:
        raise InputError(
            f"{where}: no labels of any of the {len(ids)} utterances, such as {ids[0]}"
        )
    return labelled


def _read_table(path: Path) -> dict[str, Segments]:
    segments: dict[str, Segments] = {}
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            name, *rest = line.split("\t")
            segments.setdefault(name, []).append(_segment(rest, path, number, 1.0))
    return segments


def _read_folder(directory: Path, ids: list[str]) -> dict[str, Segments]:
    segments = {}
    for name in ids:
        for path in (directory / f"{name}.phn", directory / f"{name}.PHN"):
            if path.is_file():
                segments[name] = [
                    _segment(line.split(), path, number, SAMPLE_RATE)
                    for number, line in enumerate(text_lines(path), 1)
                    if line.strip()
                ]
                break
    return segments


def _segment(fields: list[str], path: Path, number: int, rate: float) -> tuple[float, float, str]:
    try:
        if len(fields) != 3:
            between = "tabs after the id" if rate == 1.0 else "spaces"
            raise ValueError(f"not 3 fields with {between}")
        start, end, label = fields
        segment = (float(start) / rate, float(end) / rate, label)
        if not 0 <= segment[0] <= segment[1]:
            raise ValueError("it ends before it begins")
        if segment[1] == math.inf:
            raise ValueError("it never ends")
    except ValueError as error:
        raise InputError(
            f"{path} line {number}: {error}; needs a start, an end and a label"
        ) from None
    return segment
