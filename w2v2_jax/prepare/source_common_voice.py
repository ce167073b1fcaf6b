"""Common Voice: clips and a table for each split, language by language."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import Once, csv_rows, header, inside, needed, text_of
from w2v2_jax.prepare.unlisted_files import pass_over_unlisted
from w2v2_jax.prepare.utterance import SourceOptions, Utterance

CLIPS = "clips"
# In this order: `validated` holds the rows of the first three and more.
TABLES = ("train", "dev", "test", "validated", "other", "invalidated")

COMPANIONS = (
    "reported.tsv",
    "clip_durations.tsv",
    "times.txt",
    "validated_sentences.tsv",
    "unvalidated_sentences.tsv",
)


def recognise(place: Path) -> str:
    """The evidence for Common Voice; "" if there is none."""
    tables = [place] if place.is_file() else _tables(place)
    if not tables and place.is_dir():
        tables = [t for language in _languages(place) for t in _tables(language)]
    for table in tables:
        names = header(table) if table.suffix == ".tsv" else []
        if "client_id" in names or {"path", "sentence"} <= set(names):
            return f"{table.name} has the columns {', '.join(names[:4])}"
    return ""


def _tables(folder: Path) -> list[Path]:
    return [t for name in TABLES if os.path.lexists(t := folder / f"{name}.tsv")]


def _languages(place: Path) -> list[Path]:
    """The folders of languages, either in the given folder or in a release's folder inside it."""
    clips = (path for depth in ("*", "*/*") for path in place.glob(f"{depth}/{CLIPS}"))
    return sorted(path.parent for path in clips if path.is_dir())


def common_voice(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The clips of a language's folder, of the folder of several languages, or of one table.

    A row's split is the table that it stands in: train, dev, test, then the rows that only
    `validated` has, `other` and `invalidated`. Clips that no table names are passed over. Raises
    InputError if a table lacks a column, or if one clip has two texts.
    """
    del options
    root = Path(place)
    if root.is_file():
        return _read(root.parent, [root], account, prefix="", walked=False)
    if _tables(root):
        return _read(root, _tables(root), account, prefix="", walked=True)
    every = [(folder, tables) for folder in _languages(root) if (tables := _tables(folder))]
    if not every:
        known = ", ".join(f"{name}.tsv" for name in TABLES)
        raise InputError(f"{place}: no table of Common Voice here; one of {known} is needed")
    return (
        utterance
        for folder, tables in every
        for utterance in _read(
            folder, tables, account, prefix=f"{folder.relative_to(root).as_posix()}/", walked=True
        )
    )


def _read(
    folder: Path, tables: list[Path], account: Account, *, prefix: str, walked: bool
) -> Iterator[Utterance]:
    if not (folder / CLIPS).is_dir():
        raise InputError(f"{folder / CLIPS}: no such folder; Common Voice keeps its clips there")
    there = {entry.name for entry in os.scandir(folder / CLIPS)}
    splits: dict[str, str] = {}  # of each clip that a table before had
    for table in tables:
        once, split = Once(account), table.stem
        for number, row in csv_rows(table, delimiter="\t", plain=True):
            at = f"{table}:{number}"
            text = text_of(needed(row, "sentence", at), at, account)
            name = _clip(needed(row, "path", at), there, folder, at)
            speaker = text_of(row.get("client_id", "").strip())
            if not once(name, (text, speaker), at):
                continue
            if split not in TABLES[:3] and splits.get(name, split) != split:
                account.pass_over("in another table too", f"{at}: {name}")
                continue
            splits[name] = split
            account.seen += 1
            language = text_of(row.get("locale", "").strip()) or (folder.name if prefix else None)
            path = str(folder / CLIPS / name)
            yield Utterance(prefix + name, path, None, text, split, speaker, language)
    if walked:
        read = {*COMPANIONS, *(table.name for table in tables)}
        pass_over_unlisted(folder, {f"{CLIPS}/{name}" for name in splits}, account, read=read)


def _clip(path: str, there: set[str], folder: Path, at: str) -> str:
    """The clip's name under clips/. Rows may begin with that folder; early releases omit the
    suffix."""
    name = inside(folder, path, at).removeprefix(f"{CLIPS}/")
    return f"{name}.mp3" if name not in there and f"{name}.mp3" in there else name
