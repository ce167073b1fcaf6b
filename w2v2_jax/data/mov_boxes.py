"""The boxes of an MP4 or QuickTime file (M4A, MOV, 3GP): FFmpeg stops after the first of two such
files put together."""

from __future__ import annotations

import re
import struct

from w2v2_jax.data.containers import Buffer, Stream, Walked

FIRST = b"ftyp"  # the box that begins a file; QuickTime's oldest files have none
BOX = re.compile(rb"[A-Za-z0-9 _\xa9-]{4}")
LARGE = (b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"uuid", b"meta")


def walk_mov(data: Buffer, start: int) -> Walked | None:
    """One stream to the next file or to the last box.

    Whether the last box was cut short is left to the decoder: all samples may be there even if a
    length is wrong.
    """
    place = start
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        if not BOX.fullmatch(name) or (name == FIRST and place > start):
            break
        if size == 1 and place + 16 <= len(data):
            size = struct.unpack_from(">Q", data, place + 8)[0]
        after = len(data) if size == 0 else place + size
        if after > len(data) and name in LARGE:
            return Walked([Stream(b"", start, len(data))], len(data))
        if size in range(1, 8) or after > len(data):
            break
        place = after
    return Walked([Stream(b"", start, place)], place) if place > start else None
