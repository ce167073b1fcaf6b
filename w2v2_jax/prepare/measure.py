"""Decodes, measures and rejects utterances, in parallel and in their order."""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.audio import MOST_PEAK, AudioError, audio_blocks, beyond_scale
from w2v2_jax.data.excerpt import SEVERAL_TRACKS, UNDECODED, Excerpt
from w2v2_jax.errors import InputError
from w2v2_jax.errors.streams import without_chatter
from w2v2_jax.prepare.clips import content
from w2v2_jax.prepare.declared_length import DIFFERS, fetched, is_as_declared
from w2v2_jax.prepare.quality import Quality, QualityMeter
from w2v2_jax.prepare.speech_cuts import Cut, speech_cuts
from w2v2_jax.prepare.utterance import Clip, Utterance
from w2v2_jax.prepare.workers import chunks, in_order
from w2v2_jax.texts import normal_form

CHUNK = 16  # utterances a worker takes at a time
SILENT_STD = 1e-4  # -80 dBFS, the mean removed
MOST_CLIPPED = 0.01  # of the samples; a codec's overshoot is far less, a square wave far more
COPY_BYTES = 1 << 22
CANCELLED = "channels cancel each other in their mean; use --channel left, right or split"
CUT_UP = "cut where nobody speaks"
TEXT_OF_ALL = "a transcript of all channels, left out of each"


class Measures(NamedTuple):
    """Of the int16 samples: length, mean and std scaled to [-1, 1], checksums, position in a spool
    file. peak: that of the float samples; clipped: how many of these exceed int16. The rest is as
    in `quality.Quality`."""

    num_samples: int
    mean: float
    std: float
    crc32: int
    audio_sha256: int
    spool: Path | str
    offset: int  # bytes
    peak: float
    clipped: int
    clipped_share: float
    snr_db: float
    bandwidth_hz: float

    @property
    def quality(self) -> Quality:
        return Quality(self.clipped_share, self.snr_db, self.bandwidth_hz)


class IntakeResult(NamedTuple):
    """An utterance (without its audio) and either its measures or why it was rejected.

    reason: that of an AudioError, "too short", "silent" or "transcript missing"; None if it is
    usable. remarks: notes to print. further: whether the source has no separate entry for it, such
    as for the second channel of a recording. recording: the source's id, if the utterance is only a
    part of it and has another id.
    """

    utterance: Utterance
    measures: Measures | None
    reason: str | None = None
    detail: str = ""
    remarks: tuple[str, ...] = ()
    further: bool = False
    recording: str = ""


class Limits(NamedTuple):
    """channel: from 0, None for the mean of all, if the source names none; split: whether each
    channel becomes an utterance; vad: whether each stretch of speech of a long recording without a
    transcript becomes one."""

    min_samples: int
    require_text: bool
    channel: int | None = None
    split: bool = False
    vad: bool = False


def channel_of(name: str) -> tuple[int | None, bool]:
    """(channel, split) of Limits for "mix", "left", "right", "split" or a number from 1; InputError
    for anything else."""
    named = {"mix": (None, False), "split": (None, True), "left": (0, False), "right": (1, False)}
    if name.isascii() and name.isdigit() and int(name) > 0:
        return int(name) - 1, False
    if name not in named:
        raise InputError(f"--channel {name!r}: use {', '.join(named)} or a number from 1")
    return named[name]


def take_in(
    utterances: Iterable[Utterance], *, limits: Limits, workers: int, spool: Path
) -> Generator[IntakeResult, None, None]:
    """Outcomes in the order of the utterances, for any number of worker processes.

    Samples are int16 files under `spool`. A file is deleted when all its outcomes were taken, which
    is at the latest CHUNK outcomes later.
    """
    numbered = enumerate(chunks(utterances, CHUNK))
    decode = functools.partial(_decode_numbered, spool=spool, limits=limits)
    for outcomes in in_order(decode, numbered, workers=workers):
        yield from outcomes
        for path in {o.measures.spool for o in outcomes if o.measures}:
            Path(path).unlink()


