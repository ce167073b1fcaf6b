"""Writes one split of a prepared corpus: the places of utterances in its shards, the index, and
corpus.json.

The place of an utterance depends only on the order and lengths of those before it. So several
machines can write the shards of one plan (`ShardPlan`), with the bytes of one (`CorpusWriter`).
"""

from __future__ import annotations

import array
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import (
    FORMAT,
    INDEX_ARRAYS,
    INDEX_STRINGS,
    QUALITY_ARRAYS,
    VERSION,
    Entry,
)
from w2v2_jax.data.shards import shard_name
from w2v2_jax.paths import SPLIT, AnyPath, file_sha256, is_remote, size_of, write_json

SHARD_BYTES = 256 * 2**20


class Place(NamedTuple):
    """Number of a shard, and the first sample of an utterance in it."""

    shard: int
    offset: int


NUMBERS = {"num_samples": "q", "mean": "d", "std": "d", "crc32": "Q", "audio_sha256": "Q"}
NUMBERS |= dict.fromkeys(QUALITY_ARRAYS, "d")
PLACES = {"shard": "q", "offset": "q"}


class Layout:
    """The entries of a split in their order, each with its place; `close` writes both.

    The directory is a finished corpus only after `close` has written corpus.json. Numbers are kept
    in columns, because one machine lays out a corpus of millions of utterances.
    """

    def __init__(self, directory: AnyPath, *, shard_bytes: int | None = None):
        self.directory = directory
        self._shard_bytes = shard_bytes or SHARD_BYTES
        self._columns: dict[str, array.array] = {
            name: array.array(kind) for name, kind in (NUMBERS | PLACES).items()
        }
        self._strings: dict[str, list[str]] = {name: [] for name in INDEX_STRINGS}
        self._shard, self._written = -1, 0

    def __len__(self) -> int:
        return len(self._strings["id"])

    def place(self, entry: Entry) -> Place:
        """The place of the next utterance, which never spans two shards."""
        size = 2 * entry.num_samples
        if self._shard < 0 or (self._written and self._written + size > self._shard_bytes):
            self._shard, self._written = self._shard + 1, 0
        place = Place(self._shard, self._written // 2)
        self._written += size
        for name in INDEX_STRINGS:
            self._strings[name].append(getattr(entry, name))
        for name in NUMBERS:
            self._columns[name].append(getattr(entry, name))
        for name, value in place._asdict().items():
            self._columns[name].append(value)
        return place

    def close(
        self, *, split: str, source: str, text: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Writes the index, sorted by id, and corpus.json; returns the latter's content. text: the
        text rules that were applied, if any."""
        path = self.directory / "index.npz"
        _save(path, self._index())
        samples = sum(self._columns["num_samples"])
        info = {
            "format": FORMAT,
            "version": VERSION,
            "split": split,
            "source": source,
            "sample_rate": SAMPLE_RATE,
            "utterances": len(self),
            "samples": samples,
            "hours": samples / SAMPLE_RATE / 3600,
            "shards": self._shard + 1,
            "index_bytes": size_of(path),
            "index_sha256": file_sha256(path),
        } | ({} if text is None else {"text": text})
        write_json(self.directory / SPLIT, info)
        return info

    def _index(self) -> dict[str, np.ndarray]:
        order = sorted(range(len(self)), key=self._strings["id"].__getitem__)
        arrays = {}
        for name, kind in (INDEX_ARRAYS | QUALITY_ARRAYS).items():
            arrays[name] = np.array(self._columns[name])[order].astype(kind)
        for name in INDEX_STRINGS:
            texts = self._strings[name]
            strings = [_encoded(texts[i]) for i in order]
            arrays[f"{name}_blob"] = np.frombuffer(b"".join(strings), np.uint8)
            arrays[f"{name}_ends"] = np.cumsum([len(s) for s in strings], dtype=np.int64)
        return arrays


def _encoded(text: str) -> bytes:
    """UTF-8; a name's bytes that are not UTF-8 stay as they are, and halves of surrogate pairs,
    which JSON can hold, are written as \\ud83d."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _save(path: AnyPath, arrays: dict[str, np.ndarray]) -> None:
    """Writes a file that can seek first: a zip written without seeking has different bytes, and a
    file in an object store cannot seek."""
    if not is_remote(path):
        np.savez(path, **arrays)
        return
    with tempfile.TemporaryFile() as local, path.open("wb") as file:
        np.savez(local, **arrays)
        local.seek(0)
        shutil.copyfileobj(local, file, 1 << 24)


class CorpusWriter(Layout):
    """Writes one split into an empty local directory: `add` utterances, then `close`."""

    def __init__(self, directory: Path, *, shard_bytes: int | None = None):
        super().__init__(directory, shard_bytes=shard_bytes)
        self._file: IO[bytes] | None = None
        directory.mkdir(parents=True)

    def add(self, entry: Entry, blocks: Iterator[bytes]) -> None:
        """Appends an utterance whose int16 bytes come as blocks."""
        before = self._shard
        self.place(entry)
        if self._shard != before:
            self.abort()
            self._file = open(self.directory / shard_name(self._shard), "wb")  # noqa: SIM115
        assert self._file is not None
        for block in blocks:
            self._file.write(block)

    def abort(self) -> None:
        """Closes the open shard."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(
        self, *, split: str, source: str, text: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self.abort()
        return super().close(split=split, source=source, text=text)


class PlannedShard:
    """Which bytes of which files make up a shard.

    reads: [file, offset, length] in bytes, in order. key: hash of the content.
    """

    def __init__(self):
        self.reads: list[list] = []
        self._digest = hashlib.sha256()

    def add(self, file: str, offset: int, length: int, audio_sha256: int) -> None:
        self._digest.update(f"{length} {audio_sha256} ".encode())
        if self.reads and self.reads[-1][0] == file and sum(self.reads[-1][1:]) == offset:
            self.reads[-1][2] += length  # one read of what lies end to end
        else:
            self.reads.append([file, offset, length])

    @property
    def key(self) -> str:
        return self._digest.hexdigest()[:32]


class ShardPlan(Layout):
    """Notes which bytes of which files make up each shard instead of copying them."""

    def __init__(self, directory: AnyPath, *, shard_bytes: int | None = None):
        super().__init__(directory, shard_bytes=shard_bytes)
        self.shards: list[PlannedShard] = []

    def add(self, entry: Entry, file: str, offset: int) -> None:
        """Appends an utterance whose int16 bytes lie at `offset` (bytes) of `file`."""
        shard = self.place(entry).shard
        if shard == len(self.shards):
            self.shards.append(PlannedShard())
        self.shards[shard].add(file, offset, 2 * entry.num_samples, entry.audio_sha256)
