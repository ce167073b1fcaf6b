"""Clips of single sentences joined into one long recording with pauses of their own noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

RATE = 16000
FRAME, HOP = 320, 160  # samples of an energy
PAUSES = 0.2, 1.5  # seconds between what is said
MARGIN = 800  # samples that a clip keeps before and after what is said
WIDTH = 1024  # samples of a spectrum of the noise
LEAST_RMS = 1.0  # of the noise: no pause is digital silence


class Sentence(NamedTuple):
    """start, end: seconds of what is said. text: of the clip, or another one's if it is wrong."""

    start: float
    end: float
    text: str
    wrong: bool = False


def decibels(samples: np.ndarray) -> np.ndarray:
    """[N] levels of frames of 20 ms, one per 10 ms, for samples [S] int16; at least one."""
    padded = np.pad(samples.astype(np.float64), (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return 10 * np.log10(np.mean(frames**2, axis=1) + 0.1)


def speech_edges(samples: np.ndarray) -> tuple[int, int]:
    """The samples at which a clip's speech begins and ends: the first and last 30 ms that are 8 dB
    above its noise and less than 40 dB below its loud frames."""
    levels = decibels(samples)
    quiet, loud = np.percentile(levels, (5, 95))
    limit = min(max(quiet + 8, loud - 40), loud - 15)
    heard = (np.convolve(levels > limit, np.ones(3), "valid") >= 3).nonzero()[0]
    if not len(heard):
        return 0, len(samples)
    return int(heard[0]) * HOP, min(len(samples), (int(heard[-1]) + 2) * HOP + FRAME)


def noise_like(samples: np.ndarray, count: int, rng) -> np.ndarray:
    """[count] noise with the spectrum of a clip's quietest 64 ms."""
    levels = np.convolve(decibels(samples), np.ones(5) / 5, "valid")
    first = int(levels.argmin()) * HOP if len(levels) else 0
    part = samples[first : first + WIDTH].astype(np.float64)
    part = np.pad(part - part.mean(), (0, WIDTH - len(part)))
    window = np.hanning(WIDTH)
    size = np.abs(np.fft.rfft(part * window)) / np.sqrt(np.mean(window**2))
    total = np.zeros(count + 2 * WIDTH)
    for begin in range(0, count + WIDTH, WIDTH // 2):
        turned = size * np.exp(2j * np.pi * rng.random(len(size)))
        total[begin : begin + WIDTH] += np.fft.irfft(turned, WIDTH) * np.sqrt(window)
    noise = total[WIDTH // 2 : WIDTH // 2 + count]
    rms = np.sqrt(np.mean(noise**2)) if count else 1.0
    return noise if rms >= LEAST_RMS else rng.normal(size=count) * LEAST_RMS


def pause(before, after, count: int, rng) -> np.ndarray:
    """[count] noise that goes from a clip's to the next one's."""
    along = np.linspace(0, 1, count)
    return np.sqrt(1 - along) * noise_like(before, count, rng) + np.sqrt(along) * noise_like(
        after, count, rng
    )


def join(clips: Sequence, path: Path, seconds: float, rng, *, write: bool) -> list[Sentence]:
    """Writes clips (with samples and text) in random order, again and again until the recording
    has its length; the sentences with the times of their speech. write: whether to, or only to
    find out the times."""
    order: list[int] = []
    total, sentences, last = 0, [], None
    with soundfile.SoundFile(path if write else "/dev/null", "w", RATE, 1, "PCM_16",
                             format="WAV") as file:  # fmt: skip
        while total < seconds * RATE:
            order = order or rng.permutation(len(clips)).tolist()
            samples, text = clips[order.pop()]
            begin, end = speech_edges(samples)
            first, stop = max(0, begin - MARGIN), min(len(samples), end + MARGIN)
            gap = int(rng.uniform(*PAUSES) * RATE)
            if last is not None:
                gap = max(0, gap - (begin - first) - last[1])
            quiet = pause(samples if last is None else last[0], samples, gap, rng)
            piece = np.concatenate([quiet, samples[first:stop]])
            file.write(np.clip(np.round(piece), -32768, 32767).astype(np.int16))
            at = total + gap + begin - first
            sentences.append(Sentence(at / RATE, (at + end - begin) / RATE, text))
            total, last = total + len(piece), (samples, stop - end)
    return sentences


def with_wrong(sentences: Sequence[Sentence], share: float, rng) -> list[Sentence]:
    """The sentences, a share of them with the text of another one that says something else."""
    count = len(sentences)
    changed = set(rng.choice(count, round(share * count), replace=False).tolist())
    result = list(sentences)
    for n in changed:
        other = sentences[n].text
        while other == sentences[n].text:
            other = sentences[int(rng.integers(count))].text
        result[n] = sentences[n]._replace(text=other, wrong=True)
    return result
