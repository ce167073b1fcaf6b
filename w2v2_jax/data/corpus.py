"""The prepared corpus on disk: flat int16 shards for random access, and one index.

OUT/<split>/shard-00000.i16 ...  16 kHz mono little-endian int16 samples, utterances end to end
OUT/<split>/index.npz            arrays over utterances, sorted by id; no pickles (see INDEX_ARRAYS)
OUT/<split>/corpus.json          format, totals, source and the hash of the index
Version 2 is compressed: shard-00000.flac and .frames (`data.flac_shard`) instead of .i16. All else
is as in version 1, which stays readable.
Flat memory maps serve random crops more than ten times faster than record files with a parser.
"""

from __future__ import annotations

import errno
import functools
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.flac_shard import CutShort
from w2v2_jax.data.npz import array_names, read_array
from w2v2_jax.data.shards import check_shard, open_shard
from w2v2_jax.data.splits import is_closed, list_splits
from w2v2_jax.data.string_hashes import string_hashes
from w2v2_jax.errors import InputError, nearest
from w2v2_jax.paths import SPLIT, AnyPath, file_sha256, meant_beside, read_json, size_of, to_path

FORMAT, VERSION, COMPRESSED = "w2v2_jax.corpus", 1, 2
CODECS = {VERSION: (None,), COMPRESSED: ("flac",)}
INDEX_ARRAYS = {
    "num_samples": np.int64,
    "shard": np.int32,
    "offset": np.int64,  # samples from the beginning of the shard
    "mean": np.float32,  # of the whole utterance, samples scaled to [-1, 1]
    "std": np.float32,
    "crc32": np.uint32,  # of the int16 bytes
    "audio_sha256": np.uint64,  # first 8 bytes of the SHA-256 of the int16 bytes
}
QUALITY_ARRAYS = {  # estimates; NaN if there is none. Older corpora have none at all
    "clipped_share": np.float32,  # of the samples, those at full scale
    "snr_db": np.float32,
    "bandwidth_hz": np.float32,
    "characters_per_second": np.float32,
}
ENTRY_NUMBERS = ("num_samples", "mean", "std", "crc32", "audio_sha256")  # as `Entry` has them
MOST = 1 << 40  # utterances; a length that Python cannot count is damage
INFO = {"split": str, "utterances": int, "index_sha256": str, "hours": float}  # read elsewhere
# Each is a utf-8 blob and the [N] ends of its strings. Older corpora have no languages.
INDEX_STRINGS = ("id", "text", "speaker", "language")


class Entry(NamedTuple):
    """One utterance of the index, without the place of its samples."""

    id: str
    text: str
    speaker: str
    num_samples: int
    mean: float
    std: float
    crc32: int
    audio_sha256: int
    language: str = ""
    clipped_share: float = math.nan
    snr_db: float = math.nan
    bandwidth_hz: float = math.nan
    characters_per_second: float = math.nan


