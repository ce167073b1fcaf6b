"""The batch that flows from the data plan to the train step.

Shape letters, one meaning everywhere: B batch, S samples, T frames, M masked slots, D model,
H heads, K negatives, G codebooks, V entries, U label length, C classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SAMPLE_RATE = 16000  # Hz, of every waveform inside
Array = Any  # numpy on the host, jax on the device


class Batch(NamedTuple):
    """One batch; numpy on the host, global jax arrays on the mesh.

    waveforms: [B, S] float32 at SAMPLE_RATE, zero where padded.
    num_samples: [B] int32, real samples of each row.
    weights: [B] float32, 1 for a real row, 0 for a filler row (evaluation's last batch).
    labels: [B, U] int32 padded with 0, or None when pretraining.
    num_labels: [B] int32, or None when pretraining.
    """

    waveforms: Array
    num_samples: Array
    weights: Array
    labels: Array | None = None
    num_labels: Array | None = None
