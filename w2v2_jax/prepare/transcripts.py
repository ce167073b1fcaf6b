"""Tables of transcripts: which line belongs to which file, and which lines are refused."""

from __future__ import annotations

import collections
import csv
import operator
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError, likest
from w2v2_jax.prepare.account import Account
from w2v2_jax.texts import optional_lines, text_lines

# What a column is called, by its role; the first name that a table has is taken.
COLUMNS = {
    "audio": (
        "file_name",
        "filename",
        "audio_filepath",
        "wav_filename",
        "audio_path",
        "audio_file",
        "path",
        "file",
        "audio",
        "wav",
    ),
    "text": ("transcription", "text", "sentence", "transcript", "normalized_text", "raw_text"),
    "speaker": ("speaker_id", "speaker", "client_id", "spk_id"),
    "language": ("language", "locale", "lang", "lang_id"),
    "split": ("split",),
}
HEADINGS = tuple(COLUMNS[role] for role in ("audio", "text", "split", "speaker"))
# Names of splits that are accepted even if only one line has them.
SPLIT_NAME = re.compile(
    r"(train|dev|devel|development|test|valid|validation|val|eval|evaluation|holdout|unlabell?ed|"
    r"unsup|other|all)(\d+|[-_.+][-\w.+]*)?",
    re.IGNORECASE,
)
SPLIT_CHARACTERS = re.compile(r"[A-Za-z0-9][\w.+-]*")  # it becomes a folder's name
# How pandas and others write that a cell is empty, where they are made to write it.
MISSING = frozenset(("nan", "NaN", "<NA>", "NaT", "None", "null", "NULL"))
MISSING_TEXT = "nan, None, null ... taken for no text"
SHARED_TEXT = "one text for several recordings"
UNQUOTED = "quotes of a CSV field taken off"
NEAR = 0.75  # of letters in common
MOST_COMPARED = 100_000  # names; more take minutes


class Transcript(NamedTuple):
    """What a table says of a recording; None where it has no such column."""

    text: str
    split: str | None = None
    speaker: str | None = None


class Line(NamedTuple):
    """A line of a table; name: of the recording, as it stands there."""

    name: str
    transcript: Transcript
    place: str  # file:number


class Table:
    """Transcripts by the name of their audio file, taken out one by one."""

    def __init__(self):
        self._lines: dict[str, Line] = {}
        self._asked: set[str] = set()
        self._names: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line: Line, account: Account) -> None:
        """Raises InputError if an earlier line has another text for the same file."""
        before = self._lines.setdefault(key(line.name), line)
        if before is line:
            return
        if before.transcript != line.transcript:
            raise InputError(
                f"{line.place}: {line.name!r} has another text on line "
                f"{before.place.rpartition(':')[2]}; keep one of them"
            )
        account.remarks.add("line twice", f"{line.place}: {line.name}")

    def take(self, name: str) -> Transcript | None:
        if not self._lines:
            return None
        self._names.append(name)
        self._asked.add(key(name))
        line = self._lines.get(key(name))
        return line.transcript if line else None

    def unused(self) -> Iterator[tuple[str, Transcript]]:
        """Lines whose audio file was not found, in the order of their names."""
        for name, line in sorted(self._lines.items()):
            if name not in self._asked:
                yield line.name, line.transcript

    def with_nearest(self, name: str) -> str:
        """A line's name, and the file that it may have meant."""
        folded = _folded(name)
        for other in self._names:
            if _folded(other) == folded:
                return f"{name} (is it {other}?)"
        compared = self._names[:MOST_COMPARED] if len(self._names) <= MOST_COMPARED else []
        near = likest(name, compared, likeness=NEAR)
        return f"{name} (is it {near[0]}?)" if near else name


def key(name: str) -> str:
    """A form that is the same for all spellings of a path: separators, also doubled ones, `./`,
    composed letters."""
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _folded(name: str) -> str:
    """The same, also ignoring case, folders and suffix."""
    base = key(name).rpartition("/")[2]
    return os.path.splitext(base)[0].casefold() if "." in base else base.casefold()


