"""The bytes of recordings inside other files: slices, archives, parquet and arrow."""

from __future__ import annotations

import functools
import os
import tarfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from w2v2_jax.data.audio import AudioError
from w2v2_jax.errors.absent import why_not_plain
from w2v2_jax.paths import is_remote, size_of, to_path
from w2v2_jax.prepare.arrow_tables import open_table
from w2v2_jax.prepare.utterance import Clip

MOST_BYTES = 4 << 30  # of one recording inside another file


class Content(NamedTuple):
    """A path, the bytes of a file, or samples at `rate` Hz."""

    audio: str | bytes | np.ndarray
    rate: int | None = None


def content(clip: Clip, name: str) -> Content:
    """The whole recording that a clip is of; AudioError, called `name`, if it is not there."""
    if clip.inside is None:
        return Content(clip.path)
    if not is_remote(clip.path) and (reason := why_not_plain(clip.path)):
        raise AudioError(name, "unreadable", f"{clip.path}: {reason}")
    kind, *which = clip.inside
    try:
        return READERS[kind](clip.path, name, *which)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise AudioError(name, "unreadable", f"{clip.path}: {error}") from error


def _bytes(path: str, name: str, first: int, count: int) -> Content:
    file = to_path(path)
    if first + count > size_of(file):
        detail = f"{path} has no {count} bytes from byte {first} on"
        raise AudioError(name, "truncated", detail)
    with file.open("rb") as opened:
        opened.seek(first)
        return Content(opened.read(count))


class _Tar:
    """An archive that is read from its beginning to its end; members that are requested in order
    need only one pass."""

    def __init__(self, path: str):
        self._path = path
        self._open()

    def _open(self) -> None:
        self._file = tarfile.open(self._path, "r|*")  # noqa: SIM115
        self._passed: set[str] = set()

    def read(self, name: str) -> bytes | None:
        if name in self._passed:
            self._file.close()
            self._open()
        while (member := self._file.next()) is not None:
            self._passed.add(member.name)
            if member.name == name and member.isfile() and member.size <= MOST_BYTES:
                opened = self._file.extractfile(member)
                return None if opened is None else opened.read()
        return None


@functools.lru_cache(maxsize=1)
def _tar(path: str, changed: int) -> _Tar:
    del changed  # an archive that was written again is opened anew
    return _Tar(path)


def _member(path: str, name: str, member: str) -> Content:
    data = _tar(path, os.stat(path).st_mtime_ns).read(member)
    if data is None:
        raise AudioError(name, "unreadable", f"{path} has no {member}")
    return Content(data)


def _row(path: str, name: str, number: int, column: str) -> Content:
    cell = open_table(path).cell(number, column)
    if isinstance(cell, bytes):
        return Content(cell)
    cell = cell or {}
    if cell.get("bytes"):
        return Content(cell["bytes"])
    if cell.get("array") is not None:
        return Content(np.asarray(cell["array"], np.float32), int(cell["sampling_rate"]))
    if not cell.get("path"):
        raise AudioError(name, "unreadable", f"row {number} of {path} holds no audio")
    return Content(os.path.join(os.path.dirname(path), cell["path"]))


READERS: dict[str, Callable[..., Content]] = {"bytes": _bytes, "member": _member, "row": _row}
