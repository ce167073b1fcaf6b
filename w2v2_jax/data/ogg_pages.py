"""The pages of an Ogg file, each compared with its checksum and its number.

A decoder leaves out a damaged page and continues with the next one. The recording is then shorter,
or has a hole, without any message.
"""

from __future__ import annotations

import struct
import zlib

from w2v2_jax.data.containers import (
    DAMAGE_REMEDY,
    JUNK_BYTES,
    Buffer,
    Damaged,
    Stream,
    Walked,
    skip_tags,
)

HEAD = 27  # bytes of a page before its table of segments
FIRST, LAST = 2, 4  # flags of a logical stream's first and last page
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def walk_ogg(data: Buffer, start: int) -> Walked:
    """Walks the pages; a first page after others begins a further stream of a chained file.

    Raises Damaged ("truncated", "damaged inside").
    """
    streams, begin, place, opening = [], start, start, True
    numbers: dict[bytes, int] = {}  # number of the next page, by logical stream
    flags = 0
    while data[place : place + 4] == b"OggS":
        after = _page_end(data, place)
        flags, serial = data[place + 5], data[place + 14 : place + 18]
        number = struct.unpack_from("<I", data, place + 18)[0]
        first = bool(flags & FIRST)
        if not _is_intact(data[place:after]):
            raise _damaged(f"the page at byte {place} differs from its checksum")
        if not first and number != numbers.get(serial, number):
            raise _damaged(f"page {numbers[serial]} is missing before byte {place}")
        numbers[serial] = (number + 1) % (1 << 32)
        if first and not opening:
            streams.append(Stream(b"", begin, place))
            begin = place
        opening, place = first, after
    _check_end(data, place, flags)
    return Walked([*streams, Stream(b"", begin, place)], place)


def _page_end(data: Buffer, place: int) -> int:
    body = place + HEAD + (data[place + HEAD - 1] if place + HEAD <= len(data) else 255)
    after = body + sum(data[place + HEAD : body])
    if after > len(data):
        if data.find(b"OggS", place + 4) >= 0:
            raise _damaged(f"the length of the page at byte {place} is wrong")
        raise Damaged("truncated", f"the page at byte {place} is cut short")
    return after


def _check_end(data: Buffer, place: int, flags: int) -> None:
    """Raises Damaged if the rest of this file, and not another file, follows the pages."""
    further = data.find(b"OggS", place, place + JUNK_BYTES)
    if further >= 0 and not data[further + 5] & FIRST:
        raise _damaged(f"bytes {place} to {further} are of no page")
    if not flags & LAST and skip_tags(data, place) < len(data):
        raise _damaged(f"the bytes from {place} on are of no page, and no page before is the last")


def _damaged(detail: str) -> Damaged:
    return Damaged("damaged inside", f"{detail}; {DAMAGE_REMEDY}")


def _is_intact(page: bytes) -> bool:
    """Ogg's checksum takes the highest bit first and zlib's the lowest. So it is zlib's checksum of
    mirrored bytes, starting from 0 instead of all ones, and itself mirrored."""
    bare = page[:22] + bytes(4) + page[26:]
    checksum = ~zlib.crc32(bare.translate(_MIRRORED), 0xFFFFFFFF) & 0xFFFFFFFF
    stored = struct.pack(">I", checksum).translate(_MIRRORED)
    return stored == page[22:26]
