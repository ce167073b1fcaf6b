"""A file, an array or a table with a sound as one recording, read in blocks or whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
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
    """One path, array or table with a sound, or many: also an array or a column of a table whose
    elements are paths or arrays. InputError for what is neither, such as an open file."""
    if isinstance(inputs, (bytes, bytearray)) or hasattr(inputs, "read"):
        raise InputError(
            f"{type(inputs).__name__} is neither a path nor an array; of a file in memory give "
            'soundfile.read(file) -> samples, rate as {"array": samples, "sampling_rate": rate}'
        )
    one = isinstance(inputs, (str, os.PathLike)) or tells_rate(inputs)
    kind = getattr(getattr(inputs, "dtype", None), "kind", "f")
    if one or (hasattr(inputs, "__array__") and not (kind in "OU" and np.ndim(inputs))):
        return [inputs]
    if not isinstance(inputs, Iterable):
        raise InputError(f"{type(inputs).__name__} is neither a path nor an array, nor a list")
    return list(inputs)


def input_name(item, number: int) -> str:
    """The name of an input in errors and results."""
    return os.fspath(item) if isinstance(item, (str, os.PathLike)) else f"array {number}"


def as_recording(item, number: int, sample_rate: int = SAMPLE_RATE) -> Recording:
    """A path or sound (see `as_sound`); InputError names what is neither, and paths that are not
    files."""
    name = input_name(item, number)
    if isinstance(item, (str, os.PathLike)):
        if reason := why_no_file(name):
            raise InputError(f"{name}: {reason}")
        return Recording(name, lambda: audible_blocks(name))
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
