"""Recordings of any length: overlapping chunks whose logits are stitched on one grid of frames.

A chunk begins on a frame of the whole recording and has whole frames only, so a frame's samples are
the same in every chunk that holds it, and each frame is taken once, from the chunk in which it has
at least `context` frames on either side (or the recording's own end). Everything that depends only
on this context is therefore exact. Only attention depends on more, the whole chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from w2v2_jax.models.frames import frame_counts, receptive

CHUNK_SECONDS, CONTEXT_SECONDS = 30.0, 5.0


class Chunk(NamedTuple):
    """samples [S]; logits first .. last of the chunk belong to the recording, in order."""

    samples: np.ndarray
    first: int
    last: int


class Statistics(NamedTuple):
    """Samples of a whole recording, and their mean and variance."""

    count: int  # type: ignore[assignment]
    mean: float
    variance: float


class Grid(NamedTuple):
    """Sizes in frames of the network: chunk length, context on each side; and samples per frame.

    field: samples that the first frame sees; stride: samples between two frames.
    """

    frames: int
    context: int
    field: int
    stride: int

    @property
    def samples(self) -> int:
        """Samples of one chunk."""
        return self.field + (self.frames - 1) * self.stride


def make_grid(conv_layers, *, chunk_samples: int, context_samples: int) -> Grid:
    """The grid of a network for chunks of at most `chunk_samples`; ValueError if the context
    leaves nothing to keep."""
    field, stride = receptive(conv_layers)
    frames = int(frame_counts(chunk_samples, conv_layers))
    context = -(-context_samples // stride)
    if frames < 1 or context < 0 or 2 * context >= frames:
        raise ValueError(f"chunks of {frames} frames with {context} of context on each side")
    return Grid(frames, context, field, stride)


def measure(blocks: Iterator[np.ndarray]) -> Statistics:
    """Count, mean and variance of all samples of a recording, a block [n] at a time."""
    count, mean, squares = 0, 0.0, 0.0  # squares: of the distances from the mean
    for block in blocks:
        if len(block):
            block = block.astype(np.float64)
            total, shift = count + len(block), block.mean() - mean
            squares += np.square(block - block.mean()).sum() + shift**2 * count * len(block) / total
            mean, count = mean + shift * len(block) / total, total
    return Statistics(count, mean, squares / max(count, 1))


def chunks(blocks: Iterator[np.ndarray], grid: Grid) -> Iterator[Chunk]:
    """Chunks of a recording whose samples come as blocks [n]; stores little more than one chunk.

    The last chunk begins earlier so that it is complete and all have one shape, except for a
    recording shorter than a chunk. A recording shorter than a frame gives no chunk.
    """
    hop = grid.frames - 2 * grid.context
    held, begins = np.zeros(0, np.float32), 0  # samples from frame `begins` of the recording
    start, taken = 0, 0  # the next chunk's first frame; frames already taken
    for block in blocks:
        held = np.concatenate([held, block])
        # One more frame than the chunk has: it is not the last one.
        while len(held) >= (start - begins) * grid.stride + grid.samples + grid.stride:
            first = (start - begins) * grid.stride
            last = start + grid.frames - grid.context
            yield Chunk(held[first : first + grid.samples], taken - start, last - start)
            taken = last
            held, begins = held[first:].copy(), start  # the last chunk may begin right after this
            start += hop
    count = begins + max((len(held) - grid.field) // grid.stride + 1, 0)
    if count > taken:
        start = max(count - grid.frames, 0)
        yield Chunk(held[(start - begins) * grid.stride :], taken - start, count - start)


def stitched(
    blocks: Iterator[np.ndarray],
    grid: Grid,
    logits_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    rows: int,
) -> Iterator[np.ndarray]:
    """Logits [t, C] of a recording, piece by piece; together one row per frame.

    logits_of: (waveforms [rows, grid.samples], num_samples [rows]) -> [rows, T, C].
    """
    group: list[Chunk] = []

    def flush():
        waveforms = np.zeros((rows, grid.samples), np.float32)
        counts = np.full(rows, grid.samples, np.int32)
        for row, chunk in enumerate(group):
            size = counts[row] = min(len(chunk.samples), grid.samples)
            waveforms[row, :size] = chunk.samples[:size]
        logits = logits_of(waveforms, counts)
        for row, chunk in enumerate(group):
            yield logits[row, chunk.first : chunk.last]
        group.clear()

    for chunk in chunks(blocks, grid):
        group.append(chunk)
        if len(group) == rows:
            yield from flush()
    if group:
        yield from flush()