@dataclass(frozen=True)
class Corpus:
    """One split of a prepared corpus, opened for reading. Index arrays load on first use.

    directory: of the split. info: the content of its corpus.json.
    """

    directory: AnyPath
    info: dict[str, Any]

    def __len__(self) -> int:
        return self.info["utterances"]

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which reads the index and opens the shards itself."""
        return {"directory": self.directory, "info": self.info}

    @property
    def split(self) -> str:
        return self.info["split"]

    @property
    def has_text(self) -> bool:
        """Whether any utterance has a transcript."""
        return len(self._array("text_blob")) > 0

    @property
    def num_samples(self) -> np.ndarray:
        """[N] int64 length of every utterance, 16 kHz samples."""
        return self._array("num_samples")

    @property
    def mean(self) -> np.ndarray:
        """[N] float32 mean of every whole utterance, samples scaled to [-1, 1]."""
        return self._array("mean")

    @property
    def std(self) -> np.ndarray:
        """[N] float32 standard deviation of every whole utterance, samples scaled to [-1, 1]."""
        return self._array("std")

    @property
    def audio_sha256(self) -> np.ndarray:
        """[N] uint64 content hashes."""
        return self._array("audio_sha256")

    @property
    def text_rules(self) -> dict[str, Any] | None:
        """The text rules that were applied to the texts; None if they are as in the source."""
        rules = self.info.get("text")
        if rules is not None and not isinstance(rules, dict):
            raise InputError(f"{self.directory / SPLIT}: text={rules!r}; prepare it again")
        return rules

    def id(self, i: int) -> str:
        return self._string("id", i)

    def text(self, i: int) -> str:
        """Transcript as prepared; empty if there is none."""
        return self._string("text", i)

    def speaker(self, i: int) -> str:
        return self._string("speaker", i)

    def language(self, i: int) -> str:
        """The language as named by the source; empty if it names none."""
        return self._string("language", i) if self._has("language_ends") else ""

    def languages(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """[N] int64 numbers of the utterances' languages, and the languages, "" if the source
        names none."""
        if not self._has("language_ends"):
            return np.zeros(len(self), np.int64), ("",)
        hashes = string_hashes(self._array("language_blob"), self._array("language_ends"))
        _, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
        return numbers, tuple(self.language(int(i)) for i in first)

    def quality(self, name: str) -> np.ndarray:
        """[N] float32, one of QUALITY_ARRAYS; NaN if it is not known."""
        if name not in QUALITY_ARRAYS:
            raise ValueError(f"quality {name!r}: use one of {', '.join(QUALITY_ARRAYS)}")
        if not self._has(name):
            return np.full(len(self), np.nan, QUALITY_ARRAYS[name])
        return self._array(name)

    def entry(self, i: int) -> Entry:
        """All that the index says of utterance i, but for where its samples lie."""
        count, mean, std, crc32, audio = (self._array(name)[i] for name in ENTRY_NUMBERS)
        return Entry(
            self.id(i),
            self.text(i),
            self.speaker(i),
            int(count),
            float(mean),
            float(std),
            int(crc32),
            int(audio),
            self.language(i),
            *(float(self.quality(name)[i]) for name in QUALITY_ARRAYS),
        )

    def texts(self) -> Iterator[str]:
        """All transcripts in order."""
        return (self.text(i) for i in range(len(self)))

    @functools.cached_property
    def speakers(self) -> np.ndarray:
        """[N] uint64, one number per speaker's name, the same in every split."""
        return string_hashes(self._read("speaker_blob"), self._read("speaker_ends"))

    def read(self, i: int, start: int, length: int) -> np.ndarray:
        """[length] int16 samples `start` to `start + length` of utterance i; for a plain local
        shard a view without a copy."""
        if min(start, length) < 0 or start + length > self.num_samples[i]:
            raise IndexError(f"utterance {i}: samples {start}+{length} of {self.num_samples[i]}")
        first = int(self._array("offset")[i]) + start
        view = self._shard(int(self._array("shard")[i]))[first : first + length]
        if len(view) != length:
            raise CutShort(f"{self.directory}: the shard of {self.id(i)} is cut short")
        return view

    def fingerprint(self) -> str:
        """The hash of the index: equal for equal utterances, lengths, texts and samples."""
        return self.info["index_sha256"]

    def verify(self, i: int) -> bool:
        """Whether the samples of utterance i still have the checksum of the index."""
        samples = self.read(i, 0, int(self.num_samples[i]))
        return zlib.crc32(samples) == int(self._array("crc32")[i])

    def verify_index(self) -> bool:
        """Whether the index still has the hash written in corpus.json."""
        return file_sha256(self.directory / "index.npz") == self.info["index_sha256"]

    def check_shards(self) -> None:
        """InputError that names the first shard that is gone, or ends before its last utterance
        does, by the sizes of the files."""
        shards = self._array("shard")
        needed = np.zeros(int(shards.max(initial=-1)) + 1, np.int64)
        np.maximum.at(needed, shards, self._array("offset") + self.num_samples)
        for k, samples in enumerate(needed.tolist()):
            check_shard(self.directory, k, codec=self.info.get("codec"), samples=samples)

    @functools.cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def _read(self, name: str) -> np.ndarray:
        path, rows = self.directory / "index.npz", len(self)
        if name.endswith("_blob"):
            return read_array(path, name, dtype=np.uint8)
        if name.endswith("_ends"):
            return read_array(path, name, dtype=np.int64, rows=rows, rising=True)
        return read_array(path, name, dtype=(INDEX_ARRAYS | QUALITY_ARRAYS)[name], rows=rows)

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return array_names(self.directory / "index.npz")

    def _has(self, name: str) -> bool:
        return name in self._names

    def _string(self, name: str, i: int) -> str:
        ends = self._array(f"{name}_ends")
        if not 0 <= i < len(ends):
            raise IndexError(f"utterance {i} of {len(ends)}")
        begin, end = int(ends[i - 1]) if i else 0, int(ends[i])
        blob = self._array(f"{name}_blob")
        try:
            if end > len(blob):
                raise ValueError(f"{name} {i} ends behind the last")
            return blob[begin:end].tobytes().decode()
        except ValueError as error:
            path = self.directory / "index.npz"
            raise InputError(f"{path}: damaged index ({error}); prepare it again") from error

    @functools.cached_property
    def _shard(self):
        opened = functools.partial(open_shard, self.directory, codec=self.info.get("codec"))
        return functools.lru_cache(maxsize=4096)(opened)  # a process may hold some 65000 maps


