"""Shards of a prepared corpus as FLAC: the same samples in about half the space, read anywhere.

shard-00000.flac    an ordinary FLAC file of the shard's samples
shard-00000.frames  little-endian uint64: the byte at which each of its frames begins, and the size
A frame is decoded without those before it, so a crop is one read of consecutive frames. With a
header in front they are a FLAC file again, whose frames are not numbered from 0 (decoders still
read them in order). Index and fingerprint are those of the plain corpus.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, size_of

MARKER, STREAMINFO = b"fLaC", 34


class CutShort(InputError):
    """A shard that ends before an utterance does, or a part of it that cannot be decoded."""


class FlacShard(NamedTuple):
    """A compressed shard; a slice of it is [n] int16 samples, decoded.

    places: [frames + 1] bytes. info: the STREAMINFO of a file with these frames. block, samples:
    the number of samples in a frame and in the shard.
    """

    path: AnyPath
    places: np.ndarray
    info: bytes
    block: int
    samples: int

    def __getitem__(self, part: slice) -> np.ndarray:  # type: ignore[override]
        first, stop = part.start // self.block, -(-min(part.stop, self.samples) // self.block)
        if first >= stop:
            return np.zeros(0, "<i2")
        start = first * self.block
        count = min(stop * self.block, self.samples) - start
        begin, end = int(self.places[first]), int(self.places[stop])
        frames = _bytes(self.path, begin, end - begin)
        return self._decoded(frames, count)[part.start - start : part.stop - start]

    def _decoded(self, frames: bytes, count: int) -> np.ndarray:
        import soundfile

        numbers = int.from_bytes(self.info[10:18], "big") & ~((1 << 36) - 1) | count
        info = self.info[:10] + numbers.to_bytes(8, "big") + bytes(16)  # no checksum of the whole
        head = MARKER + b"\x80" + STREAMINFO.to_bytes(3, "big") + info
        try:
            with soundfile.SoundFile(io.BytesIO(head + frames)) as file:
                samples = file.read(count, dtype="int16")
        except soundfile.LibsndfileError as error:
            raise CutShort(f"{self.path}: damaged ({error.error_string})") from error
        if len(samples) != count:
            raise CutShort(f"{self.path}: damaged or cut short")
        return samples


def open_flac_shard(path: AnyPath) -> FlacShard:
    """Raises InputError that names the file if it, or its list of frames, cannot be used."""
    try:
        listed = path.with_suffix(".frames")
        places = np.frombuffer(listed.read_bytes(), "<u8")
        size, info = size_of(path), _stream_info(_bytes(path, 0, 8 + STREAMINFO))
        samples = int.from_bytes(info[13:18], "big") & ((1 << 36) - 1)
        block = int.from_bytes(info[2:4], "big")
        rising = len(places) > 0 and bool(np.all(places[1:] > places[:-1]))
        if not rising or not block or len(places) - 1 != -(-samples // block):
            raise ValueError(f"{listed.name} is not its list of frames")
        if int(places[-1]) != size:
            raise CutShort(f"{path}: {size} bytes of {int(places[-1])}; copy or prepare it again")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot read the samples: {error}") from error
    return FlacShard(path, places, info, block, samples)


def _bytes(path: AnyPath, start: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(count)


def _stream_info(head: bytes) -> bytes:
    if head[:4] != MARKER or head[4] & 0x7F or len(head) < 8 + STREAMINFO:
        raise ValueError("not a FLAC file")
    return head[8 : 8 + STREAMINFO]