def _decode_numbered(numbered, *, spool: Path, limits: Limits) -> list[IntakeResult]:
    number, utterances = numbered
    return decode(utterances, spool / f"{number}.i16", limits)


def decode(utterances: Iterable[Utterance], spool: Path, limits: Limits) -> list[IntakeResult]:
    """The work of a worker: decodes to the file `spool`, which exists only if something is usable,
    and checks each utterance."""
    with open(spool, "wb") as file, without_chatter():  # what cannot be read is an exception
        outcomes = [o for u in utterances for o in _decode(u, file, spool, limits)]
    if not any(o.measures for o in outcomes):
        spool.unlink()
    return outcomes


def _decode(utterance: Utterance, file: BinaryIO, spool: Path, limits: Limits):
    """The outcome of an utterance, or of each channel of it."""
    text = " ".join((utterance.text or "").split())
    without_audio = utterance._replace(audio=b"", text=text)
    if limits.require_text and not normal_form(text).strip():
        yield IntakeResult(without_audio, None, "transcript missing", utterance.id)
        return
    clip = utterance.audio if isinstance(utterance.audio, Clip) else Clip("")
    said = clip.channel is not None
    first = 0 if limits.split and not said else limits.channel
    excerpt = _excerpt(clip, first)
    outcomes = _one_channel(utterance, without_audio, excerpt, file, spool, limits)
    if said or not limits.split or excerpt.channels < 2:
        yield from (_remarked(o, excerpt) for o in outcomes)
        return
    for channel in range(excerpt.channels):
        if channel:
            excerpt = _excerpt(clip, channel)
            outcomes = _one_channel(utterance, without_audio, excerpt, file, spool, limits)
        named = (_of_channel(outcome, channel, limits) for outcome in outcomes)
        yield from (_remarked(outcome, excerpt) for outcome in named)


def _remarked(outcome: IntakeResult, excerpt: Excerpt) -> IntakeResult:
    """With what reading told: frames that cannot be decoded, tracks that are
    not read, and the remedy for channels that
    cancel each other, also where nothing is left to hear."""
    remarks = {UNDECODED: excerpt.undecoded, SEVERAL_TRACKS: excerpt.several_tracks}
    if outcome.measures:
        told = [line for line, holds in remarks.items() if holds]
        outcome = outcome._replace(remarks=(*outcome.remarks, *told))
    if not excerpt.cancelled:
        return outcome
    detail = f"{outcome.detail}; {CANCELLED}" if outcome.reason == "silent" else outcome.detail
    return outcome._replace(remarks=(*outcome.remarks, CANCELLED), detail=detail)


def _excerpt(clip: Clip, channel: int | None) -> Excerpt:
    channel = channel if clip.channel is None else clip.channel
    return Excerpt(start=clip.start, seconds=clip.seconds, channel=channel)


def _of_channel(outcome: IntakeResult, channel: int, limits: Limits) -> IntakeResult:
    """The outcome for one of several channels: a separate speaker, and no text, as the text belongs
    to all channels."""
    utterance, number = outcome.utterance, channel + 1
    speaker = f"{utterance.speaker or outcome.recording or utterance.id}#{number}"
    named = utterance._replace(id=f"{utterance.id}#{number}", text="", speaker=speaker)
    remarks = (TEXT_OF_ALL,) if utterance.text else outcome.remarks
    if utterance.text and limits.require_text:
        outcome = IntakeResult(named, None, "transcript missing", f"{named.id}: {TEXT_OF_ALL}")
    further = outcome.further or channel > 0
    return outcome._replace(utterance=named, remarks=remarks, further=further)


