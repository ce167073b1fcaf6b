"""Merges successive frames with the same most likely symbol, for lexicons whose words end without
`|`.

flashlight's search leaves a word at the first frame of its last symbol, and cannot stay in that
symbol: every further frame of it would cost as much as a wrong one. If each run of frames is
merged into one, there are no further frames. A path that stays in one symbol over a run keeps its
score; a path that changes its symbol within a run is not considered.
"""

from __future__ import annotations

import numpy as np


def run_lengths(log_probs: np.ndarray, *, blank: int) -> np.ndarray:
    """[R] frames of each run of log probabilities [T, C]; frames of blank stay alone."""
    best = log_probs.argmax(axis=-1)
    starts = np.flatnonzero(np.diff(best, prepend=-1) | (best == blank))
    return np.diff(starts, append=len(best))


def summed(log_probs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """[R, C] log probabilities of staying in each symbol over a run, float32, contiguous."""
    starts = np.cumsum(lengths) - lengths
    sums = np.add.reduceat(log_probs, starts, axis=0) if len(starts) else log_probs
    return np.ascontiguousarray(sums, np.float32)
