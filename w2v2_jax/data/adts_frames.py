"""The frames of a raw AAC file (ADTS), which a decoder skips if they are damaged."""

from __future__ import annotations

import re

from w2v2_jax.data.containers import DAMAGE_REMEDY, Buffer, Damaged, skip_tags

HEAD = 7  # bytes of a frame's header
_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


def check_adts(data: Buffer, start: int) -> None:
    """Raises Damaged ("damaged inside", "truncated") if the frames that begin at `start` break off
    and continue later, or if the last is cut short. Bytes that are not ADTS pass."""
    place = start
    while length := _frame_bytes(data, place):
        if place + length > len(data):
            raise Damaged("truncated", "the last frame is cut short")
        place += length
    if place == start or skip_tags(data, place) >= len(data):
        return
    for match in _SYNC.finditer(data, place):
        first = match.start()
        if (length := _frame_bytes(data, first)) and _frame_bytes(data, first + length):
            detail = f"bytes {place} to {first} are not a frame; {DAMAGE_REMEDY}"
            raise Damaged("damaged inside", detail)


def _frame_bytes(data: Buffer, place: int) -> int:
    """The length of the frame whose header is at a byte, 0 if none is."""
    head = data[place : place + HEAD]
    if len(head) < HEAD or not _SYNC.match(head):
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= HEAD else 0
