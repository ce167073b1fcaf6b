"""Any audio file to 16 kHz mono, in blocks, so that length never decides memory."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.containers import Buffer, Damaged, Window
from w2v2_jax.data.pyav import SUFFIXES as PYAV_SUFFIXES
from w2v2_jax.data.pyav import blocks as pyav_blocks
from w2v2_jax.data.pyav import kind_of
from w2v2_jax.data.streams import find_streams, is_whole
from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote, to_path

BLOCK_FRAMES = 1 << 16
MP3_SLACK_FRAMES = 2304  # an encoder's delay and padding, counted or not in the declared length
RATES = (1000, 768000)  # Hz; a header that says 1 Hz would turn kilobytes into days
MOST_SECONDS = 86400  # of one file: a megabyte of FLAC can hold weeks of silence
LOUDEST = 1e30  # beyond it, sums overflow
MOST_PEAK = 2.0  # +6 dB: a codec overshoots full scale by less, samples in units of int16 by more

# Of files that are looked for in a folder.
AUDIO_SUFFIXES = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc",
    ".au", ".snd", ".sph", ".nist", ".w64", ".rf64", *PYAV_SUFFIXES,
)  # fmt: skip

AudioSource: TypeAlias = str | Path | bytes | np.ndarray


class AudioError(InputError):
    """Audio that cannot be used. reason: "unreadable", "truncated", "empty", "not finite", "too
    long", "beyond full scale", "holds more than its header says" or "needs PyAV"."""

    def __init__(self, name: str, reason: str, detail: str = ""):
        super().__init__(f"{name}: {reason}" + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail


def load_audio(source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
    """[S] float32 at 16 kHz, mono (mean of the channels), of a wav, flac, ogg, mp3 ... file.

    source: a path, or the bytes of a file. name: what errors call it, by default the path.
    Raises AudioError (an InputError) that names the file and the reason.
    """
    name = _name(source, name)
    waveform = np.concatenate([*audio_blocks(source, name=name), np.zeros(0, np.float32)])
    if not len(waveform):
        raise AudioError(name, "empty", "no samples")
    return waveform


def audio_blocks(
    source: AudioSource, *, rate: int | None = None, name: str | None = None
) -> Iterator[np.ndarray]:
    """Blocks [n] float32 at 16 kHz, mono: memory is bounded by a block, not by the file.

    source: as in `load_audio`, or an array [S] or [S, channels] with its `rate` in Hz (integers are
    16-bit samples). A file of several streams (`cat a.mp3 b.mp3`) gives them one after the other.
    Resampled by the soxr streaming resampler, quality HQ. Raises AudioError.
    """
    name = _name(source, name)
    if isinstance(source, np.ndarray):
        if rate is None:
            raise ValueError(f"{name}: samples without a rate")
        yield from resample(_finite(_array_blocks(source), name), int(rate))
        return
    count = 0
    with _errors_of(name):
        for blocks in _streams(source, name):
            for block in resample(_within_scale(_finite(blocks, name), name), next(blocks)):
                count += len(block)
                if count > MOST_SECONDS * SAMPLE_RATE:
                    detail = f"more than {MOST_SECONDS // 3600} h; split it"
                    raise AudioError(name, "too long", detail)
                yield block


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Whatever a file's bytes or type raise, as an AudioError."""
    import soundfile

    try:
        yield
    except Damaged as error:
        raise AudioError(name, error.reason, error.detail) from error
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        text = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
        reason = "truncated" if "lost sync" in text else "unreadable"
        raise AudioError(name, reason, text.strip()) from error


def resample(blocks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Blocks of mono float32 at `rate` Hz to blocks at 16 kHz, as one continuous signal."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _name(source: AudioSource, name: str | None) -> str:
    return name or (str(source) if isinstance(source, (str, Path)) else "audio")


def _finite(blocks: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    for block in blocks:
        if not _peak(block) < LOUDEST:
            raise AudioError(name, "not finite", "the file holds NaN or infinite samples")
        yield block


def _within_scale(blocks: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    for block in blocks:
        if (peak := _peak(block)) > MOST_PEAK:
            raise beyond_scale(name, max([peak, *map(_peak, blocks)]))
        yield block


def _peak(block: np.ndarray) -> float:
    return float(np.abs(block).max(initial=0.0))


def beyond_scale(name: str, peak: float) -> AudioError:
    """Samples of another unit, which clipping would make a square wave."""
    shown = f"{peak:,.0f}" if peak >= 100 else f"{peak:.4g}"
    detail = f"peak {shown}; floats belong in -1 to 1: divide them, or write 16-bit integers"
    return AudioError(name, "beyond full scale", detail)


def _array_blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    integer = np.issubdtype(samples.dtype, np.integer)
    for start in range(0, len(samples), BLOCK_FRAMES):
        block = samples[start : start + BLOCK_FRAMES].astype(np.float32)
        block = block / 32768 if integer else block
        yield np.ascontiguousarray(block if block.ndim == 1 else block.mean(axis=1))


def _streams(source: str | Path | bytes, name: str) -> Iterator[Iterator]:
    """For each stream of a file first the rate in Hz, then blocks [n] float32 at that rate."""
    data = _content(source, name)
    local = isinstance(source, (str, Path)) and not is_remote(source)
    for stream in find_streams(data):
        # A name as bytes: libsndfile's wrapper refuses those that are not UTF-8.
        file = os.fsencode(source) if local and is_whole(stream, data) else Window(data, stream)
        yield _decoded(file, name, kind_of(data[stream.start : stream.start + 16]))


def _content(source: str | Path | bytes, name: str) -> Buffer:
    """The bytes of a file, mapped where it is a local one."""
    data: bytes | mmap.mmap
    if isinstance(source, bytes):
        data = source
    elif is_remote(source):
        try:
            data = to_path(source).read_bytes()
        except OSError as error:
            raise AudioError(name, "unreadable", "no such file") from error
    elif not os.path.isfile(source):
        raise AudioError(name, "unreadable", _why_no_file(source))
    else:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    if not len(data):
        raise AudioError(name, "empty", "0 bytes")
    return data


def _why_no_file(path: str | Path) -> str:
    if os.path.exists(path):
        return "not a plain file"
    return "a link to nothing" if os.path.islink(path) else "no such file"


def _decoded(file: bytes | Window, name: str, other: str | None) -> Iterator:
    """other: what FFmpeg calls this kind of file, where libsndfile may not read it."""
    import soundfile

    try:
        opened = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:
        if other is None:
            raise
        with open(file, "rb") if isinstance(file, bytes) else file as stream:
            stream.seek(0)
            yield from pyav_blocks(stream, other)
        return
    with opened as sound:
        _check_header(sound, name)
        yield sound.samplerate
        yield from _read_all(sound, name)


def _read_all(sound, name: str) -> Iterator[np.ndarray]:
    declared, count = sound.frames, 0
    frames = max(1, BLOCK_FRAMES // sound.channels)
    while len(block := sound.read(frames, dtype="float32", always_2d=True)):
        count += len(block)
        yield block[:, 0].copy() if block.shape[1] == 1 else block.mean(axis=1)
    slack = MP3_SLACK_FRAMES if sound.format == "MP3" else 0
    if count + slack < declared < 1 << 62:
        raise AudioError(name, "truncated", f"{count} of {declared} frames")


def _check_header(sound, name: str) -> None:
    low, high = RATES
    if not low <= sound.samplerate <= high:
        detail = f"{sound.samplerate} Hz is not in {low} to {high}"
        raise AudioError(name, "unreadable", detail)
