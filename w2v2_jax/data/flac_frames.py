"""The number of samples in a FLAC file, by its last frame: the header of a pipe says 0 or less."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from w2v2_jax.data.containers import (
    JUNK_BYTES,
    Buffer,
    Damaged,
    Stream,
    Walked,
    kind_at,
    next_signature,
    skip_tags,
)

HEADER = 42  # bytes: the marker, a block's header, STREAMINFO
SEARCHED = 1 << 18  # bytes from the end in which the last frame is looked for
TAIL_TAGS = 4096
SYNC = re.compile(rb"\xff[\xf8\xf9]")
LEAST_FRAME, MOST_FRAME = 8, 1 << 18  # bytes
TRIED = 3  # headers; one in a million bytes looks like one by chance


def walk_flac(data: Buffer, start: int) -> Walked | None:
    """One stream up to the start of the next one, with its number of samples."""
    if start + HEADER > len(data) or data[start + 4] & 0x7F:
        return None
    stop = next_signature(data, start + 4)
    head = bytearray(data[start : start + HEADER])
    declared = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
    count = _count(data, start + HEADER, stop, block=int.from_bytes(head[10:12], "big"))
    if count is not None and count < declared:  # cut between two frames, or a wrong header
        raise Damaged("truncated", f"{count} of {declared} samples")
    if declared and (count is None or count <= declared):
        end = stop if count else _end_of(data, start + HEADER, stop, bytes(head), declared)
        if end == stop or kind_at(data, skip_tags(data, end)) or stop - end > JUNK_BYTES:
            stop = end
        return Walked([Stream(b"", start, stop)], stop)
    if count is None:
        raise Damaged("truncated", "the last frame is cut short")
    packed = int.from_bytes(head[18:26], "big") & ~((1 << 36) - 1) | count
    head[18:26] = packed.to_bytes(8, "big")
    return Walked([Stream(bytes(head), start + HEADER, stop)], stop)


def _count(data: Buffer, start: int, stop: int, *, block: int) -> int | None:
    """Samples up to the end of the last frame; None if that frame is not complete."""
    first = max(start, stop - SEARCHED)
    tail = bytes(data[first:stop])
    for end in _ends(tail):
        place, tried = end, 0
        while tried < TRIED and (place := tail.rfind(b"\xff", 0, place)) >= 0:
            samples = _frame_end(tail, place, block)
            tried += samples is not None
            if samples is not None and crc(tail[place:end], 0x8005, 16) == 0:
                return samples
    return None


def _ends(tail: bytes) -> list[int]:
    """Where the last frame may end: at the end of the file, or before tags or zeros."""
    places = [len(tail)]
    for mark in (b"TAG", b"APETAGEX", b"ID3"):
        place = tail.rfind(mark, -TAIL_TAGS)
        if place >= 0 and skip_tags(tail, place) == len(tail):
            places.append(place)
    if tail.endswith(b"\0"):
        places.append(len(tail.rstrip(b"\0")))
    return places


def _end_of(data: Buffer, start: int, stop: int, head: bytes, declared: int) -> int:
    """Where the frame with the last declared sample ends if other bytes follow; `stop` if there is
    no such frame."""
    block, largest = (int.from_bytes(head[a:b], "big") for a, b in ((10, 12), (15, 18)))
    for match in SYNC.finditer(data, start, stop):
        first = match.start()
        if _frame_end(data[first : first + HEADER], 0, block) == declared:
            ends = _checked(bytes(data[first : min(stop, first + (largest or MOST_FRAME))]))
            known = (first + e for e in ends if kind_at(data, skip_tags(data, first + e)))
            if ends:
                return next(known, first + ends[-1])
    return stop


def _checked(content: bytes) -> list[int]:
    """The lengths at which content ends with its own checksum, that of a frame among them; one byte
    in 65536 looks like that by chance."""
    table, value, ends = _table(0x8005, 16), 0, []
    for place, byte in enumerate(content, 1):
        value = (value << 8 ^ table[value >> 8 ^ byte]) & 0xFFFF
        if not value and place > LEAST_FRAME:
            ends.append(place)
    return ends


class FrameHeader(NamedTuple):
    """number: that of the frame, or of its first sample if block sizes differ (`varies`).
    samples: the number of samples in it."""

    number: int
    samples: int
    varies: bool


def _frame_end(tail: bytes, place: int, block: int) -> int | None:
    """The number of the sample after the frame whose header is at `place`; None if none is."""
    header = frame_header(tail, place)
    if header is None:
        return None
    return header.number * (1 if header.varies else block) + header.samples


def frame_header(data: bytes, place: int) -> FrameHeader | None:
    """The header of the frame that begins at `place`; None if none does there."""
    head = data[place : place + 16]
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[2] >> 4 == 0:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    length = max(1, _leading_ones(head[4]))
    if length > 7:
        return None
    number = head[4] & (0x7F if length == 1 else (1 << (7 - length)) - 1)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at = 4 + length
    if size in (6, 7):
        samples = int.from_bytes(head[at : at + size - 5], "big") + 1
        at += size - 5
    else:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if len(head) <= at or crc(head[: at + 1], 0x07, 8):
        return None
    return FrameHeader(number, samples, bool(head[1] & 1))


def _leading_ones(byte: int) -> int:
    return 8 - (byte ^ 0xFF).bit_length()


@functools.cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


def crc(content: bytes, polynomial: int, bits: int) -> int:
    """The remainder of a checksum's polynomial; 0 for content followed by its checksum."""
    table, mask, value = _table(polynomial, bits), (1 << bits) - 1, 0
    for byte in content:
        value = (value << 8 ^ table[value >> bits - 8 ^ byte]) & mask
    return value
