"""Frames in a row whose likeliest symbol is the same, taken as one: for lexicons whose words end
without `|`.

flashlight's search leaves a word with its last symbol's first frame, and has no way to stay in that
symbol: every further frame of it would cost as much as a wrong one. Where each run is one frame
there are none. A path that stays in one symbol over a run has the same score as before; one that
changes its symbol amid a run is not looked at.
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
