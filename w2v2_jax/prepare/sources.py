"""Where utterances come from: a folder, a fairseq manifest, a TensorFlow Datasets corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote
from w2v2_jax.prepare.source_tfds import tfds
from w2v2_jax.prepare.utterance import Utterance, text_lines


class Transcript(NamedTuple):
    text: str
    split: str | None = None
    speaker: str | None = None


def open_source(source: str, *, tfds_data_dir: str | None = None) -> Iterator[Utterance]:
    """Utterances of "folder:DIR", "manifest:FILE.tsv" or "tfds:NAME[:SPLIT]", lazily and always in
    the same order. Raises InputError for an unknown scheme (lists SOURCES) or a bad place."""
    scheme, found, where = source.partition(":")
    if not found or not where or scheme not in SOURCES:
        known = ", ".join(f"{name}:..." for name in SOURCES)
        raise InputError(f"--source {source!r} is unknown; use one of {known}")
    return SOURCES[scheme](where, tfds_data_dir=tfds_data_dir)


def folder(where: str, *, tfds_data_dir: str | None = None) -> Iterator[Utterance]:
    """Audio files under a directory; ids are their relative paths.

    The transcript is the first found of `transcripts.tsv` at the top (relative path, text, and
    optionally split and speaker, separated by tabs), a LibriSpeech `*.trans.txt` beside the file,
    and `name.txt` beside it. Files that transcripts.tsv names but that are missing come as well, so
    that they are counted as unreadable.
    """
    del tfds_data_dir
    root = Path(where)
    if not root.is_dir():
        raise InputError(f"--source folder:{where}: no such directory")
    return _walk(root, _read_transcripts(root / "transcripts.tsv"))


def _walk(root: Path, listed: dict[str, Transcript]) -> Iterator[Utterance]:
    missing, count = dict(listed), 0
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith("."))
        files = sorted(f for f in files if not f.startswith("."))
        chapter = _read_trans_txt(Path(directory), files)
        for file in files:
            if not file.lower().endswith(AUDIO_SUFFIXES):
                continue
            path = Path(directory, file)
            relative = _printable(path.relative_to(root).as_posix())
            missing.pop(relative, None)
            found = listed.get(relative) or chapter.get(path.stem) or _sibling(path, files)
            count += 1
            text, split, speaker = found or (None, None, None)
            yield Utterance(relative, str(path), None, text, split, speaker)
    for relative, (text, split, speaker) in sorted(missing.items()):
        count += 1
        yield Utterance(relative, str(root / relative), None, text, split, speaker)
    if not count:
        raise InputError(f"{root}: no audio files ({' '.join(AUDIO_SUFFIXES)}) in this folder")


def _printable(name: str) -> str:
    """A name as text that can be written: bytes that are not UTF-8 become \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read_transcripts(path: Path) -> dict[str, Transcript]:
    table = {}
    for number, line in enumerate(text_lines(path) if path.is_file() else (), 1):
        fields = [f.strip() for f in line.split("\t")]
        if not line.strip():
            continue
        if not 2 <= len(fields) <= 4 or not fields[0]:
            raise InputError(
                f"{path}:{number}: expected path<TAB>text[<TAB>split[<TAB>speaker]], got {line!r}"
            )
        name = fields[0].removeprefix("./")
        if ".." in name.split("/") or os.path.isabs(name) or "\0" in name:
            raise InputError(f"{path}:{number}: {name!r} leads outside the folder")
        table[name] = Transcript(fields[1], *(f or None for f in fields[2:]))
    return table


def _read_trans_txt(directory: Path, files: list[str]) -> dict[str, Transcript]:
    """LibriSpeech chapters: lines "84-121123-0001 SOME WORDS", the speaker first in the id."""
    table = {}
    for file in files:
        for line in text_lines(directory / file) if file.endswith(".trans.txt") else ():
            stem, _, text = line.strip().partition(" ")
            table[stem] = Transcript(text.strip(), None, stem.split("-")[0])
    return table


def _sibling(path: Path, files: list[str]) -> Transcript | None:
    name = path.stem + ".txt"
    return (
        Transcript(" ".join(" ".join(text_lines(path.with_name(name))).split()))
        if (name in files)
        else None
    )


def manifest(where: str, *, tfds_data_dir: str | None = None) -> Iterator[Utterance]:
    """A fairseq manifest: the root on line 1 (a folder, gs://... or s3://...), then
    `relative path<TAB>frames`; the split is the file's stem. Transcripts, line by line, from
    FILE.wrd, else FILE.ltr (letters apart, `|` between words). Raises InputError when the labels'
    lines do not match or a path leaves the root."""
    del tfds_data_dir
    path = Path(where)
    if not path.is_file():
        raise InputError(f"--source manifest:{where}: no such file")
    count = sum(1 for line in text_lines(path) if line.strip()) - 1
    if count < 1:
        raise InputError(f"{path}: an empty manifest: line 1 is the root, then one file a line")
    return _manifest_rows(path, _manifest_texts(path, count))


def _manifest_texts(path: Path, count: int) -> Iterator[str] | None:
    for suffix in (".wrd", ".ltr"):
        labels = path.with_suffix(suffix)
        if labels.is_file():
            lines = sum(1 for _ in text_lines(labels))
            if lines != count:
                raise InputError(f"{labels}: {lines} lines of labels for {count} files of {path}")
            return (line if suffix == ".wrd" else _words(line) for line in text_lines(labels))
    return None


def _words(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def _manifest_rows(path: Path, texts: Iterator[str] | None) -> Iterator[Utterance]:
    lines = (line for line in text_lines(path) if line.strip())
    root = next(lines).strip().rstrip("/")
    if "\0" in root:
        raise InputError(f"{path}:1: {root!r} is no folder: it holds a NUL")
    if not is_remote(root):
        root = os.path.abspath(path.parent / (root or "/"))
    for number, line in enumerate(lines, 2):
        relative, tab, frames = line.partition("\t")
        if not tab or not frames.strip().isdigit():
            raise InputError(f"{path}:{number}: expected path<TAB>frames, got {line!r}")
        inside = os.path.normpath(relative)
        outside = os.path.isabs(relative) or "\0" in relative
        if outside or inside.split("/")[0] == "..":
            raise InputError(f"{path}:{number}: {relative!r} leads outside the root {root}")
        text = None if texts is None else next(texts)
        yield Utterance(relative, f"{root}/{inside}", None, text, path.stem, None)


SOURCES = {"folder": folder, "manifest": manifest, "tfds": tfds}
