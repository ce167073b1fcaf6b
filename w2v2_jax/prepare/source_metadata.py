"""Hugging Face's audio folders, and any other table with a header that names files and texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import (
    Once,
    column,
    csv_rows,
    first_object,
    header,
    inside,
    json_rows,
    split_in_name,
    text_of,
)
from w2v2_jax.prepare.source_folder import walk
from w2v2_jax.prepare.transcripts import COLUMNS
from w2v2_jax.prepare.unlisted_files import pass_over_unlisted
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

NAMED = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
# Columns of tables that cut recordings, which are not read here.
PART_COLUMNS = frozenset(
    ("start", "end", "offset", "start_time", "end_time", "begin", "start_sec", "end_sec", "onset")
)
WHOLE = "the whole recording is taken, although columns name a part of it; NeMo's lines can cut"
DEPTH = 2  # folders between the top and a table


class Table(NamedTuple):
    """columns: the name of each role of COLUMNS that the table has."""

    path: Path
    columns: dict[str, str | None]


def recognise(place: Path) -> str:
    """The evidence for such a table; "" if there is none."""
    for table in _tables(place):
        if table.columns["text"] or table.path.name in NAMED:
            shown = [name for role in ("audio", "text") if (name := table.columns[role])]
            return f"{table.path.name} has the columns {', '.join(shown)}"
    return ""


def metadata(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Files that `metadata.csv`, `metadata.jsonl`, `metadata.tsv` or tables such as `train.csv`
    name, in the folder or its `train/`, `test/` ...

    The columns are the first that COLUMNS lists for each role. A row's split is its column `split`,
    else the table's or the folder's name. Files that no row names are passed over. Raises
    InputError for a bad row, a path that leads out of the table's folder or two texts of a file.
    """
    del options
    root = Path(place)
    tables = _tables(root)
    if not tables:
        raise InputError(
            f"{place}: no table with a header that names files ({', '.join(COLUMNS['audio'][:4])}"
            f" ...); it may be called {', '.join(NAMED)} or train.csv"
        )
    for path in _candidates(root) if root.is_dir() else ():
        _refuse_unreadable(path)
    return _read(root if root.is_dir() else root.parent, tables, account, walked=root.is_dir())


def _tables(place: Path) -> list[Table]:
    paths = [place] if place.is_file() else sorted(_candidates(place))
    return [Table(path, columns) for path in paths if (columns := _columns(path))["audio"]]


def _candidates(root: Path) -> Iterator[Path]:
    for directory, names, files in walk(root):
        deep = len(Path(directory).relative_to(root).parts)
        names[:] = names if deep < DEPTH else []
        for file in files:
            stem, suffix = os.path.splitext(file)
            split = split_in_name(stem) == stem and suffix in (*DELIMITERS, ".jsonl")
            if file in NAMED or (split and not deep):
                yield Path(directory, file)


def _refuse_unreadable(path: Path) -> None:
    """InputError for a table whose rows would be lost: its columns cannot be recognised."""
    next(iter(text_lines(path) if path.suffix in DELIMITERS else json_rows(path)), None)


def _columns(path: Path) -> dict[str, str | None]:
    if path.suffix in DELIMITERS:
        names = header(path)
        names = names if len(names) > 1 else []
    else:
        names = list(first_object(path)) if path.suffix == ".jsonl" else []
    if "supervisions" in names or "audio_filepath" in names or _of_common_voice(path, names):
        names = []  # lhotse's and NeMo's
    return {role: column(names, role) for role in COLUMNS}


def _of_common_voice(path: Path, names: list[str]) -> bool:
    clips = "path" in names and "sentence" in names and (path.parent / "clips").is_dir()
    return path.suffix == ".tsv" and ("client_id" in names or clips)


def _split_of_folders(name: str) -> str | None:
    """The nearest folder above a file that has a split's name."""
    folders = reversed(name.split("/")[:-1])
    return next((part for part in folders if split_in_name(part) == part), None)


def _read(
    root: Path, tables: list[Table], account: Account, *, walked: bool
) -> Iterator[Utterance]:
    taken: set[str] = set()
    for table in tables:
        once = Once(account)
        texts = table.columns["text"] is not None
        for number, row in _rows(table.path):
            at = f"{table.path}:{number}"
            utterance = _utterance(row, table, root, at, account)
            texts |= utterance.text is not None
            if once(utterance.id, utterance, at):
                account.seen += 1
                taken.add(utterance.id)
                yield utterance
        if not texts:
            account.remarks.add("no column of texts", f"{table.path.name}")
    if walked:
        read = {table.path.relative_to(root).as_posix() for table in tables}
        pass_over_unlisted(root, taken, account, read=read)


def _rows(path: Path) -> Iterator[tuple[int, dict]]:
    if path.suffix in DELIMITERS:
        return csv_rows(path, delimiter=DELIMITERS[path.suffix])
    return json_rows(path)


def _utterance(row: dict, table: Table, root: Path, at: str, account: Account) -> Utterance:
    # An object of JSON lines may lack what the first one has, or have what that one lacks.
    columns = {
        role: name if name in row else column(row, role) for role, name in table.columns.items()
    }
    name = row.get(columns["audio"])
    if not isinstance(name, str):
        raise InputError(
            f"{at}: {table.columns['audio']} is {name!r}; it must be the path of a file"
        )
    folder = table.path.parent
    name = (folder / inside(folder, name, at)).relative_to(root).as_posix()
    text, split, speaker, language = (
        text_of(row.get(columns[role]), at, account if role == "text" else None)
        for role in ("text", "split", "speaker", "language")
    )
    if parts := sorted(PART_COLUMNS.intersection(map(str.casefold, row))):
        account.remarks.add(WHOLE, f"{at}: columns {', '.join(parts)}")
    named = split_in_name(table.path.stem) or _split_of_folders(name)
    return Utterance(name, str(root / name), None, text, split or named, speaker, language)