def read_transcripts_tsv(path: Path, account: Account) -> Table:
    """Lines of path<TAB>text[<TAB>split[<TAB>speaker]]."""
    table, splits = Table(), collections.defaultdict(list)
    for number, line in enumerate(optional_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        fields = _plain_fields(line, place, account)
        if not table and _names_columns(fields, place):
            account.remarks.add("a first line that names columns", place)
            continue
        if not 2 <= len(fields) <= 4 or not fields[0]:
            raise InputError(
                f"{place}: expected path<TAB>text[<TAB>split[<TAB>speaker]], got {line!r}"
            )
        name = _relative(re.sub(r"\A(\./+)+", "", fields[0]), path.parent)
        if ".." in key(name).split("/") or _is_absolute(name) or "\0" in name:
            raise InputError(f"{place}: {name!r} lies outside the folder")
        transcript = Transcript(fields[1], *(f or None for f in fields[2:]))
        table.add(Line(name, transcript, place), account)
        if transcript.split:
            splits[transcript.split].append(place)
    _check_splits(splits)
    return table


def unquoted(field: str) -> str:
    """A field without its quotes where doubled ones inside show that they are no letters."""
    if field == '""':  # an empty field of a writer that quotes every text
        return ""
    inner = field[1:-1]
    if len(field) > 2 and field[0] == field[-1] == '"' and '""' in inner:
        single = inner.replace('""', "")
        return inner.replace('""', '"') if '"' not in single else field
    return field


def is_missing(value: object) -> bool:
    """Whether a cell holds what stands for nothing."""
    return isinstance(value, str) and value.strip() in MISSING


def _plain_fields(line: str, place: str, account: Account) -> list[str]:
    """The fields of a line. Where even the name is quoted the line is one of CSV."""
    fields = [field.strip() for field in line.split("\t")]
    if re.fullmatch(r'".+"', fields[0]):
        try:
            plain = [field.strip() for field in next(csv.reader([line], delimiter="\t"))]
        except csv.Error as error:
            raise InputError(f"{place}: {error}; mend the quotes") from error
    else:
        plain = [unquoted(field) for field in fields]
    if plain != fields:
        account.remarks.add(UNQUOTED, place)
    if len(plain) > 1 and is_missing(plain[1]):
        account.remarks.add(MISSING_TEXT, f"{place}: {plain[1]}")
        plain[1] = ""
    return plain


def _names_columns(fields: list[str], place: str) -> bool:
    """Whether a first line names the columns instead of a recording. InputError if they are
    others."""
    names = [field.casefold() for field in fields]
    if names[0] not in HEADINGS[0]:
        return False
    if len(names) > len(HEADINGS) or not all(map(operator.contains, HEADINGS, names)):
        raise InputError(
            f"{place}: the columns {', '.join(fields)} are not "
            "path<TAB>text[<TAB>split[<TAB>speaker]], name a table with other columns "
            "metadata.tsv"
        )
    return True


def _relative(name: str, folder: Path) -> str:
    """The path of a file below the folder without the folder; other paths stay."""
    for top in (os.path.abspath(folder), os.path.realpath(folder)):
        if os.path.isabs(name) and name.startswith(os.path.join(top, "")):
            return os.path.relpath(name, top)
    return name


def _is_absolute(name: str) -> bool:
    return os.path.isabs(name) or re.match(r"[A-Za-z]:[\\/]|\\\\", name) is not None


def _check_splits(splits: dict[str, list[str]]) -> None:
    """A tab inside a text makes the rest of it a split's name, which no other line then has."""
    for name, places in splits.items():
        alone = len(places) == 1 and not SPLIT_NAME.fullmatch(name)
        if alone or not SPLIT_CHARACTERS.fullmatch(name):
            wrong = "names a split that no other line has" if alone else "cannot name a split"
            raise InputError(
                f"{places[0]}: the third column, {name!r}, {wrong}; "
                "write a space for a tab inside the text, path<TAB>text[<TAB>split[<TAB>speaker]]"
            )


def read_trans_txt(directory: Path, files: list[str], account: Account) -> Table:
    """LibriSpeech chapters: lines "84-121123-0001 SOME WORDS", the speaker first in the id."""
    table = Table()
    for file in files:
        if not file.endswith(".trans.txt") or file.startswith("."):
            continue
        for number, line in enumerate(text_lines(directory / file), 1):
            if (row := chapter_line(line, f"{directory / file}:{number}")) is not None:
                table.add(row, account)
    return table


def chapter_line(line: str, place: str) -> Line | None:
    """A line of a chapter; None for an empty one."""
    stem, *rest = line.split(None, 1) or [""]
    if not stem:
        return None
    return Line(stem, Transcript(rest[0].strip() if rest else "", None, stem.split("-")[0]), place)
