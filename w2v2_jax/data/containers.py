"""Where the streams of an audio file begin and end, read from its bytes before it is decoded.

A decoder trusts the header: it stops after the first stream of `cat a.ogg b.ogg`, and treats a file
that was cut short as a shorter one. So the lengths that a file declares are compared with its
bytes: if some are missing the file is "truncated", and what follows is a further stream.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

Buffer = bytes | mmap.mmap
STREAMED_BYTES = 0x7FFFF000  # a file that was written to a pipe declares this much or more
APE, APE_BYTES = b"APETAGEX", 32  # the name of a tag, which begins its header and its footer
MOST_TAG = 1 << 24  # bytes of a tag with pictures in it
JUNK_BYTES = 4096  # bytes that may follow a stream without an error
MOST_LOOKED_AT, LEAST_FEEDS = 1 << 22, 16
DAMAGE_REMEDY = "a decoder would leave that out: ffmpeg -i IN OUT.flac keeps the rest"
MORE = "holds more than its header says"
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
MOV = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # boxes with which an MP4 may begin
SIGNATURE = re.compile(
    rb"fLaC[\x00\x80]\x00\x00\x22|RI(?:FF|FX)....WAVEfmt |(?:RF|BW)64....WAVEds64|OggS\x00\x02"
    rb"|FORM....AIF[FC](?:COMM|FVER)|caff\x00\x01..desc",
    re.DOTALL,
)


class Damaged(ValueError):
    """reason: as in `AudioError`."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Stream(NamedTuple):
    """One stream as a separate file: `head`, then the bytes `start` to `stop` of the whole file."""

    head: bytes
    start: int
    stop: int


class Walked(NamedTuple):
    """Streams of one container, and the first byte after it."""

    streams: list[Stream]
    stop: int


class Window(io.RawIOBase):
    """A stream as a file that supports read and seek."""

    def __init__(self, data: Buffer, stream: Stream):
        self._parts = (memoryview(stream.head), memoryview(data)[stream.start : stream.stop])
        self._place, self._size = 0, sum(map(len, self._parts))

    def readinto(self, target) -> int:
        first = self._place
        part = self._parts[0]
        if first >= len(part):
            first, part = first - len(part), self._parts[1]
        block = part[first : first + len(target)]
        target[: len(block)] = block
        self._place += len(block)
        if len(block) and len(block) < len(target):
            return len(block) + self.readinto(memoryview(target)[len(block) :])
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def streams(data: Buffer, walkers: dict[str, Callable[[Buffer, int], Walked | None]]):
    """The streams of a file in order; the whole file as one stream if its kind is unknown.

    walkers: the reader of each kind. Raises Damaged if the file was cut short, or holds more than
    its streams.
    """
    every: list[Stream] = []
    place = skip_tags(data, 0)
    while place < len(data):
        walked = walkers[kind](data, place) if (kind := kind_at(data, place)) else None
        if walked is None and not every:
            return [Stream(b"", 0, len(data))]
        if walked is None:
            _refuse_text_mode(data)
            if len(data) - place <= JUNK_BYTES:
                break
            raise Damaged(MORE, f"{len(data) - place} bytes of another kind after byte {place}")
        every += walked.streams
        place = skip_tags(data, walked.stop)
    return every or [Stream(b"", 0, len(data))]


def _refuse_text_mode(data: Buffer) -> None:
    """Raises Damaged for a file that was sent or written as text, with a byte more before each line
    feed among its samples. The end of the file, which so many bytes exceed, would be junk."""
    start = data[:MOST_LOOKED_AT]
    if (feeds := start.count(b"\n")) >= LEAST_FEEDS and feeds == start.count(b"\r\n"):
        told = "each line feed follows a carriage return: it was sent or written as text"
        raise Damaged("damaged inside", f"{told}; copy it again in binary mode")


def kind_at(data: Buffer, place: int) -> str | None:
    """The kind of stream that begins at a byte."""
    start = data[place : place + 16]
    if start[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        return "riff"
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if start == W64_RIFF:
        return "w64"
    kinds = {b"fLaC": "flac", b"OggS": "ogg", b".snd": "au", b"dns.": "au", b"caff": "caf"}
    kinds |= {b"NIST": "nist", b"\x1aE\xdf\xa3": "matroska", b"0&\xb2u": "asf", b"#!AM": "amr"}
    if start[4:8] in MOV:
        return "mov"
    if start[:4] in kinds:
        return kinds[start[:4]]
    return "mpeg" if start[:1] == b"\xff" and len(start) > 3 and start[1] & 0xE0 == 0xE0 else None


def skip_tags(data: Buffer, place: int) -> int:
    """The first byte at or after `place` that is neither part of a tag nor zero padding."""
    while place < len(data):
        after = _tag_end(data, place)
        if after == place:
            return place
        place = after
    return len(data)


def _tag_end(data: Buffer, place: int) -> int:
    start = data[place : place + 32]
    if start[:1] == b"\0":
        zeros = re.compile(rb"\0+").match(data, place)
        return max(place, zeros.end() - _zeros_of_box(data, zeros.end())) if zeros else place
    if start[:3] == b"ID3" and len(start) >= 10 and max(start[6:10]) < 128:
        size = sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
        return min(len(data), place + 10 + size + (10 if start[5] & 0x10 else 0))
    if start[:3] == b"TAG" and place + 128 <= len(data):
        return place + (227 if start[3:4] == b"+" and place + 227 <= len(data) else 128)
    if start[:8] == APE and len(start) == APE_BYTES:
        size, flags = struct.unpack_from("<I", start, 12)[0], struct.unpack_from("<I", start, 20)[0]
        return min(len(data), place + 32 + (size if flags & 1 << 29 else 0))
    if start[:11] == b"LYRICSBEGIN":
        end = data.find(b"LYRICS200", place, place + (1 << 20))
        return end + 9 if end >= 0 else place
    return _headless_tag_end(data, place) if place else place


def _headless_tag_end(data: Buffer, place: int) -> int:
    """The end of an APE tag whose entries begin at a byte: it may have its name only at its end."""
    footer = data.find(APE, place, place + MOST_TAG)
    while footer >= 0:
        size = struct.unpack_from("<I", data[footer : footer + APE_BYTES].ljust(APE_BYTES), 12)[0]
        if footer + APE_BYTES - size == place:
            return footer + APE_BYTES
        footer = data.find(APE, footer + 1, place + MOST_TAG)
    return place


def _zeros_of_box(data: Buffer, place: int) -> int:
    """How many zeros before a byte are the first ones of an MP4 box's length."""
    return next((n for n in range(1, 5) if data[place - n + 4 : place - n + 8] in MOV), 0)


def check_size(size: int, room: int) -> None:
    """Raises Damaged ("truncated") if fewer bytes follow than the header says."""
    if room < size:
        raise Damaged("truncated", f"{room} of {size} bytes of samples")


def next_signature(data: Buffer, place: int) -> int:
    """Where a further stream begins in bytes of undeclared length; their end if none does."""
    match = SIGNATURE.search(data, place)
    return match.start() if match else len(data)
