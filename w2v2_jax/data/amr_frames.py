"""The frames of an AMR file, whose decoder reports an error at a second file behind the first."""

from __future__ import annotations

from w2v2_jax.data.containers import Buffer, Damaged, Stream, Walked

# Bytes of a frame after its first, by its mode; modes that are none have 0.
NARROW, WIDE = b"#!AMR\n", b"#!AMR-WB\n"
BYTES = {
    NARROW: (12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, 0, 0, 0, 0),
    WIDE: (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0),
}
FIXED_BITS = 0x83  # of a frame's first byte, which are 0; those of the next file's `#` are not


def walk_amr(data: Buffer, start: int) -> Walked | None:
    """One stream to its last frame; zeros too few for a frame fill up the file. Raises Damaged
    ("truncated")."""
    mark = next((m for m in BYTES if data[start : start + len(m)] == m), None)
    if mark is None:
        return None
    place = last = start + len(mark)
    while place < len(data) and not data[place] & FIXED_BITS:
        last, place = place, place + 1 + BYTES[mark][data[place] >> 3]
    if place > len(data) and not any(data[last:]):
        place = last
    if place > len(data):
        raise Damaged("truncated", "the last frame is cut short")
    return Walked([Stream(b"", start, place)], place)
