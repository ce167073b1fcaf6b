"""What augmentation does to samples: arrays in, arrays out, no randomness.

All take and return [n] float32 samples scaled to [-1, 1].
"""

from __future__ import annotations

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

BAND = (300.0, 3400.0)  # Hz: what a telephone passes (ITU-T G.712)
EDGE = 200.0  # Hz: width of the band's edges, which fall as half a cosine
MU = 255  # of the companding law (ITU-T G.711), with 8 bits per sample at half the sample rate


def power(samples: np.ndarray) -> float:
    """Mean square of the samples."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def resampled(samples: np.ndarray, length: int) -> np.ndarray:
    """[length]: all samples, played faster or slower, so that the pitch changes with the speed."""
    if len(samples) == length:
        return samples
    import soxr

    result = soxr.resample(samples, len(samples), length, quality="HQ")[:length]
    return np.pad(result, (0, length - len(result)))


def with_noise(samples: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Adds the noise [n], scaled so that the power of the samples is `snr` dB above its power."""
    ours, theirs = power(samples), power(noise)
    if not ours or not theirs:
        return samples  # silence has no ratio
    return samples + noise * np.float32(np.sqrt(ours / theirs) * 10 ** (-snr / 20))


def in_room(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The samples as heard in a room with this impulse response [m], with unchanged power and
    without delay: the loudest sample of the response is taken as the direct sound."""
    from scipy.signal import oaconvolve

    direct = int(np.argmax(np.abs(response)))
    wet = oaconvolve(samples, response)[direct : direct + len(samples)].astype(np.float32)
    level = power(wet)
    return wet * np.float32(np.sqrt(power(samples) / level)) if level else samples


def over_telephone(samples: np.ndarray) -> np.ndarray:
    """The samples after a telephone line: 300 to 3400 Hz, 8 kHz, 8 bits per sample by mu-law."""
    from scipy import fft

    size = fft.next_fast_len(len(samples) + SAMPLE_RATE // 50, real=True)
    size += size % 2
    spectrum = fft.rfft(samples, size) * _band(size)
    narrow = _companded(fft.irfft(spectrum, size)[::2])
    spectrum = np.zeros_like(spectrum)
    half = fft.rfft(narrow)
    spectrum[: len(half)] = half * _band(size)[: len(half)]
    return (2 * fft.irfft(spectrum, size)[: len(samples)]).astype(np.float32)


def _band(size: int) -> np.ndarray:
    """[size // 2 + 1] float32 gain of each frequency of a real transform."""
    hertz = np.arange(size // 2 + 1) * (SAMPLE_RATE / size)
    rise = np.clip((hertz - (BAND[0] - EDGE)) / EDGE, 0, 1)
    fall = np.clip((BAND[1] + EDGE - hertz) / EDGE, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))).astype(np.float32)


def _companded(samples: np.ndarray) -> np.ndarray:
    loud = np.log1p(MU * np.minimum(np.abs(samples), 1)) / np.log1p(MU)
    steps = np.rint(loud * 127) / 127  # a sign and seven bits
    return np.sign(samples) * np.expm1(steps * np.log1p(MU)) / MU


def amplified(samples: np.ndarray, decibels: float) -> np.ndarray:
    """The samples with this gain."""
    return samples * np.float32(10 ** (decibels / 20))
