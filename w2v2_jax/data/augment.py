"""Augmentation of training rows: speed, rooms, noise, gain and telephone lines, in this order.

The augmentation of a row depends only on (seed, step, number of the row in the global batch), so it
is the same in a resumed run and with another number of hosts. It never changes which rows a step
has, nor their shapes. Speed perturbation: Ko et al. 2015; noise and rooms: Ko et al. 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data import effects
from w2v2_jax.data.clips import FULL_SCALE, Clips, open_clips
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import gain

AUGMENT = 6  # purpose of random draws, distinct from those of `data.epochs` and `data.repeats`
SPEED, ROOM, NOISE, GAIN, TELEPHONE = range(5)
LONGEST_ROOM = 10  # seconds of an impulse response; a longer clip is a recording of something else
LIMITS = {"noise_snr": (-20.0, 80.0), "gain_db": (-60.0, 30.0)}


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """The augmentation of training rows; by default none. Validation rows are never augmented.

    speed: factors from which each row draws one, e.g. (0.9, 1.0, 1.1); 1.1 is shorter and higher.
        A crop then takes more or fewer samples of its file, as far as the file has them; a whole
        utterance becomes longer or shorter, but never longer than its row.
    rooms: impulse responses, as a prepared corpus or a folder of audio files; all equally likely.
    rooms_probability: probability that a row gets one of the rooms.
    noise: noises, as a prepared corpus or a folder of audio files; every second equally likely.
    noise_probability: probability that a row gets noise.
    noise_snr: lowest and highest signal-to-noise ratio in dB, drawn uniformly.
    gain_db: lowest and highest gain in dB, drawn uniformly.
    telephone_probability: probability that a row is filtered to 300 to 3400 Hz and mu-law coded.
    """

    speed: tuple[float, ...] = ()
    rooms: str = ""
    rooms_probability: float = 1.0
    noise: str = ""
    noise_probability: float = 1.0
    noise_snr: tuple[float, float] = (5.0, 20.0)
    gain_db: tuple[float, float] = (0.0, 0.0)
    telephone_probability: float = 0.0

    def __post_init__(self):
        for factor in self.speed:
            if not 0.5 <= factor <= 2:
                raise InputError(f"data.augment.speed={self.speed}: factors are from 0.5 to 2")
        for name in ("rooms_probability", "noise_probability", "telephone_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"data.augment.{name}={getattr(self, name)} must be in 0 to 1")
        for name, (least, most) in LIMITS.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError(
                    f"data.augment.{name}=({low:g}, {high:g}) must be (least, most) within "
                    f"{least:g} to {most:g} dB"
                )

    @property
    def is_on(self) -> bool:
        """Whether any row may be changed."""
        return bool(
            any(factor != 1 for factor in self.speed)
            or (self.rooms and self.rooms_probability)
            or (self.noise and self.noise_probability)
            or any(self.gain_db)
            or self.telephone_probability
        )


class Samples(Protocol):
    """The parts of a corpus that are used here."""

    @property
    def num_samples(self) -> np.ndarray: ...

    @property
    def mean(self) -> np.ndarray: ...

    @property
    def std(self) -> np.ndarray: ...

    def read(self, i: int, start: int, length: int) -> np.ndarray: ...


class Row(NamedTuple):
    """The changes of one row; None means no such change. room, noise: positions in [0, 1)."""

    speed: float = 1.0
    room: float | None = None
    noise: float | None = None
    snr: float = 0.0
    gain: float = 0.0
    telephone: bool = False


class Augmentation(NamedTuple):
    """A configuration with its clips opened. whole: rows are whole utterances, not crops."""

    config: AugmentConfig
    rooms: Clips | None
    noise: Clips | None
    seed: int
    whole: bool

    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of what is mixed in; empty texts for nothing."""
        return {
            name: clips.fingerprint if clips is not None else ""
            for name, clips in (("rooms", self.rooms), ("noise", self.noise))
        }

    def row(self, step: int, number: int) -> Row:
        """The changes of row `number` of the global batch of `step`."""
        draw = lambda purpose: np.random.default_rng(  # noqa: E731
            (self.seed, step, number, purpose, AUGMENT)
        ).random(3)
        config, row = self.config, Row()
        if config.speed:
            factor = config.speed[int(draw(SPEED)[0] * len(config.speed))]
            row = row._replace(speed=float(factor))
        if self.rooms is not None and (u := draw(ROOM))[0] < config.rooms_probability:
            row = row._replace(room=float(u[1]))
        if self.noise is not None and (u := draw(NOISE))[0] < config.noise_probability:
            row = row._replace(noise=float(u[1]), snr=_between(config.noise_snr, u[2]))
        if any(config.gain_db):
            row = row._replace(gain=_between(config.gain_db, draw(GAIN)[0]))
        if config.telephone_probability:
            row = row._replace(telephone=bool(draw(TELEPHONE)[0] < config.telephone_probability))
        return row

    def changes(self, corpus: Samples, step: int, numbers: Sequence[int]) -> RowChanges:
        """The changes of rows `numbers` of the global batch of `step`; `corpus` has the rows."""
        return RowChanges(self, corpus, [self.row(step, number) for number in numbers])

    def apply(self, row: Row, waveform: np.ndarray) -> np.ndarray:
        """[n] float32 samples in [-1, 1] -> the same after all changes except speed."""
        if row.room is not None and self.rooms is not None:
            waveform = effects.in_room(waveform, self.rooms.whole(row.room))
        if row.noise is not None and self.noise is not None:
            noise = self.noise.stretch(row.noise, len(waveform))
            waveform = effects.with_noise(waveform, noise, row.snr)
        if row.gain:
            waveform = effects.amplified(waveform, row.gain)
        return effects.over_telephone(waveform) if row.telephone else waveform


