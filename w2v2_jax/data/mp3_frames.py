"""Counts the frames of an MP3 file, because its header only estimates their number.

Without a Xing, Info or VBRI frame a decoder estimates the length from the first frame's bit rate
and stops there. With one it stops after the first part of `cat a.mp3 b.mp3`. So each part gets a
header with the right number.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

from w2v2_jax.data.containers import (
    DAMAGE_REMEDY,
    JUNK_BYTES,
    Buffer,
    Damaged,
    Stream,
    Walked,
    skip_tags,
)
from w2v2_jax.data.mp3_side import is_possible, side_bytes

SLACK = 2  # frames by which encoders miscount
RATES = (44100, 48000, 32000)
KBITS = {  # (version 1, layer): bit rates of the indices 1 to 14
    (True, 1): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Frame(NamedTuple):
    """What a header says: bytes, samples per second, whether it is layer III and MPEG 1."""

    length: int
    rate: int
    layer: int
    first_version: bool


class _Part(NamedTuple):
    """Frames that belong together: where they begin, which one has no audio, and their number."""

    starts: list[int]
    declared: int | None  # audio frames according to a frame that is none


@functools.cache
def _frame(second: int, third: int) -> Frame | None:
    """The frame by the second and third byte of a header; None if it is none, or its rate free."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    index, rate = third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits, pad = 1000 * KBITS[first, layer][index - 1], third >> 1 & 1
    if layer == 1:
        return Frame(4 * (12 * bits // hertz + pad), hertz, layer, first)
    return Frame((144 if first or layer == 2 else 72) * bits // hertz + pad, hertz, layer, first)


def frame_at(data: Buffer, place: int) -> Frame | None:
    """The frame whose header lies at a byte."""
    if place + 4 > len(data) or data[place] != 0xFF:
        return None
    return _frame(data[place + 1], data[place + 2])


def walk_mp3(data: Buffer, start: int, stop: int | None = None) -> Walked | None:
    """Parts that begin with a Xing frame or where the sampling rate or the channels change."""
    stop = len(data) if stop is None else stop
    first = frame_at(data, start)
    if first is None or (start + first.length < stop and not _chains(data, start, first, stop)):
        return None
    parts, place, kind, cut = [], start, None, False
    while place < stop and (frame := frame_at(data, place)):
        if place + frame.length > stop or _tag_follows(data, place, frame.length):
            cut = True
            break
        declared = _declared(data, place, frame)
        if declared is None:
            _check_side(data, place, frame)
        now = (frame.rate, frame.layer, data[place + 3] >> 6 == 3)
        if declared is not None or now != kind:
            parts.append(_Part([], declared))
        parts[-1].starts.append(place)
        kind, place = now, place + frame.length
        if frame_at(data, place) is None and place < stop:
            place = _resume(data, place, stop)
    if not parts or (cut and parts[-1].declared is None):
        raise Damaged("truncated", "the last frame is cut short")
    ends = [part.starts[0] for part in parts[1:]] + [place]
    return Walked(
        [s for p, end in zip(parts, ends, strict=True) for s in _streams(data, p, end)],
        stop if cut else place,
    )


def _check_side(data: Buffer, place: int, frame: Frame) -> None:
    if frame.layer == 3 and not is_possible(
        data, place, length=frame.length, first_version=frame.first_version
    ):
        detail = f"the frame at byte {place} cannot be decoded; {DAMAGE_REMEDY}"
        raise Damaged("damaged inside", detail)


def _chains(data: Buffer, place: int, frame: Frame, stop: int) -> bool:
    """Whether a second frame of the same rate follows, or the file's last tags."""
    after = frame_at(data, place + frame.length)
    if after is not None:
        return after.rate == frame.rate
    return skip_tags(data, place + frame.length) >= stop


def _tag_follows(data: Buffer, place: int, length: int) -> bool:
    """Whether the file's last 128 bytes are a tag that a frame would reach into."""
    tag = len(data) - 128
    return place < tag < place + length and data[tag : tag + 3] == b"TAG"


def _resume(data: Buffer, place: int, stop: int) -> int:
    """Where frames continue after tags, or another file after a little junk; `place` if they do
    not. If frames continue after anything else, some are missing: Damaged."""
    after = skip_tags(data, place)
    if frame_at(data, after):
        return after
    for candidate in range(after, min(after + JUNK_BYTES, stop)):
        frame = frame_at(data, candidate)
        if frame and frame_at(data, candidate + frame.length):
            if _declared(data, candidate, frame) is None:
                detail = f"bytes {after} to {candidate} are no frame; {DAMAGE_REMEDY}"
                raise Damaged("damaged inside", detail)
            return candidate
    return place


def _declared(data: Buffer, place: int, frame: Frame) -> int | None:
    """The audio frames that follow, according to a frame that holds nothing else."""
    if frame is None or frame.layer != 3:
        return None
    at = place + 4 + side_bytes(data[place + 3], frame.first_version)
    if data[at : at + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack(">II", data[at + 4 : at + 12])
        return count if flags & 1 else -1
    if data[place + 36 : place + 40] == b"VBRI":
        return struct.unpack(">I", data[place + 50 : place + 54])[0]
    return None


def _streams(data: Buffer, part: _Part, end: int) -> list[Stream]:
    """A part unchanged if its own count is right, else after a frame with the right count."""
    begin, count = part.starts[0], len(part.starts)
    if part.declared is None or part.declared < 0:
        at = part.starts[0 if part.declared is None else 1 :]
        return [Stream(_count_frame(data, at[0], len(at)), at[0], end)] if at else []
    missing = part.declared - (count - 1)
    if missing > SLACK:
        raise Damaged("truncated", f"{count - 1} of {part.declared} frames")
    if missing >= -SLACK:
        return [Stream(b"", begin, end)]
    following = part.starts[1 + part.declared]
    rest = _Part(part.starts[1 + part.declared :], None)
    return [Stream(b"", begin, following), *_streams(data, rest, end)]


def _count_frame(data: Buffer, place: int, count: int) -> bytes:
    """A frame without audio that says how many follow, as encoders write it at the start."""
    frame = frame_at(data, place)
    if frame is None or frame.layer != 3:
        return b""
    second, third, fourth = data[place + 1], data[place + 2], data[place + 3]
    rate = third & 0x0C | (0x50 if frame.first_version else 0x80)  # 64 kbit/s
    counter = _frame(second, rate)
    assert counter is not None  # the same layer and version at a rate that exists
    length = counter.length
    head = bytes((0xFF, second | 1, rate, fourth)) + bytes(side_bytes(fourth, frame.first_version))
    return (head + struct.pack(">4sII", b"Xing", 1, count)).ljust(length, b"\0")
