"""Reads what libsndfile cannot (AAC, M4A, WMA, AMR, WebM ...), with FFmpeg's libraries and PyAV.

This is an extra: `pip install "w2v2_jax[av]"`. The kind is recognised by the file's first bytes and
given to FFmpeg by name. If FFmpeg guessed the kind, it would also accept playlists, which name
further files and addresses.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import numpy as np

from w2v2_jax.data.containers import MOV, Damaged
from w2v2_jax.data.time_stamps import TimeStamps
from w2v2_jax.errors import lacking

SUFFIXES = (
    ".m4a", ".m4b", ".mp4", ".mov", ".aac", ".amr", ".awb", ".webm", ".weba", ".mka", ".mkv",
    ".wma", ".3gp", ".3gpp", ".3g2", ".caf",
)  # fmt: skip
DECLARING = ("mov", "matroska", "asf")  # kinds whose header has the length, not an estimate
SLACK_SECONDS = 0.1  # and a frame, by which declared lengths exceed what is decoded
NEEDED = (
    "PyAV reads this kind of file",
    'pip install "w2v2_jax[av]", or convert it to FLAC',
)


def kind_of(start: bytes) -> str | None:
    """FFmpeg's name for the kind of a file, by its first bytes; None if FFmpeg does not read it."""
    if start[4:8] in MOV:
        return "mov"
    if start[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if start[:4] == b"0&\xb2u":
        return "asf"
    if start[:5] == b"#!AMR":
        return "amr"
    if start[:4] == b"caff":
        return "caf"
    if start[:4] == b"OggS":  # of Speex, or of FLAC as FFmpeg writes it
        return "ogg"
    if start[:3] == b"ID3" or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0):
        return "aac"
    return None


def is_installed() -> bool:
    """Whether the package `av` can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def blocks(file: str | bytes | io.IOBase, kind: str) -> Iterator:
    """First the rate in Hz and the number of audio tracks, then blocks [n, channels] float32 of the
    first of them.

    Raises Damaged if PyAV is missing, or the file cannot be decoded, has a hole or ends too
    early.
    """
    try:
        import av
    except ImportError as error:
        raise Damaged("needs PyAV", lacking(error, *NEEDED)) from error
    try:
        with contextlib.closing(av.open(file, format=kind, metadata_errors="replace")) as opened:
            if not opened.streams.audio:
                raise Damaged("unreadable", "no audio in this file")
            yield from _decode(av, opened, kind)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, Damaged):
            raise
        why = getattr(error, "strerror", None) or str(error)
        raise Damaged("unreadable", f"as {kind}: {why}") from error


def _decode(av, opened, kind: str) -> Iterator:
    stream, count, rate = opened.streams.audio[0], 0, 0
    if kind == "caf" and stream.codec_context.name == "alac":
        # The last packet is as short as the header says, and FFmpeg would cut it once more.
        stream.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
    plain = av.AudioResampler(format="fltp")
    stamps = TimeStamps()
    for frame in _frames(opened, stream):
        if not rate:
            rate = frame.sample_rate
            yield rate, len(opened.streams.audio)
        if kind in DECLARING and frame.time is not None:
            stamps.add(frame.time, frame.samples / rate)
        for even in plain.resample(frame):
            samples = even.to_ndarray()
            count += samples.shape[1]
            yield np.ascontiguousarray(samples.T)
    if not rate:
        yield stream.rate, len(opened.streams.audio)
        return
    stamps.finish()
    declared = _declared_seconds(opened, stream)
    decoded = max(count / rate, stamps.ends)
    if kind in DECLARING and decoded + stamps.longest + SLACK_SECONDS < declared:
        raise Damaged("truncated", f"{decoded:.1f} of {declared:.1f} s")


def _frames(opened, stream) -> Iterator:
    for packet in opened.demux(stream):
        if packet.is_corrupt:
            raise Damaged("truncated", "the last packet is cut short")
        yield from packet.decode()


def _declared_seconds(opened, stream) -> float:
    """0 if the file does not say. A file with a picture may be longer than its sound."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (opened.duration or 0) / 1e6 if len(opened.streams) == 1 else 0.0
