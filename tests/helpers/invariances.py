"""What must be the same to an objective: rows in another order, silent fillers, longer padding."""

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.models.frames import frame_counts

ORDER = np.array([5, 2, 7, 0, 1, 6, 4, 3])
EXTRA = 300  # samples of padding


def assert_close(a, b):
    """Two trees of one structure with the same numbers but for the order of sums."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def reordered(batch, keys):
    """A batch of eight rows and its keys [8] in another order."""
    return jax.tree.map(lambda x: x[ORDER], batch), keys[ORDER]


def with_fillers(batch):
    """A batch of eight rows, the last three without weight: with their sound, and without it."""
    weights = np.where(np.arange(8) < 5, batch.weights, 0).astype(np.float32)
    silent = batch._replace(
        weights=weights,
        waveforms=np.where(weights[:, None] > 0, batch.waveforms, 0),
        num_samples=np.where(weights > 0, batch.num_samples, 0),
    )
    return batch._replace(weights=weights), silent


def padded(batch, mask, conv_layers):
    """The batch and its mask [B, T] with EXTRA samples of padding behind every row."""
    samples = batch.waveforms.shape[1] + EXTRA
    frames = int(frame_counts(samples, conv_layers))
    return (
        batch._replace(waveforms=np.pad(batch.waveforms, ((0, 0), (0, EXTRA)))),
        jnp.pad(mask, ((0, 0), (0, frames - mask.shape[1]))),
    )