def open_corpus(where: str | AnyPath) -> Corpus:
    """Opens "DIR[:split]", or a split's own directory. The split may be omitted if there is one.

    Raises InputError that lists the splits if the split is missing or ambiguous, or that says what
    is wrong with the directory.
    """
    directory, split = to_path(where), ""
    name, colon, last = str(where).rpartition(":")
    if colon and "/" not in last and not directory.exists():
        directory, split = to_path(name), last
    if not directory.is_dir():
        raise InputError(
            f"{directory}: no such directory of a prepared corpus{meant_beside(directory)}"
        )
    if not split and (directory / SPLIT).is_file():
        return _open_split(directory)
    splits = list_splits(directory)
    if split and is_closed(directory / split):
        raise InputError(f"{directory / split}: {os.strerror(errno.EACCES)}")
    if not splits:
        raise InputError(f"{directory}: no prepared corpus; make one with `w2v2 prepare`")
    if split not in splits and (split or len(splits) > 1):
        what = f"no split {split!r}" if split else "more than one split"
        known = [f"{directory}:{s}" for s in splits]
        meant = nearest(split, splits) if split else ""
        hint = f"; {meant} It has" if meant else "; use one of"
        raise InputError(f"{directory}: {what}{hint} {', '.join(known)}")
    return _open_split(directory / (split or splits[0]))


def _open_split(directory: AnyPath) -> Corpus:
    path = directory / SPLIT
    try:
        info = read_json(path)
        codecs = CODECS.get(info["version"], ()) if isinstance(info["version"], int) else ()
        known = info["format"] == FORMAT and info.get("codec") in codecs
        whole = size_of(directory / "index.npz") == info["index_bytes"]
        for name, kind in INFO.items():
            if not isinstance(info[name], kind) or (kind is int and not 0 <= info[name] < MOST):
                raise ValueError(f"{name}={info[name]!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        refused = error if isinstance(error, PermissionError) else error.__cause__
        if isinstance(refused, PermissionError):
            raise InputError(f"{refused.filename}: {refused.strerror}") from error
        raise InputError(f"{path}: unreadable ({error}); prepare the corpus again") from error
    if not known:
        shown = " ".join(f"{name}={info.get(name)!r}" for name in ("format", "version", "codec"))
        raise InputError(
            f"{path}: not {FORMAT} of a version up to {COMPRESSED} ({shown[:100]}); use the "
            "version of this package that made it, or prepare the corpus again"
        )
    if not whole:
        raise InputError(f"{directory / 'index.npz'}: cut short; copy or prepare it again")
    return Corpus(directory, info)
