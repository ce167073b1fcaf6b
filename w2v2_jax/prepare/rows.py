"""Rows of the tables of corpora: CSV, TSV, JSON lines; their columns and ids."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.transcripts import (
    COLUMNS,
    MISSING_TEXT,
    SPLIT_NAME,
    is_missing,
    unquoted,
)
from w2v2_jax.texts import decoded_lines, text_lines

SPLIT_IN_NAME = re.compile(rf"(?:^|.*?[_.\W])({SPLIT_NAME.pattern})(?![A-Za-z])", re.IGNORECASE)
MOST_LISTS = 1000  # files of a folder that may be lists; more are one per recording
NEARBY = 4  # folders above a list in which its relative paths may begin

MOST_SECONDS = 1e9  # thirty years: no recording is longer


def csv_rows(path: Path, *, delimiter: str, plain: bool = False) -> Iterator[tuple[int, dict]]:
    """Number of the line and row by column, of a table whose first line names the columns.

    plain: quotes are letters, as in Common Voice, except if a field is clearly quoted. Raises
    InputError with the line of a row that has more or fewer fields than columns.
    """
    quoting: Any = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    lines = (f"{line}\n" for line in text_lines(path))
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    names: list[str] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            fields = [unquoted(f) for f in fields] if plain else fields
            if not names:
                names = [field.strip() for field in fields]
                _refuse_twice(names, f"{path}:{reader.line_num}")
                continue
            if len(fields) != len(names):
                raise InputError(
                    f"{path}:{reader.line_num}: {len(fields)} fields for the {len(names)} columns "
                    f"{', '.join(names)}; put a text with {_name(delimiter)} between quotes"
                )
            yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: {error}; correct the quotes") from error


def _refuse_twice(names: list[str], place: str) -> None:
    """InputError if two columns that are read have one name, so that one would hide the other."""
    known = {name for role in COLUMNS.values() for name in role}
    folded = [name.casefold() for name in names if name.casefold() in known]
    for name in folded:
        if folded.count(name) > 1:
            raise InputError(f"{place}: two columns are called {name!r}; rename one of them")


def _name(delimiter: str) -> str:
    return {",": "a comma", "\t": "a tab"}.get(delimiter, delimiter)


def header(path: Path) -> list[str]:
    """The fields of a file's first line that is not empty, cut at tabs or else at commas; [] where
    there is none or it is no text."""
    try:
        line = next((line for line in text_lines(path) if line.strip()), "")
    except InputError:
        return []
    return [f.strip().strip('"') for f in line.split("\t" if "\t" in line else ",")] if line else []


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the line and object, of JSON lines that may be packed by gzip."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb") as file:
            for number, line in enumerate(decoded_lines(file, str(path)), 1):
                if line.strip():
                    yield number, _json_object(line, f"{path}:{number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged after line {number} ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _json_object(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); write one object per line") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected one JSON object per line, got {line[:60]!r}")
    return value


def first_object(path: Path) -> dict[str, Any]:
    """The first object of a file of JSON lines; {} if there is none."""
    try:
        return next((row for _, row in json_rows(path)), {})
    except InputError:
        return {}


def files_of(place: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The file itself, or the files of a folder and of the folders in it that have a suffix."""
    if place.is_file():
        return [place] if place.name.lower().endswith(suffixes) else []
    every = (path for pattern in ("*", "*/*") for path in sorted(place.glob(pattern)))
    return [
        path
        for path in every
        if path.name.lower().endswith(suffixes) and not path.name.startswith(".") and path.is_file()
    ][:MOST_LISTS]


def split_of_list(path: Path) -> str | None:
    """The split that a list, or else its folder, is named after."""
    return split_in_name(path.name.partition(".")[0]) or split_in_name(path.parent.name)


def column(names: Iterable[str], role: str) -> str | None:
    """The name among `names` that a role of COLUMNS has."""
    folded = {name.casefold(): name for name in reversed(list(names))}
    return next((folded[name] for name in COLUMNS[role] if name in folded), None)


def needed(row: dict[str, Any], name: str, place: str) -> Any:
    """row[name]; InputError that lists the columns if there is none."""
    if name not in row:
        raise InputError(f"{place}: no column {name!r}; there are {', '.join(row) or 'none'}")
    return row[name]


def number(value: Any, name: str, place: str) -> float:
    """A finite number of at least 0, also if it is written as text."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found <= MOST_SECONDS:
        raise InputError(f"{place}: {name} is {value!r}; it must be a number of at least 0")
    return found


def text_of(value: Any, place: str = "", account: Account | None = None) -> str | None:
    """A field as text; None if it is empty or NaN, also as a word such as "nan", which the account
    counts. InputError for a list, an object or a boolean, which nobody says."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if is_missing(value):
        if account is not None:
            account.remarks.add(MISSING_TEXT, f"{place}: {value}")
        return None
    if isinstance(value, (bool, list, dict)):
        raise InputError(f"{place}: {value!r} is not a text")
    return str(value)


def inside(root: Path, name: str, place: str) -> str:
    """A row's path relative to the folder that holds the table; InputError if it leads out."""
    name = name.strip().replace("\\", "/")
    if os.path.isabs(name):
        name = os.path.relpath(name, os.path.abspath(root))
    name = os.path.normpath(name) if name else ""
    if name in ("", ".") or name.split("/")[0] == ".." or "\0" in name:
        raise InputError(f"{place}: {name!r} is not a file below the folder {root}")
    return name


def nearby(name: str, base: Path, place: str) -> str:
    """The file that a list names, which may be anywhere. A relative path starts at the list's
    folder `base`, at one above it, or at the current folder; the first that exists is taken."""
    if not name or "\0" in name or "://" in name:
        raise InputError(f"{place}: {name!r} is not a path on this machine")
    if os.path.isabs(name):
        return name
    base = base.absolute()
    for folder in (base, *base.parents[: NEARBY - 1], Path.cwd()):
        if (folder / name).is_file():
            return str(folder / name)
    return str(base / name)


def split_in_name(name: str) -> str | None:
    """The split that a file or folder is named after: "train" of "an4_train_manifest"."""
    match = SPLIT_IN_NAME.match(name)
    if not match:
        return None
    kept = re.sub(r"[-_.](manifest|cuts|recordings|supervisions|metadata|data).*$", "", match[1])
    return re.sub(r"[-_.]\d+-of-\d+$", "", kept) or None


class Once:
    """Rows by their id: a row that occurs again is passed over if it is the same."""

    def __init__(self, account: Account):
        self._account = account
        self._first: dict[str, tuple[str, int]] = {}

    def __call__(self, name: str, content: Any, place: str) -> bool:
        """Whether the row is the first of its id; InputError if a former one differs."""
        key = hash(content)
        before, known = self._first.setdefault(name, (place, key))
        if before == place:
            return True
        if known != key:
            raise InputError(f"{place}: {name!r} has other values at {before}; keep one of them")
        self._account.pass_over("line twice", f"{place}: {name}")
        return False
