"""A file, an array or a table with a sound as one recording, read in blocks or whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.audio import audible_blocks, audio_blocks
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_no_file
from w2v2_jax.recognition.batches import WHOLE_SECONDS
from w2v2_jax.recognition.waveforms import as_sound, mono, tells_rate


class Recording(NamedTuple):
    """One input: its name in errors and results, and its 16 kHz blocks [n], which may be read
    several times."""

    name: str
    blocks: Callable[[], Iterator[np.ndarray]]


def as_inputs(inputs) -> list:
    """One path, array or table with a sound, or many."""
    one = isinstance(inputs, (str, Path)) or tells_rate(inputs) or hasattr(inputs, "__array__")
    return [inputs] if one else list(inputs)


def input_name(item, number: int) -> str:
    """The name of an input in errors and results."""
    return str(item) if isinstance(item, (str, Path)) else f"array {number}"


def as_recording(item, number: int, sample_rate: int = SAMPLE_RATE) -> Recording:
    """A path or sound (see `as_sound`); InputError names what is neither, and paths that are not
    files."""
    name = input_name(item, number)
    if isinstance(item, (str, Path)):
        if reason := why_no_file(item):
            raise InputError(f"{name}: {reason}")
        return Recording(name, lambda: audible_blocks(item))
    sound = as_sound(item, name)
    samples, rate = mono(sound.samples, name), sound.rate or sample_rate
    return Recording(name, lambda: audio_blocks(samples, rate=rate, name=name))


def read_whole(recording: Recording) -> np.ndarray | None:
    """[S] samples of a recording, or None if it is longer than WHOLE_SECONDS."""
    pieces, count = [], 0
    for block in recording.blocks():
        pieces.append(block)
        count += len(block)
        if count > WHOLE_SECONDS * SAMPLE_RATE:
            return None
    return np.concatenate([*pieces, np.zeros(0, np.float32)])
