"""Estimates the quality of a recording while it is written: noise, bandwidth, clipping."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

FRAME = 320  # samples: 20 ms, in which speech hardly changes
WINDOWS = 24  # frames of a block whose spectra are taken
QUIET, LOUD = 0.1, 0.9  # shares of the frames below the noise's power and the speech's
ROUNDING = 1 / 12  # power of int16's steps
AUDIBLE = 1e-6  # of the strongest band: 60 dB below it
FLOOR = 4.0  # times the power of rounding, which is a spectrum's floor
HUM_HZ = 100
MOST_DB = 96.0  # int16 holds no more
FULL = 32767


class Quality(NamedTuple):
    """clipped_share: share of samples at full scale. snr_db: ratio of the power of loud frames to
    that of quiet ones, which are noise if there are pauses. bandwidth_hz: the frequency up to which
    the spectrum is within 60 dB of its strongest band and above the noise of 16 bits."""

    clipped_share: float
    snr_db: float
    bandwidth_hz: float


class QualityMeter:
    """Takes the int16 samples of one recording block by block."""

    def __init__(self):
        self.squares = 0  # of all samples, exact
        self._left = np.zeros(0, np.int16)
        self._powers: list[np.ndarray] = []
        self._spectrum = np.zeros(FRAME // 2 + 1)
        self._windows = self._full = self._count = 0

    def add(self, samples: np.ndarray) -> None:
        """samples: [n] int16."""
        joined = np.concatenate([self._left, samples]) if len(self._left) else samples
        whole = len(joined) - len(joined) % FRAME
        self._left = joined[whole:].copy()
        self._count += len(samples)
        self._full += np.count_nonzero(samples >= FULL) + np.count_nonzero(samples <= -FULL)
        if whole:
            frames = joined[:whole].astype(np.float64).reshape(-1, FRAME)
            # Not np.dot, whose threads, a core each in every worker, take ten times its own time.
            squares = np.einsum("ft,ft->f", frames, frames)  # exact: they stay under 2^53
            self.squares += int(squares.sum())
            self._powers.append((squares / FRAME).astype(np.float32))
            self._add_spectrum(frames)

    def _add_spectrum(self, frames: np.ndarray) -> None:
        some = frames[:: -(-len(frames) // WINDOWS)]
        spectra = np.fft.rfft(some * _window(), axis=1)
        self._spectrum += np.einsum("fk,fk->k", spectra.real, spectra.real)
        self._spectrum += np.einsum("fk,fk->k", spectra.imag, spectra.imag)
        self._windows += len(some)

    def finish(self) -> Quality:
        """The estimates for all samples; NaN if the recording is shorter than a frame."""
        left = self._left.astype(np.float64)
        self.squares += int(np.einsum("n,n->", left, left))
        share = float(self._full / max(1, self._count))
        if not self._powers:
            return Quality(share, np.nan, np.nan)
        return Quality(share, self._snr_db(), self._bandwidth_hz())

    def _snr_db(self) -> float:
        powers = np.sort(np.concatenate(self._powers))
        noise, loud = (float(powers[int(share * (len(powers) - 1))]) for share in (QUIET, LOUD))
        noise = max(noise, ROUNDING)
        ratio = max(loud - noise, noise * 10 ** (-MOST_DB / 10)) / noise
        return float(np.clip(10 * np.log10(ratio), -MOST_DB, MOST_DB))

    def _bandwidth_hz(self) -> float:
        smooth = np.convolve(self._spectrum, np.full(3, 1 / 3), "same") / self._windows
        hertz = np.arange(len(smooth)) * SAMPLE_RATE / FRAME
        rounding = ROUNDING * float(np.einsum("n,n->", _window(), _window()))
        strongest = float(smooth[hertz >= HUM_HZ].max())
        heard = np.flatnonzero(smooth > max(AUDIBLE * strongest, FLOOR * rounding))
        return float(hertz[heard[-1]]) if len(heard) else 0.0


@functools.cache
def _window() -> np.ndarray:
    return np.hanning(FRAME + 1)[:-1]
