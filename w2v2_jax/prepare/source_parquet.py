"""Data sets of Hugging Face's `datasets` on disk: parquet or arrow files with a column of audio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.arrow_tables import import_pyarrow, open_table
from w2v2_jax.prepare.rows import column, split_in_name, text_of
from w2v2_jax.prepare.source_folder import walk
from w2v2_jax.prepare.unlisted_files import pass_over_unlisted
from w2v2_jax.prepare.utterance import Clip, SourceOptions, Utterance

SUFFIXES = (".parquet", ".arrow")
AUDIO_NAMES = ("audio", "speech", "sound", "wav")
COMPANIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
LOOKED_AT = 256  # folders, until a file is met
IDS = ("id", "utterance_id", "utt_id", "segment_id")


class Columns(NamedTuple):
    """Names of the columns of each role, None if there is none; named: whether the audio has a
    field `path`."""

    audio: str
    named: bool
    id: str | None
    text: str | None
    speaker: str | None
    language: str | None


def recognise(place: Path) -> str:
    """The evidence for such a data set; "" if there is none."""
    paths = _files(place)
    return f"{paths[0].name}, of {len(paths)} files" if paths else ""


def parquet(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The rows of one file, or of all below a folder. The split is taken from the file's or its
    folder's name (`train-00000-of-00004.parquet`, `train/data-00000-of-00001.arrow`).

    An id is the row's column `id`, else the path in its audio, else its number. Raises InputError
    without pyarrow (`pip install "w2v2_jax[parquet]"`), for a damaged file, and without audio.
    """
    del options
    import_pyarrow(place)
    paths = _files(Path(place))
    if not paths:
        raise InputError(f"{place}: no {' or '.join(SUFFIXES)} file here")
    return _read(Path(place), paths, account)


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix in SUFFIXES else []
    every: list[Path] = []
    for count, (directory, _, files) in enumerate(walk(place)):
        if count > LOOKED_AT and not every:
            break  # it is a folder of something else
        every += [
            Path(directory, f)
            for f in sorted(files)
            if f.endswith(SUFFIXES) and not f.startswith((".", "cache-"))
        ]
    return every


def _read(place: Path, paths: list[Path], account: Account) -> Iterator[Utterance]:
    root = place if place.is_dir() else place.parent
    taken: dict[str, int] = {}
    for path in paths:
        table = open_table(str(path))
        columns = _columns(table.schema, path)
        if columns.text is None:
            account.remarks.add("no column of texts", path.name)
        split = _split(path, root)
        names = [name for name in columns[2:] if name]
        path_of = columns.audio if columns.named else None
        for number, row in enumerate(table.each_row(names, path_of=path_of)):
            name = text_of(row.get(columns.id or "")) or row.get("path")
            name = name or f"{path.relative_to(root).with_suffix('').as_posix()}-{number:08d}"
            taken[name] = taken.get(name, 0) + 1
            if taken[name] > 1:
                account.remarks.add("id twice, told apart by a number", name)
                name = f"{name}#{taken[name]}"
            account.seen += 1
            text = text_of(row.get(columns.text or ""), f"{path}: row {number}", account)
            speaker, language = (text_of(row.get(c or "")) for c in columns[4:])
            clip = Clip(str(path), inside=("row", number, columns.audio))
            yield Utterance(name, clip, None, text, split, speaker, language)
    if place.is_dir():
        relative = {path.relative_to(root).as_posix() for path in paths}
        pass_over_unlisted(root, relative, account, read=set(COMPANIONS))


def _columns(schema: Any, path: Path) -> Columns:
    audio = [f.name for f in schema if _is_audio(f.type)]
    if not audio:
        raise InputError(f"{path}: no column of audio (bytes, path); there are {schema.names}")
    first = next((name for name in AUDIO_NAMES if name in audio), audio[0])
    plain = [f.name for f in schema if f.name not in audio and not _is_nested(f.type)]
    words = [name for name in plain if "int" not in str(schema.field(name).type)]
    kind = schema.field(first).type
    named = _is_nested(kind) and kind.get_field_index("path") >= 0
    return Columns(
        first,
        named,
        next((name for name in IDS if name in plain), None),
        column(words, "text"),
        column(plain, "speaker"),
        column(words, "language"),
    )


def _is_nested(kind: Any) -> bool:
    return str(kind).startswith(("struct", "list", "large_list", "fixed_size_list"))


def _is_audio(kind: Any) -> bool:
    if str(kind) in ("binary", "large_binary"):
        return True
    fields = {kind.field(i).name for i in range(kind.num_fields)} if _is_nested(kind) else set()
    return "bytes" in fields or {"array", "sampling_rate"} <= fields


def _split(path: Path, root: Path) -> str | None:
    """The split named by the file, else by the nearest folder below the root that names one."""
    folders = path.relative_to(root).parts[-2::-1] or (root.name,)
    names = (split_in_name(name) for name in (path.stem, *folders))
    return next((name for name in names if name), None)
