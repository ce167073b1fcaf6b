"""Any audio file to 16 kHz mono, in blocks, so that length never decides memory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote, to_path

BLOCK_FRAMES = 1 << 16
MP3_SLACK_FRAMES = 2304  # an encoder's delay and padding, counted or not in the declared length
RATES = (1000, 768000)  # Hz; a header that says 1 Hz would turn kilobytes into days
MOST_SECONDS = 86400  # of one file: a megabyte of FLAC can hold weeks of silence
LOUDEST = 1e30  # beyond it, sums overflow
STREAMED_BYTES = 0x7FFFF000  # a WAV written to a pipe declares this much or more

# Of files that are looked for in a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".sph", ".w64")

AudioSource = str | Path | bytes | np.ndarray


class AudioError(InputError):
    """Audio that cannot be used. reason: "unreadable", "truncated", "empty", "not finite" or "too
    long"."""

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
    16-bit samples). Resampled by the soxr streaming resampler, quality HQ. Raises AudioError.
    """
    name = _name(source, name)
    if isinstance(source, np.ndarray):
        blocks, rate = _array_blocks(source), int(rate)
    else:
        blocks = _file_blocks(source, name)
        rate = next(blocks)
    return resample(_checked(blocks, name), rate)


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


def _checked(blocks: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    for block in blocks:
        if not (np.abs(block) < LOUDEST).all():
            raise AudioError(name, "not finite", "the file holds NaN or infinite samples")
        yield block


def _array_blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    integer = np.issubdtype(samples.dtype, np.integer)
    for start in range(0, len(samples), BLOCK_FRAMES):
        block = samples[start : start + BLOCK_FRAMES].astype(np.float32)
        block = block / 32768 if integer else block
        yield np.ascontiguousarray(block if block.ndim == 1 else block.mean(axis=1))


def _file_blocks(source: str | Path | bytes, name: str) -> Iterator:
    """First the rate in Hz, then blocks [n] float32 at that rate."""
    import soundfile

    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    elif is_remote(source):
        size, file = _remote_file(source, name)
    else:
        if not os.path.isfile(source):
            raise AudioError(name, "unreadable", "no such file")
        size, file = os.path.getsize(source), os.fspath(source)
    if not size:
        raise AudioError(name, "empty", "0 bytes")
    try:
        with soundfile.SoundFile(file) as sound:
            _check_header(sound, name)
            yield sound.samplerate
            _refuse_short_wav(sound.extra_info, name)
            yield from _read_all(sound, name)
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        text = getattr(error, "error_string", "") or str(error)
        reason = "truncated" if "lost sync" in text else "unreadable"
        raise AudioError(name, reason, text.strip()) from error


def _remote_file(source: str, name: str) -> tuple[int, io.BytesIO]:
    try:
        content = to_path(source).read_bytes()
    except OSError as error:
        raise AudioError(name, "unreadable", "no such file") from error
    return len(content), io.BytesIO(content)


def _read_all(sound, name: str) -> Iterator[np.ndarray]:
    declared, count = sound.frames, 0
    frames = max(1, BLOCK_FRAMES // sound.channels)
    while len(block := sound.read(frames, dtype="float32", always_2d=True)):
        count += len(block)
        if count > MOST_SECONDS * sound.samplerate:
            raise AudioError(name, "too long", f"more than {MOST_SECONDS // 3600} h; split it")
        yield block[:, 0].copy() if block.shape[1] == 1 else block.mean(axis=1)
    slack = MP3_SLACK_FRAMES if sound.format == "MP3" else 0
    if count + slack < declared < 1 << 62:
        raise AudioError(name, "truncated", f"{count} of {declared} frames")


def _check_header(sound, name: str) -> None:
    low, high = RATES
    if not low <= sound.samplerate <= high:
        detail = f"{sound.samplerate} Hz is not in {low} to {high}"
        raise AudioError(name, "unreadable", detail)


def _refuse_short_wav(log: str, name: str) -> None:
    """libsndfile quietly mends the length of a WAV that was cut short, and says so in its log."""
    found = re.search(r"^\s*data\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if found and int(found[2]) < int(found[1]) < STREAMED_BYTES:
        raise AudioError(name, "truncated", f"{found[2]} of {found[1]} bytes of samples")