class RowChanges(NamedTuple):
    """The rows of one batch of one host, on their way from the corpus."""

    augmentation: Augmentation
    corpus: Samples
    rows: list[Row]

    def read(self, row: int, segments, out: np.ndarray, epsilon: float | None) -> int | None:
        """Reads a row's segments into `out` [S], changed, and normalised if there is an epsilon;
        returns the number of samples. Does nothing and returns None if the row is not changed.

        A row is normalised with the file's mean and variance, changed as the row is; a whole
        utterance with the mean and variance that it has after the changes.
        """
        change = self.rows[row]
        if change == Row():
            return None
        before, ends = [], [0]
        for segment in segments:
            size, free = int(self.corpus.num_samples[segment.utterance]), len(out) - ends[-1]
            start, samples, length = self._span(change, segment, size, free)
            before.append(self.corpus.read(segment.utterance, start, samples) * FULL_SCALE)
            ends.append(ends[-1] + length)
            out[ends[-2] : ends[-1]] = effects.resampled(before[-1], length)
        changed = out[: ends[-1]]
        changed[:] = self.augmentation.apply(change, changed.copy())
        if epsilon is not None:
            old = np.concatenate(before)
            shift = float(changed.mean(dtype=np.float64) - old.mean(dtype=np.float64))
            variance = float(old.var(dtype=np.float64))
            ratio = float(changed.var(dtype=np.float64)) / variance if variance else 1.0
            for segment, first, end in zip(segments, ends[:-1], ends[1:], strict=True):
                mean = float(self.corpus.mean[segment.utterance]) + shift
                spread = ratio * float(self.corpus.std[segment.utterance]) ** 2
                changed[first:end] = (changed[first:end] - mean) * gain(spread, epsilon)
        return ends[-1]

    def _span(self, change: Row, segment, size: int, free: int) -> tuple[int, int, int]:
        """(first sample, samples, length in the row) of a segment at the row's speed; size: samples
        of its file; free: samples of the row. A whole utterance has another length, any other
        segment takes more or fewer samples."""
        if self.augmentation.whole:
            return 0, size, min(round(size / change.speed), free)
        samples = min(max(1, round(segment.length * change.speed)), size)
        return min(segment.start, size - samples), samples, segment.length


def _between(bounds: tuple[float, float], unit: float) -> float:
    low, high = bounds
    return float(low + (high - low) * unit)


def open_augmentation(config: AugmentConfig, *, seed: int, whole: bool) -> Augmentation | None:
    """None if nothing is asked for. Raises InputError if rooms or noise cannot be used."""
    if not config.is_on:
        return None
    rooms = noise = None
    if config.rooms and config.rooms_probability:
        rooms = open_clips(config.rooms, "data.augment.rooms")
        if (longest := int(rooms.lengths.max())) > LONGEST_ROOM * SAMPLE_RATE:
            raise InputError(
                f"config.data.augment.rooms={config.rooms}: one of its clips is "
                f"{longest / SAMPLE_RATE:.1f} s long, and impulse responses are at most "
                f"{LONGEST_ROOM} s"
            )
    if config.noise and config.noise_probability:
        noise = open_clips(config.noise, "data.augment.noise")
    return Augmentation(config, rooms, noise, seed, whole)