def _one_channel(
    utterance: Utterance,
    without_audio: Utterance,
    excerpt: Excerpt,
    file: BinaryIO,
    spool: Path,
    limits: Limits,
) -> list[IntakeResult]:
    """The outcome of a channel, or of each stretch of speech in it. A recording that turns out to
    be damaged is rejected as a whole."""
    outcomes: list[IntakeResult] = []
    offset, name, cut_up = file.tell(), utterance.id, limits.vad and not without_audio.text
    try:
        audio, rate = utterance.audio, utterance.rate
        if isinstance(audio, Clip):
            audio, rate = content(audio, name)
        if utterance.frames is not None:
            audio = fetched(audio)
        other = () if is_as_declared(audio, utterance.frames) else (DIFFERS,)
        blocks = audio_blocks(audio, rate=rate, name=name, excerpt=excerpt)
        for cut in speech_cuts(blocks) if cut_up else [Cut("", blocks)]:
            part = without_audio._replace(id=name + cut.name)
            outcome = _measured(part, cut.blocks, file, spool, limits)
            if cut.name:
                remarks = () if outcomes else (CUT_UP,)
                outcome = outcome._replace(recording=name, remarks=remarks)
            outcome = outcome._replace(remarks=outcome.remarks + other)
            outcomes.append(outcome._replace(further=bool(outcomes)))
    except AudioError as error:
        _cut_back(file, offset)
        return [IntakeResult(without_audio, None, error.reason, str(error))]
    return outcomes or [IntakeResult(without_audio, None, "no speech", name)]


def _measured(
    part: Utterance, blocks: Iterator[np.ndarray], file: BinaryIO, spool: Path, limits: Limits
) -> IntakeResult:
    offset = file.tell()
    measures = _write_and_measure(blocks, file, spool)
    reason, detail = _judge(measures, part.id, limits)
    if reason is None:
        return IntakeResult(part, measures)
    _cut_back(file, offset)
    return IntakeResult(part, None, reason, detail)


def _cut_back(file: BinaryIO, offset: int) -> None:
    file.seek(offset)
    file.truncate()


def _judge(measures: Measures, name: str, limits: Limits) -> tuple[str | None, str]:
    seconds = f"{name}: {measures.num_samples / SAMPLE_RATE:.3f} s"
    if not measures.num_samples:
        return "empty", seconds
    if measures.num_samples < limits.min_samples:
        return "too short", seconds
    if measures.peak > MOST_PEAK or measures.clipped > MOST_CLIPPED * measures.num_samples:
        error = beyond_scale(name, measures.peak)
        return error.reason, str(error)
    if measures.std < SILENT_STD:
        return "silent", f"{seconds} at {20 * np.log10(max(measures.std, 1e-10)):.0f} dBFS"
    return None, ""


def _write_and_measure(blocks: Iterator[np.ndarray], file: BinaryIO, spool: Path) -> Measures:
    """Writes blocks of float samples as int16 and measures what was written, block by block."""
    offset, count, total, crc = file.tell(), 0, 0, 0
    digest, meter, peak, clipped = hashlib.sha256(), QualityMeter(), 0.0, 0
    for block in blocks:
        samples = to_int16(block)
        loud = np.abs(block)
        peak = max(peak, float(loud.max(initial=0.0)))
        clipped += int((loud > 1).sum()) if peak > 1 else 0
        count += len(samples)
        total += int(samples.sum(dtype=np.int64))
        meter.add(samples)
        crc = zlib.crc32(samples, crc)
        digest.update(samples)
        file.write(samples)
    quality = meter.finish()
    mean = total / max(1, count)
    variance = max(0.0, meter.squares / max(1, count) - mean * mean)
    short_hash = int.from_bytes(digest.digest()[:8], "big")
    scaled = mean / 32768, variance**0.5 / 32768
    return Measures(count, *scaled, crc, short_hash, spool, offset, peak, clipped, *quality)


def to_int16(block: np.ndarray) -> np.ndarray:
    """[n] little-endian int16 of samples in [-1, 1], rounded, clipped; 16-bit files stay exact."""
    return np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2")


def spooled_bytes(measures: Measures) -> Iterator[bytes]:
    """The int16 bytes of an outcome, in blocks."""
    left = 2 * measures.num_samples
    with open(measures.spool, "rb") as file:
        file.seek(measures.offset)
        while left:
            block = file.read(min(left, COPY_BYTES))
            left -= len(block)
            yield block
