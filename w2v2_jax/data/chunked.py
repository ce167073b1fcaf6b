"""Files with samples in a chunk of declared length: WAV and the like, AIFF, CAF, AU, NIST, WMA."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from w2v2_jax.data.containers import (
    STREAMED_BYTES,
    Buffer,
    Stream,
    Walked,
    check_size,
    kind_at,
    next_signature,
)

ASF_PACKETS = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
CHUNK_NAME = rb"[A-Za-z0-9 _(+)\xa9-]{4}"
ASF_PACKETS_HEAD = 50  # bytes


def walk_riff(data: Buffer, start: int, *, encodings: dict[int, Callable]) -> Walked | None:
    """encodings: readers for format tags whose samples consist of frames. BW64 (ITU-R BS.2088) is
    RF64 under another name, which libsndfile does not know."""
    walked = _walk_riff(data, start, encodings=encodings)
    if walked is None or data[start : start + 4] != b"BW64":
        return walked
    return walked._replace(streams=[_under_known_name(s, start) for s in walked.streams])


def _under_known_name(stream: Stream, start: int) -> Stream:
    """A stream of a BW64 file that begins at `start`; frames of another kind in it stay."""
    if stream.head[:4] == b"BW64":  # its length may be unknown
        return stream._replace(head=b"RIFF" + stream.head[4:])
    if not stream.head and stream.start == start:
        return stream._replace(head=b"RF64", start=start + 4)
    return stream


def _walk_riff(data: Buffer, start: int, *, encodings: dict[int, Callable]) -> Walked | None:
    order = ">" if data[start : start + 4] == b"RIFX" else "<"
    place, long_size, inner = start + 12, None, None
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from(order + "I", data, place + 4)[0]
        body = place + 8
        if name == b"ds64" and body + 16 <= len(data):
            # A writer that could not go back to the header leaves 0 or 2^64 - 1 there.
            said = struct.unpack_from("<Q", data, body + 8)[0]
            long_size = said if 0 < said < 1 << 63 else None
        if name == b"fmt " and body + 2 <= len(data):
            inner = encodings.get(struct.unpack_from(order + "H", data, body)[0])
        if name == b"data":
            exact = long_size is not None and size == 0xFFFFFFFF
            if long_size is not None and exact:
                size = long_size
            walked = _riff_samples(data, start, body, size, exact=exact)
            frames = inner(data, body, min(body + size, len(data))) if inner and size else None
            return walked if frames is None else Walked(frames.streams, walked.stop)
        place = body + size + size % 2
    return None


def _riff_samples(data: Buffer, start: int, body: int, size: int, *, exact: bool) -> Walked:
    """exact: the size comes from a chunk for long files."""
    room = len(data) - body
    unsaid = room and not size and chunks_end(data, body) == body
    if unsaid or (room < size and size >= STREAMED_BYTES and not exact):
        stop = next_signature(data, body)
        kind = data[start : start + 4].replace(b"RF64", b"RIFF")  # whose length may be unknown
        return Walked([Stream(kind + data[start + 4 : body - 4] + b"\xff" * 4, body, stop)], stop)
    check_size(size, room)
    stop = chunks_end(data, body + size + size % 2)
    return Walked([Stream(b"", start, stop)], stop)


def chunks_end(data: Buffer, place: int) -> int:
    """The end of the well-formed chunks (notes, cues, tags) that begin at a byte."""
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        if not re.fullmatch(rb"[A-Za-z0-9 _]{4}", name) or kind_at(data, place):
            break
        if place + 8 + size > len(data):
            break
        place += 8 + size + size % 2
    return min(place, len(data))


def walk_aiff(data: Buffer, start: int) -> Walked | None:
    """AIFF and AIFF-C: big-endian sizes; chunks begin at even bytes."""
    return _walk_chunks(data, start, place=start + 12, layout=">4sI", name=b"SSND", align=2)


def walk_caf(data: Buffer, start: int) -> Walked | None:
    """Core Audio: sizes of 64 bits, -1 for samples up to the end."""
    return _walk_chunks(data, start, place=start + 8, layout=">4sq", name=b"data", align=1)


def walk_w64(data: Buffer, start: int) -> Walked | None:
    """Sony Wave64: a name of 16 bytes; the size counts the header."""
    return _walk_chunks(
        data, start, place=start + 40, layout="<4s12xQ", name=b"data", align=8, counted=24
    )


def _walk_chunks(
    data: Buffer, start: int, *, place: int, layout: str, name: bytes, align: int, counted: int = 0
) -> Walked | None:
    """Chunks that begin with a name and a size; the size includes `counted` bytes of the header."""
    header, held = struct.calcsize(layout), False
    while place + header <= len(data) and not (held and kind_at(data, place)):
        chunk, size = struct.unpack_from(layout, data, place)
        if not re.fullmatch(CHUNK_NAME, chunk):
            break
        body, size = place + header, size - counted
        room = len(data) - body
        if chunk == name:
            held = True
            if _is_unsaid(size, data, body):
                number = layout[0] + layout[-1]
                most = (1 << 8 * struct.calcsize(number) - 1) - 1
                stop = next_signature(data, body)
                said = struct.pack(number, min(stop - body + counted, most))
                head = data[start : body - len(said)] + said
                return Walked([Stream(head, body, stop)], stop)
            check_size(size, room)
        elif not 0 <= size <= room:
            break
        place = min(len(data), body + size + -size % align)
    return Walked([Stream(b"", start, place)], place) if held else None


def _is_unsaid(size: int, data: Buffer, body: int) -> bool:
    """Whether a writer could not go back to the header of the samples, which begin at `body`."""
    room = len(data) - body
    if size == 0 and room:
        return not re.fullmatch(CHUNK_NAME, data[body : body + 4])
    huge = size >= 1 << 62 or size in range(STREAMED_BYTES, 1 << 32)
    return size < 0 or (room < size and huge)


def walk_asf(data: Buffer, start: int) -> Walked | None:
    """A header, the packets, and indexes; each begins with an identity and its size in bytes."""
    place, held = start, False
    while place + 24 <= len(data) and (place == start or not kind_at(data, place)):
        identity, size = struct.unpack_from("<16sQ", data, place)
        if identity == ASF_PACKETS:
            if size < ASF_PACKETS_HEAD:  # unknown in a broadcast
                return Walked([Stream(b"", start, len(data))], len(data))
            held = True
            check_size(size, len(data) - place)
        elif not 24 <= size <= len(data) - place:
            break
        place += size
    return Walked([Stream(b"", start, place)], place) if held else None


def walk_au(data: Buffer, start: int) -> Walked | None:
    """Sun's .au, and in the other byte order `dns.`; one stream, whose size may not be said."""
    if start + 12 > len(data):
        return None
    order = "<" if data[start : start + 4] == b"dns." else ">"
    offset, size = struct.unpack_from(order + "II", data, start + 4)
    room = len(data) - start - offset
    if room > 0 and (not size or (size >= STREAMED_BYTES and room < size)):
        body = start + offset
        head = data[start : start + 8] + b"\xff" * 4 + data[start + 12 : body]
        stop = next_signature(data, body)
        return Walked([Stream(head, body, stop)], stop)
    check_size(size, max(0, room))
    return Walked([Stream(b"", start, start + offset + size)], start + offset + size)


def walk_nist(data: Buffer, start: int) -> Walked | None:
    """NIST Sphere; None where the header lacks a size or shorten has packed the samples."""
    header = data[start : start + 1024]
    lengths = re.match(rb"NIST_1A\n\s*(\d{1,6})\n", header)
    said = dict(re.findall(rb"(sample_count|sample_n_bytes|channel_count) -i (\d{1,12})", header))
    if not lengths or len(said) < 3 or b"shorten" in header:
        return None
    size, place = 1, start + int(lengths[1])
    for number in said.values():
        size *= int(number)
    check_size(size, max(0, len(data) - place))
    return Walked([Stream(b"", start, place + size)], place + size)
