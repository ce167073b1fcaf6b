"""What wrote the transcripts of a folder: `.transcripts.jsonl` in it, to which runs only append.

A line {"settings": {...}} has the checkpoint, decoder and options of the lines that name its id:
{"by": id, "of": the recording's hash, "at": time, "files": {"sub/a.txt": the hash of its content}}.
Such a line is there before its files are: a killed run leaves none that nobody knows.
Several processes may append to one record; a line cut short says nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.paths import as_bytes, file_sha256, json_text, writing

FILE = ".transcripts.jsonl"
SHOWN = ("checkpoint",)  # settings for people: a folder may be moved, and `weights` is what counts


class Writing(NamedTuple):
    """What was about to be a file: the id of the settings, the hashes of the recording and of the
    content, and when, in seconds since 1970."""

    by: str
    of: str
    content: str
    at: float


class Record(NamedTuple):
    """settings: by their id. writings: those of each file, by its path in the folder."""

    settings: dict[str, dict[str, Any]]
    writings: dict[str, list[Writing]]

    def ours(self, directory: Path, file: Path) -> list[Writing]:
        """The writings of which a file that exists is the result as it is now."""
        known = self.writings.get(name_in(directory, file), [])
        if not known or not file.is_file():
            return []
        content = file_sha256(file)
        return [writing for writing in known if writing.content == content]

    def changed(self, directory: Path, file: Path) -> list[Writing]:
        """Those after which somebody has changed a file that is now none's result."""
        known = self.writings.get(name_in(directory, file), [])
        return [writing for writing in known if file.stat().st_mtime > writing.at]


def name_in(directory: Path, file: Path) -> str:
    """A file's name in the record of a folder."""
    return file.relative_to(directory).as_posix()


def identity(settings: Mapping[str, Any]) -> str:
    """The id of settings: equal where what they write is equal."""
    counted = {name: value for name, value in settings.items() if name not in SHOWN}
    return hashlib.sha256(json_text(counted, sort_keys=True).encode()).hexdigest()[:16]


def hash_of_recording(path: str) -> str:
    """The hash of a recording's file; "" where there is none that can be read again."""
    try:
        return file_sha256(Path(path)) if Path(path).is_file() else ""
    except OSError:
        return ""


def read(directory: Path) -> Record:
    """The record of a folder, empty where there is none."""
    record = Record({}, {})
    path = directory / FILE
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    for line in lines:
        try:
            _take(json.loads(line), record)
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return record


def _take(value: dict[str, Any], record: Record) -> None:
    if "settings" in value:
        record.settings[identity(value["settings"])] = value["settings"]
        return
    for name, content in value["files"].items():
        writing = Writing(value["by"], value["of"], content, float(value["at"]))
        record.writings.setdefault(name, []).append(writing)


def begin(directory: Path, settings: Mapping[str, Any]) -> str:
    """Notes the settings of a run, unless they are there; returns their id."""
    by = identity(settings)
    if by not in read(directory).settings:
        _append(directory, {"settings": settings})
    return by


def note(directory: Path, by: str, recording: str, contents: Mapping[Path, str]) -> None:
    """Notes what is about to be written: a recording's path, and each file's content."""
    files = {
        name_in(directory, path): hashlib.sha256(as_bytes(text)).hexdigest()
        for path, text in contents.items()
    }
    value = {"by": by, "of": hash_of_recording(recording), "at": time.time(), "files": files}
    _append(directory, value)


def _append(directory: Path, value: Mapping[str, Any]) -> None:
    path = directory / FILE
    with writing("--out", path), open(path, "a+b") as file:
        file.seek(0, 2)
        cut = False
        if file.tell():
            file.seek(-1, 2)
            cut = file.read(1) != b"\n"  # a killed run's last line
        file.write(b"\n" * cut + as_bytes(json_text(value)) + b"\n")


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The names of the settings that differ, for an error, each with what it was where that says
    something."""
    now = json.loads(json_text(dict(new)))
    names = [name for name in {**old, **now} if old.get(name) != now.get(name)]
    if "weights" in names:
        names = ["checkpoint", *(name for name in names if name not in ("checkpoint", "weights"))]
    else:
        names = [name for name in names if name not in SHOWN]
    return ", ".join(
        f"{name.replace('_', '-')} ({old.get(name)})" if name in SHOWN else name.replace("_", "-")
        for name in names
    )
