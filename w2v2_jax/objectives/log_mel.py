"""Log-mel filterbanks of raw waveforms, on the device: what fixed targets are made from."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

FLOOR = 1e-10  # of a band's power; full scale is about 1e4


def transform_size(window: int) -> int:
    """The samples of the transform of a window: the next power of 2."""
    return 1 << (window - 1).bit_length()


def mel_filters(bands: int, size: int) -> np.ndarray:
    """Triangles [size // 2 + 1, bands] over the bins of a transform of `size` samples, evenly
    spaced on the mel scale (2595 log10(1 + f / 700)) up to half the sample rate."""
    bins = np.linspace(0, SAMPLE_RATE / 2, size // 2 + 1)[:, None]
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


@functools.cache
def _spectrum_basis(window: int) -> tuple[np.ndarray, int]:
    """([window, 2 F] cosines and sines under a Hann window, size of the transform)."""
    size = transform_size(window)
    angle = 2 * np.pi * np.outer(np.arange(window), np.arange(size // 2 + 1)) / size
    basis = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return np.hanning(window + 1)[:window, None] * basis, size


def log_mel(waveforms: jax.Array, frames: int, *, window: int, hop: int, bands: int) -> jax.Array:
    """waveforms [B, S] -> [B, frames, bands] float32: frame t covers the `window` samples from
    t * hop; samples beyond S are silence. It is a matmul with the transform's basis, which is exact
    enough in float32, and fast on devices where a transform is not."""
    basis, size = _spectrum_basis(window)
    blocks = -(-window // hop)
    length = (frames + blocks - 1) * hop
    waveforms = waveforms.astype(jnp.float32)[:, :length]
    waveforms = jnp.pad(waveforms, ((0, 0), (0, length - waveforms.shape[1])))
    parts = waveforms.reshape(len(waveforms), -1, hop)
    spans = [parts[:, first : first + frames] for first in range(blocks)]
    windows = jnp.concatenate(spans, axis=-1)[..., :window]
    spectrum = jnp.einsum("btw,wf->btf", windows, basis.astype(np.float32), precision="highest")
    real, imaginary = jnp.split(spectrum, 2, axis=-1)
    power = jnp.square(real) + jnp.square(imaginary)
    filters = mel_filters(bands, size).astype(np.float32)
    mel = jnp.einsum("btf,fm->btm", power, filters, precision="highest")
    return jnp.log(jnp.maximum(mel, FLOOR))
