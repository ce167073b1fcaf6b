"""Any audio file to 16 kHz mono, in blocks, so that memory does not depend on the length."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.containers import Buffer, Damaged, Stream, Window
from w2v2_jax.data.excerpt import Excerpt
from w2v2_jax.data.pyav import SUFFIXES as PYAV_SUFFIXES
from w2v2_jax.data.pyav import blocks as pyav_blocks
from w2v2_jax.data.pyav import kind_of
from w2v2_jax.data.streams import find_streams, is_whole
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_not_plain
from w2v2_jax.errors.streams import without_chatter
from w2v2_jax.paths import POINTER, is_pointer, is_remote, to_path

BLOCK_FRAMES = 1 << 16
MP3_SLACK_FRAMES = 2304  # an encoder's delay and padding, which the declared length may include
RATES = (1000, 768000)  # Hz; a header that says 1 Hz would turn kilobytes into days
MOST_SECONDS = 86400  # of one file: a megabyte of FLAC can hold weeks of silence
LOUDEST = 1e30  # beyond it, sums overflow
MOST_PEAK = 2.0  # +6 dB: codecs overshoot full scale by less, samples in units of int16 by more

# Endings of audio files in a folder.
AUDIO_SUFFIXES = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc",
    ".au", ".snd", ".sph", ".nist", ".w64", ".rf64", *PYAV_SUFFIXES,
)  # fmt: skip

# What libsndfile says of bytes that it knows no kind of; a file that is not there is told before.
UNRECOGNISED = ("Format not recognised", "File does not exist or is not a regular file")
KINDLESS = (
    "its kind is not recognised: ffmpeg -i IN OUT.flac converts it (raw samples say their kind "
    "nowhere: -f g722 -i IN, -f s16le -ar 16000 -i IN)"
)
_STREAMS: dict[tuple, list[Stream]] = {}  # of the file read last

AudioSource: TypeAlias = str | Path | bytes | np.ndarray


class AudioError(InputError):
    """Audio that cannot be used. reason: "unreadable", "truncated", "damaged inside", "empty",
    "not finite", "too long", "beyond full scale", "holds more than its header says", "no such
    channel", "outside the recording" or "needs PyAV"."""

    def __init__(self, name: str, reason: str, detail: str = ""):
        super().__init__(f"{name}: {reason}" + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail


def load_audio(source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
    """[S] float32 at 16 kHz, mono (mean of the channels), of a wav, flac, ogg, mp3 ... file.

    source: a path, or the bytes of a file. name: what errors call it, by default the path.
    Raises AudioError (an InputError) that names the file and the reason.
    """
    name = _name(source, name)
    waveform = np.concatenate([*audible_blocks(source, name=name), np.zeros(0, np.float32)])
    if not len(waveform):
        raise AudioError(name, "empty", "no samples")
    return waveform


def audio_blocks(
    source: AudioSource,
    *,
    rate: int | None = None,
    name: str | None = None,
    excerpt: Excerpt | None = None,
) -> Iterator[np.ndarray]:
    """Blocks [n] float32 at 16 kHz, mono: memory is bounded by a block, not by the file.

    source: as in `load_audio`, or an array [S] or [S, channels] with its `rate` in Hz (integers are
    16-bit samples). The streams of a file (`cat a.mp3 b.mp3`) follow each other.
    excerpt: the part to read in time, at the recording's own rate, and the channel (by default
    all). The soxr streaming resampler is used, with quality HQ. Raises AudioError.
    """
    name, excerpt, count = _name(source, name), excerpt or Excerpt(), 0
    samples = isinstance(source, np.ndarray)
    with _errors_of(name):
        opened = (
            [_samples(source, int(rate or 0), excerpt)] if samples else _streams(source, excerpt)
        )
        for stream in opened:
            blocks = _finite(excerpt.cut(stream.blocks, stream.rate, stream.skipped), name)
            blocks = blocks if samples else _within_scale(blocks, name)
            for block in resample(blocks, stream.rate):
                count += len(block)
                if count > MOST_SECONDS * SAMPLE_RATE:
                    detail = f"more than {MOST_SECONDS // 3600} h; split it"
                    raise AudioError(name, "too long", detail)
                yield block
            if excerpt.ended:
                return
        excerpt.check_end()


def audible_blocks(source: str | Path | bytes, *, name: str | None = None) -> Iterator[np.ndarray]:
    """`audio_blocks` of a whole file, with a warning on stderr at its end if its channels cancel
    each other in their mean."""
    excerpt = Excerpt()
    yield from audio_blocks(source, name=name, excerpt=excerpt)
    excerpt.warn(_name(source, name))


def recording_length(path: str | Path) -> tuple[float, int]:
    """Seconds and channels of a recording on a disk: by the headers of its streams, which
    `find_streams` has compared with their bytes, else by decoding. Raises AudioError."""
    import soundfile

    from w2v2_jax.data.sequential_file import SequentialFile

    seconds, channels = 0.0, 0
    with _errors_of(_name(path, None)):
        data = _content(path)
        try:
            for stream in _cached_streams(data, path):
                with without_chatter(), SequentialFile(Window(data, stream)) as sound:
                    seconds += sound.frames / max(1, sound.samplerate)
                    channels = max(channels, sound.channels)
            if seconds < MOST_SECONDS:
                return seconds, channels
        except soundfile.LibsndfileError:
            pass  # PyAV may read it, else decoding says why not
    excerpt = Excerpt()
    return sum(map(len, audio_blocks(path, excerpt=excerpt))) / SAMPLE_RATE, excerpt.channels


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turns whatever a file's bytes or type raise into an AudioError."""
    import soundfile

    try:
        yield
    except Damaged as error:
        raise AudioError(name, error.reason, error.detail) from error
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        text = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
        reason = "truncated" if "lost sync" in text else "unreadable"
        text = KINDLESS if any(words in text for words in UNRECOGNISED) else text
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
    """The error for samples in another unit, which clipping would turn into a square wave."""
    shown = f"{peak:,.0f}" if peak >= 100 else f"{peak:.4g}"
    detail = f"peak {shown}; floats belong in -1 to 1: divide them, or write 16-bit integers"
    return AudioError(name, "beyond full scale", detail)


class _Opened(NamedTuple):
    """A stream of a recording: blocks [n] float32 at `rate` Hz, after its first `skipped`."""

    rate: int
    blocks: Iterator[np.ndarray]
    skipped: int = 0


def _samples(samples: np.ndarray, rate: int, excerpt: Excerpt) -> _Opened:
    integer = np.issubdtype(samples.dtype, np.integer)

    def blocks():
        for start in range(0, len(samples), BLOCK_FRAMES):
            block = samples[start : start + BLOCK_FRAMES].astype(np.float32)
            block = block / 32768 if integer else block
            yield excerpt.mono(block if block.ndim == 2 else block[:, None])

    return _Opened(rate, blocks())


def _streams(source: str | Path | bytes, excerpt: Excerpt) -> Iterator[_Opened]:
    """The streams of a file one after the other."""
    data = _content(source)
    local = isinstance(source, (str, Path)) and not is_remote(source)
    where: Any = source
    for stream in _cached_streams(data, where) if local else find_streams(data):
        # The name as bytes, because libsndfile's wrapper refuses names that are not UTF-8.
        file = os.fsencode(source) if local and is_whole(stream, data) else Window(data, stream)
        blocks = _decoded(file, kind_of(data[stream.start : stream.start + 16]), excerpt)
        rate, skipped = next(blocks)
        yield _Opened(rate, blocks, skipped)


def _cached_streams(data: Buffer, path: str | Path) -> list[Stream]:
    """`find_streams`, kept for a file that is read in several parts; finding them takes time."""
    status = os.stat(path)
    key = (os.fsencode(path), status.st_mtime_ns, status.st_ino, len(data))
    streams = _STREAMS.get(key)
    if streams is None:
        streams = find_streams(data)
        _STREAMS.clear()
        _STREAMS[key] = streams
    return streams


def _content(source: str | Path | bytes) -> Buffer:
    """The bytes of a file, memory-mapped if it is local."""
    data: bytes | mmap.mmap
    if isinstance(source, bytes):
        data = source
    elif is_remote(source):
        try:
            data = to_path(source).read_bytes()
        except OSError as error:
            raise Damaged("unreadable", "no such file") from error
    elif reason := why_not_plain(source):
        raise Damaged("unreadable", reason)
    else:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    if not len(data):
        raise Damaged("empty", "0 bytes")
    if is_pointer(data[:64]):
        raise Damaged("unreadable", POINTER)
    return data


def _decoded(file: bytes | Window, other: str | None, excerpt: Excerpt) -> Iterator:
    """Yields the rate in Hz and the number of skipped frames, then blocks. other: FFmpeg's name of
    this kind of file, if libsndfile may not read it."""
    import soundfile

    from w2v2_jax.data.sequential_file import SequentialFile

    try:
        with without_chatter():  # what it cannot open is an exception
            opened = SequentialFile(file)
    except soundfile.LibsndfileError:
        if other is None:
            raise
        with open(file, "rb") if isinstance(file, bytes) else file as stream:
            stream.seek(0)
            blocks = pyav_blocks(stream, other)
            rate, tracks = next(blocks)
            excerpt.several_tracks |= tracks > 1
            yield rate, 0
            yield from map(excerpt.mono, blocks)
        return
    with opened as sound:
        _check_header(sound)
        skipped = _skip(sound, excerpt)
        yield sound.samplerate, skipped
        yield from _read_all(sound, excerpt, skipped)


def _skip(sound, excerpt: Excerpt) -> int:
    """Seeks to the start of an excerpt if that is exact."""
    frames = min(excerpt.frames_before(sound.samplerate), sound.frames)
    return sound.skip(frames) if frames else 0


def _read_all(sound, excerpt: Excerpt, count: int) -> Iterator[np.ndarray]:
    """count: frames that are skipped."""
    declared = sound.frames
    frames = max(1, BLOCK_FRAMES // sound.channels)
    while len(block := sound.read(min(frames, declared - count), "float32", always_2d=True)):
        count += len(block)
        excerpt.undecoded |= bool(sound.undecoded)
        yield excerpt.mono(block)
    slack = MP3_SLACK_FRAMES if sound.format == "MP3" else 0
    if count + slack < declared < 1 << 62:
        raise Damaged("truncated", f"{count} of {declared} frames")


def _check_header(sound) -> None:
    low, high = RATES
    if not low <= sound.samplerate <= high:
        raise Damaged("unreadable", f"{sound.samplerate} Hz is not in {low} to {high}")
