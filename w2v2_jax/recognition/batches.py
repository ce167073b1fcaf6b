"""Waveforms of many lengths through a network: batches by length, long ones in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition import long_audio
from w2v2_jax.recognition.network import Network

BUCKETS_SECONDS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 25, 30, 40, 60)
BATCH_SECONDS = 60.0  # audio of one batch
WHOLE_SECONDS = BUCKETS_SECONDS[-1]  # longer recordings are processed in chunks
WHOLE_SAMPLES = WHOLE_SECONDS * SAMPLE_RATE


def batched(
    network: Network, apply: Callable, waveforms: Sequence[np.ndarray], *, batch_seconds: float
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, [T, ...]) of many waveforms [S], batched and ordered by length; those longer than the
    largest bucket are processed in chunks, see `stitched`.

    apply: a method of the network from waveforms, num_samples and statistics to [B, T, ...].
    """
    if not 0 < batch_seconds < math.inf:
        raise InputError(f"batch_seconds={batch_seconds} must be a positive number of seconds")
    layers = network.description.model.output_layers
    order = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))
    while order:
        if len(waveforms[order[0]]) > WHOLE_SAMPLES:
            i = order.pop(0)
            yield i, np.concatenate(list(stitched(network, apply, lambda i=i: [waveforms[i]])))
            continue
        size = _bucket(len(waveforms[order[0]]))
        most = max(1, int(batch_seconds * SAMPLE_RATE / size))
        group = [i for i in order[:most] if len(waveforms[i]) <= size]
        order = order[len(group) :]
        # A group that does not fill a batch gets one of the next power of two: few shapes,
        # and a single utterance is computed once, not as often as a batch has rows.
        rows = min(most, 1 << (len(group) - 1).bit_length())
        padded = np.zeros((rows, size), np.float32)
        counts = np.full(rows, size, np.int32)
        for row, i in enumerate(group):
            padded[row, : len(waveforms[i])] = waveforms[i]
            counts[row] = len(waveforms[i])
        outputs = apply(padded, counts)
        for row, i in enumerate(group):
            yield i, outputs[row, : int(frame_counts(len(waveforms[i]), layers))]


def stitched(
    network: Network,
    apply: Callable,
    blocks: Callable,
    *,
    chunk_seconds: float = long_audio.CHUNK_SECONDS,
    context_seconds: float = long_audio.CONTEXT_SECONDS,
    batch_seconds: float = BATCH_SECONDS,
) -> Iterator[np.ndarray]:
    """The result of `apply` for a recording of any length, [t, ...] from overlapping chunks.

    blocks: a function that returns the recording's 16 kHz samples as blocks [n]. A model that
    normalises uses mean and variance of the whole recording, as training does for whole utterances,
    so that overlapping chunks have the same numbers; blocks is then called twice.
    """
    try:
        grid = long_audio.make_grid(
            network.description.model.output_layers,
            chunk_samples=int(chunk_seconds * SAMPLE_RATE),
            context_samples=int(context_seconds * SAMPLE_RATE),
        )
    except ValueError as error:
        raise InputError(
            f"chunk_seconds={chunk_seconds:g} with context_seconds={context_seconds:g} leaves "
            "nothing; the chunk must be longer than twice the context"
        ) from error
    statistics = long_audio.measure(blocks()) if network.description.normalise else None
    return long_audio.stitched(
        blocks(),
        grid,
        lambda w, n: apply(w, n, statistics=statistics),
        rows=max(1, int(batch_seconds / chunk_seconds)),
    )


def _bucket(samples: int) -> int:
    """The row length a waveform of at most WHOLE_SAMPLES is padded to."""
    return next(s for s in BUCKETS_SECONDS if samples <= s * SAMPLE_RATE) * SAMPLE_RATE
