"""The elements of a Matroska or WebM file, each compared with its length and its checksum.

FFmpeg passes over an element that is damaged or cut short, with all the packets in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from w2v2_jax.data.containers import DAMAGE_REMEDY, Buffer, Damaged, Stream, Walked

HEADER, SEGMENT, CLUSTER, CHECKSUM = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xBF
TOP = {  # the elements of a segment, which end a cluster of unknown length
    HEADER, SEGMENT, CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469,
    0x1043A770, 0x1254C367,
}  # fmt: skip


class Element(NamedTuple):
    """id, and the bytes of the content; stop: None if the length is unknown, as in a stream."""

    id: int
    start: int
    stop: int | None


def walk_matroska(data: Buffer, start: int) -> Walked | None:
    """One stream to the end of its segment. Raises Damaged ("truncated", "damaged inside")."""
    header = _element(data, start, len(data))
    segment = header and header.stop and _element(data, header.stop, len(data))
    if not segment or segment.id != SEGMENT:
        return None
    if segment.stop is not None and segment.stop > len(data):
        raise Damaged("truncated", f"{len(data) - start} of {segment.stop - start} bytes")
    *_, stop = segment.start, *_ends(data, segment.start, segment.stop)
    return Walked([Stream(b"", start, stop)], stop)


def _ends(data: Buffer, place: int, stop: int | None) -> Iterator[int]:
    """The end of each element of a segment, and of each in a cluster of unknown length."""
    end = len(data) if stop is None else stop
    while place < end:
        element = _element(data, place, end)
        if element is None:
            if stop is None and not _further(data, place):
                return
            raise _damaged(f"the bytes from {place} on are of no element")
        if element.id == HEADER:
            return
        if element.stop is None:
            place = element.start
        elif element.stop > end:
            if stop is None and not _further(data, place):
                raise Damaged("truncated", f"the element at byte {place} is cut short")
            raise _damaged(f"the length of the element at byte {place} is wrong")
        else:
            _check(data, element, place)
            place = element.stop
        yield place


def _further(data: Buffer, place: int) -> bool:
    """Whether another cluster follows."""
    return data.find(CLUSTER.to_bytes(4, "big"), place + 1) >= 0


def _check(data: Buffer, element: Element, place: int) -> None:
    """Compares an element with the checksum that may be its first content."""
    start, stop = element.start, element.stop
    if element.id in TOP and data[start : start + 2] == bytes((CHECKSUM, 0x84)):
        stored = int.from_bytes(data[start + 2 : start + 6], "little")
        with memoryview(data) as view, view[start + 6 : stop] as content:
            if zlib.crc32(content) != stored:
                raise _damaged(f"the element at byte {place} differs from its checksum")


def _element(data: Buffer, place: int, end: int) -> Element | None:
    """The element whose header lies at a byte; None if none does."""
    head = data[place : min(place + 12, end)]
    length = _width(head[0], most=4) if head else None
    if length is None or len(head) <= length:
        return None
    width = _width(head[length], most=8)
    start = place + length + (width or 0)
    if width is None or start > end:
        return None
    size = int.from_bytes(head[length : length + width], "big") & (1 << 7 * width) - 1
    unknown = size == (1 << 7 * width) - 1
    return Element(int.from_bytes(head[:length], "big"), start, None if unknown else start + size)


def _width(first: int, *, most: int) -> int | None:
    """Bytes of a number whose first byte has so many leading zeros."""
    width = 9 - first.bit_length()
    return width if width <= most else None


def _damaged(detail: str) -> Damaged:
    return Damaged("damaged inside", f"{detail}; {DAMAGE_REMEDY}")
