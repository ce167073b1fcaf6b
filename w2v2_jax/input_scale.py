"""The input's normalisation: zero mean and unit variance over real samples, and its epsilon.

fairseq normalises a whole file with the epsilon of its layer norm (`raw_audio_dataset.py`). So do
torchaudio and the checkpoints trained here. transformers' feature extractor adds a smaller number
(`zero_mean_unit_var_norm`), which matters in quiet recordings. A checkpoint stores its epsilon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax

EPSILON = 1e-5  # for fairseq, torchaudio and the checkpoints trained here
HUGGING_FACE_EPSILON = 1e-7


def scaled(waveforms, mean, variance, epsilon: float):
    """Normalises waveforms with this mean and variance, which are numbers or arrays."""
    return (waveforms - mean) * gain(variance, epsilon)


def gain(variance, epsilon: float):
    """The factor for samples whose mean was subtracted."""
    return (variance + epsilon) ** -0.5


def normalised(waveforms: np.ndarray, num_samples: np.ndarray, epsilon: float) -> np.ndarray:
    """Normalises each row of [B, S] by its real samples, with zeros after them; numpy."""
    waveforms = np.asarray(waveforms, np.float64)
    real = np.arange(waveforms.shape[1]) < np.asarray(num_samples)[:, None]
    count = np.asarray(num_samples)[:, None]
    mean = np.where(real, waveforms, 0.0).sum(1, keepdims=True) / count
    centred = np.where(real, waveforms - mean, 0.0)
    variance = np.square(centred).sum(1, keepdims=True) / count
    return (centred * gain(variance, epsilon)).astype(np.float32)


def normalised_on_device(waveforms: jax.Array, num_samples: jax.Array, epsilon: float) -> jax.Array:
    """`normalised` in float32 as part of a compiled program, for any batch and length."""
    import jax  # here: reading data needs no JAX
    import jax.numpy as jnp

    count = num_samples.astype(jnp.float32)[:, None]
    real = jnp.arange(waveforms.shape[1])[None] < num_samples[:, None]

    def centre(x):
        return jnp.where(real, x - jnp.where(real, x, 0.0).sum(1, keepdims=True) / count, 0.0)

    centred = centre(centre(waveforms))  # again: the first sum is as exact as the offset is large
    variance = jnp.square(centred).sum(1, keepdims=True) / count
    return centred * jax.lax.rsqrt(variance + epsilon)
