"""Finds MP3 frames whose side information is impossible, which a decoder mutes or garbles.

Only that: the coded samples have no checksum, and where files were spliced at a frame, its first
bytes belong to a frame that is not there, which is no damage.
"""

from __future__ import annotations

from w2v2_jax.data.containers import Buffer

MOST_PAIRS = 288  # of the 576 values of a granule
BLOCK_BITS = {True: 59, False: 63}  # of one channel in one granule, by MPEG 1 or 2


def side_bytes(fourth: int, first_version: bool) -> int:
    """Bytes of side information by the fourth byte of a header."""
    mono = fourth >> 6 == 3
    return (17 if mono else 32) if first_version else (9 if mono else 17)


def is_possible(data: Buffer, place: int, *, length: int, first_version: bool) -> bool:
    """Whether a decoder can follow the layer III frame of so many bytes at `place`."""
    size, mono = side_bytes(data[place + 3], first_version), data[place + 3] >> 6 == 3
    checked = 0 if data[place + 1] & 1 else 2  # bytes of a checksum after the header
    side = int.from_bytes(data[place + 4 + checked : place + 4 + checked + size], "big")
    bits = BLOCK_BITS[first_version]
    earlier = side >> 8 * size - (9 if first_version else 8)  # bytes in the frames before
    coded = 0  # bits
    for _ in range((1 if mono else 2) * (2 if first_version else 1)):
        block, side = side & (1 << bits) - 1, side >> bits
        coded += block >> bits - 12
        kind = block >> bits - 12 - 9 - 8 - (4 if first_version else 9) - 3 & 7
        if block >> bits - 12 - 9 & 511 > MOST_PAIRS or kind == 4:  # another window, and none said
            return False
    return coded <= 8 * (earlier + length - 4 - checked - size)
