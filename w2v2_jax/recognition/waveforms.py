"""Arrays of audio -> float32 samples in -1 to 1, scaled according to their type.

A scale that is guessed wrong changes the transcript silently, so an array without a known scale is
an InputError.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Number
from typing import Any, NamedTuple

import jax
import numpy as np

from w2v2_jax.data.audio import MOST_PEAK, RATES, audio_blocks
from w2v2_jax.data.excerpt import Excerpt
from w2v2_jax.errors import InputError

# Full scale of integer samples, and the value of silence.
INTEGERS = {
    "int8": (128, 0),
    "uint8": (128, 128),
    "int16": (32768, 0),
    "uint16": (32768, 32768),
    "int32": (2**31, 0),
}
# The bound for arrays that go to the network unchanged: waveforms of unit variance, which every
# released pipeline produces, exceed full scale.
MOST_STANDARDISED = 100.0


class Sound(NamedTuple):
    """Samples [S] or [S, channels] as they were given, and their rate in Hz if it was given."""

    samples: np.ndarray
    rate: int | None


def as_sound(item: Any, name: str) -> Sound:
    """An array, or audio as Hugging Face datasets hold it: {"array": ..., "sampling_rate": ...}."""
    if tells_rate(item):
        try:
            samples, rate = np.asarray(item["array"]), float(item["sampling_rate"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            keys = f" {sorted(map(str, item))}" if isinstance(item, Mapping) else ""
            raise InputError(
                f"{name}: a dict{keys} is not audio; it needs 'array' and 'sampling_rate'"
            ) from error
        return Sound(samples, whole_rate(rate, f"{name}: sampling_rate"))
    return Sound(as_array(item, name), None)


def as_array(item: Any, name: str) -> np.ndarray:
    """InputError for what is no array of samples: paths, single numbers, lists of different
    lengths, objects, arrays that are only traced, a tensor of another framework that NumPy cannot
    take as it is."""
    if isinstance(item, jax.core.Tracer):
        raise InputError(
            f"{name}: a loaded model takes samples, and inside jit, grad or vmap there are none "
            "yet; there use its flax module, model.description.network() (docs/notebook.md)"
        )
    if isinstance(item, str | os.PathLike):
        raise InputError(
            f"{name}: {os.fspath(item)!r} is a path, and only transcribe, align and classify read "
            'files; give samples, rate = soundfile.read(path) as {"array": samples, '
            '"sampling_rate": rate}'
        )
    if np.ma.is_masked(item):  # NumPy would take what the mask hides
        raise InputError(f"{name}: some samples are masked; cut them or fill them, as x.filled(0)")
    try:
        array = np.asarray(item)
    except ValueError as error:
        raise InputError(
            f"{name}: lists of different lengths are no array; give a list of arrays [S], without "
            "num_samples"
        ) from error
    except (RuntimeError, TypeError) as error:  # one with a gradient, in bfloat16, on a GPU
        raise InputError(
            f"{name}: {type(item).__name__} is no array for NumPy ({error}); give floats, as "
            "x.detach().float().cpu().numpy()"
        ) from error
    if not array.ndim or array.dtype.kind in "OV":  # V: bfloat16
        what = f"an array of {array.dtype}" if array.ndim else f"{type(item).__name__}"
        raise InputError(
            f"{name}: {what} is no array of samples; give [S] of floats (x.astype('float32')) or "
            "integers, several as a list, and samples with their rate, as soundfile.read gives "
            'them, as {"array": samples, "sampling_rate": rate}'
        )
    return array


def whole_rate(rate: float, name: str) -> int:
    """A sample rate in Hz; InputError, which begins with `name`, for one that no sound has."""
    low, high = RATES
    if not low <= rate <= high or rate != int(rate):
        raise InputError(f"{name}={rate:g} Hz is not a whole number from {low} to {high}")
    return int(rate)


def as_floats(samples: np.ndarray, name: str, *, most: float = MOST_PEAK) -> np.ndarray:
    """Samples of any shape as float32, integers divided by their type's full scale.

    Raises InputError for floats beyond `most` and for integers without a full scale.
    """
    kind = samples.dtype.name
    if kind in INTEGERS:
        full, silence = INTEGERS[kind]
        _refuse_small(samples, name)
        return ((samples.astype(np.float64) - silence) / full).astype(np.float32)
    if samples.dtype.kind != "f":
        raise InputError(
            f"{name}: {kind} samples have no known scale; give floats in -1 to 1, or "
            f"{', '.join(INTEGERS)}"
        )
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        raise InputError(f"{name}: not finite (the array holds NaN or infinite samples)")
    if peak > most:
        raise InputError(
            f"{name}: beyond full scale (peak {peak:.6g}); floats belong in -1 to 1: divide them, "
            "16-bit samples by 32768"
        )
    return samples.astype(np.float32)


def _refuse_small(samples: np.ndarray, name: str) -> None:
    if samples.dtype != np.int32 or not samples.size:
        return
    peak = max(int(samples.max()), -int(samples.min()))
    if 0 < peak <= 32768:
        raise InputError(
            f"{name}: int32 samples of at most {peak} look like 16-bit ones, full scale of int32 "
            "is 2147483648; give them as int16"
        )
    # 24-bit samples at their full scale of int32, as readers give them, end in a byte of zeros.
    if peak <= 1 << 23 and (samples & 255).any():
        raise InputError(
            f"{name}: int32 samples of at most {peak} look like 24-bit ones, full scale of int32 "
            "is 2147483648; give floats: divided by 8388608 if they have 24 bits, by 2147483648 if "
            "they are a quiet recording with 32"
        )


def mono(samples: np.ndarray, name: str, *, most: float = MOST_PEAK) -> np.ndarray:
    """[S] float32 of samples [S] or [S, channels], the mean of the channels. Warns on stderr if the
    channels cancel each other. most: as in `as_floats`."""
    channels_last = samples.ndim == 2 and samples.shape[1] <= samples.shape[0]
    if samples.dtype.kind not in "fiu" or not (samples.ndim == 1 or channels_last):
        turned = samples.ndim == 2 and not channels_last
        remedy = "; x.T if it is [channels, S], list(x) if its rows are recordings" * turned
        raise InputError(
            f"{name}: {samples.dtype} {list(samples.shape)} is not audio; give samples [S] or "
            f"[S, channels], floats in -1 to 1 or integers of 8, 16 or 32 bits{remedy}"
        )
    values = as_floats(samples, name, most=most)
    if values.ndim == 1:
        return values
    excerpt = Excerpt()
    mixed = excerpt.mono(values)
    excerpt.warn(name)
    return mixed


def at_sample_rate(sound: Sound, name: str) -> np.ndarray:
    """[S] float32 at 16 kHz of a sound, which is unchanged if it was given without a rate."""
    if sound.rate is None:
        return mono(sound.samples, name, most=MOST_STANDARDISED)
    blocks = audio_blocks(mono(sound.samples, name), rate=sound.rate, name=name)
    return np.concatenate([*blocks, np.zeros(0, np.float32)])


def one_or_rows(waveforms: Any) -> np.ndarray | list[np.ndarray]:
    """The given 16 kHz waveforms as one array; or as a list of [S] if they form no array because
    they differ in length or were given with a sample rate."""
    if tells_rate(waveforms):
        return at_sample_rate(as_sound(waveforms, "waveform"), "waveform")
    if not isinstance(waveforms, (list, tuple)):
        return as_array(waveforms, "waveforms")
    if not waveforms:
        return []
    if all(isinstance(item, Number) or getattr(item, "ndim", 1) == 0 for item in waveforms):
        return as_array(waveforms, "waveforms")  # numbers: one waveform
    sounds = [as_sound(item, f"waveform {i}") for i, item in enumerate(waveforms)]
    if all(s.rate is None for s in sounds) and len({s.samples.shape for s in sounds}) == 1:
        rows = [sound.samples for sound in sounds]
        if len({row.dtype for row in rows}) > 1:  # each has its own full scale
            rows = [
                as_floats(row, f"waveform {i}", most=MOST_STANDARDISED)
                for i, row in enumerate(rows)
            ]
        return np.stack(rows)
    return [at_sample_rate(sound, f"waveform {i}") for i, sound in enumerate(sounds)]


def tells_rate(item: Any) -> bool:
    """Whether a sound was given with its rate, as in Hugging Face datasets."""
    return isinstance(item, Mapping) or hasattr(item, "get_all_samples")
