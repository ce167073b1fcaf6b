"""The input's normalisation: zero mean and unit variance over real samples, and its epsilon.

fairseq normalises a whole file with its layer norm's epsilon (`raw_audio_dataset.py`), as
torchaudio does and as the checkpoints trained here; transformers' feature extractor adds less
(`zero_mean_unit_var_norm`), which shows in quiet recordings. So the epsilon goes with a checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax

EPSILON = 1e-5  # of fairseq, torchaudio and the checkpoints trained here
HUGGING_FACE_EPSILON = 1e-7


def scaled(waveforms, mean, variance, epsilon: float):
    """Waveforms with this mean and variance, given as numbers or arrays -> normalised ones."""
    return (waveforms - mean) * gain(variance, epsilon)


def gain(variance, epsilon: float):
    """What samples without their mean are multiplied by."""
    return (variance + epsilon) ** -0.5


def normalised(waveforms: np.ndarray, num_samples: np.ndarray, epsilon: float) -> np.ndarray:
    """Each row [B, S] by the mean and variance of its real samples, zero beyond them; numpy."""
    waveforms = np.asarray(waveforms, np.float64)
    real = np.arange(waveforms.shape[1]) < np.asarray(num_samples)[:, None]
    count = np.asarray(num_samples)[:, None]
    mean = np.where(real, waveforms, 0.0).sum(1, keepdims=True) / count
    centred = np.where(real, waveforms - mean, 0.0)
    variance = np.square(centred).sum(1, keepdims=True) / count
    return (centred * gain(variance, epsilon)).astype(np.float32)


def normalised_on_device(waveforms: jax.Array, num_samples: jax.Array, epsilon: float) -> jax.Array:
    """`normalised` in float32 as a part of a compiled program, of any batch and length."""
    import jax  # here: reading data needs no JAX
    import jax.numpy as jnp

    count = num_samples.astype(jnp.float32)[:, None]
    real = jnp.arange(waveforms.shape[1])[None] < num_samples[:, None]

    def centre(x):
        return jnp.where(real, x - jnp.where(real, x, 0.0).sum(1, keepdims=True) / count, 0.0)

    centred = centre(centre(waveforms))  # again: the first sum is as exact as the offset is large
    variance = jnp.square(centred).sum(1, keepdims=True) / count
    return centred * jax.lax.rsqrt(variance + epsilon)
