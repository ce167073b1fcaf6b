"""A number for each name of an index, without a loop over millions of them."""

from __future__ import annotations

import numpy as np

HASHED = 1 << 12  # names: their temporary arrays stay in the cache


def string_hashes(blob: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """[N] uint64 hashes of N strings laid end to end: millions of names without a loop over them,
    HASHED at a time so that the memory is that of the names."""
    hashes = np.empty(len(ends), np.uint64)
    for first in range(0, len(ends), HASHED):
        begin = int(ends[first - 1]) if first else 0
        some = ends[first : first + HASHED] - begin
        hashes[first : first + HASHED] = _hashes(blob[begin : begin + int(some[-1])], some)
    return hashes


def _hashes(blob: np.ndarray, ends: np.ndarray) -> np.ndarray:
    starts = np.concatenate([[0], ends[:-1]])
    place = np.arange(len(blob)) - np.repeat(starts, ends - starts)
    x = blob.astype(np.uint64) + place.astype(np.uint64) * np.uint64(256) + np.uint64(1)
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(x ^ (x >> np.uint64(32)))])
    return total[ends] - total[starts]
