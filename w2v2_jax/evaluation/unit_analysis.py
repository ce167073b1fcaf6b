"""How the quantizer's units are used, and how well they agree with phones.

Mutual information and purities as in HuBERT (Hsu et al. 2021, section IV-D), for each codebook and
for the codebooks together. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Agreement(NamedTuple):
    """Units against phones over the same frames; entropies and information in bits.

    pnmi: information divided by the phones' entropy. pnmi_shuffled: the same with phones in random
    order, which is the value by chance. phone_purity: share of frames that are right if each unit
    stands for its most frequent phone. unit_purity: the same with units and phones exchanged.
    """

    frames: int
    phone_entropy: float
    unit_entropy: float
    information: float
    pnmi: float
    pnmi_shuffled: float
    phone_purity: float
    unit_purity: float


def entropy(counts: np.ndarray) -> float:
    """Bits of the distribution that counts (of any shape) give; 0 if there are none."""
    probabilities = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(probabilities * np.log2(probabilities)).sum())


def usage(units: np.ndarray, *, entries: int) -> dict[str, Any]:
    """Of units [N, G]: for each codebook, entries used and perplexity; distinct combinations."""
    books = []
    for column in units.T:
        counts = np.bincount(column, minlength=entries)
        books.append(
            {"used": int((counts > 0).sum()), "of": entries, "perplexity": 2 ** entropy(counts)}
        )
    combinations = len(np.unique(units, axis=0))
    return {"frames": len(units), "codebooks": books, "combinations": combinations}


def combined(units: np.ndarray) -> np.ndarray:
    """[N, G] -> [N] one number for each combination of entries that occurs."""
    return np.unique(units, axis=0, return_inverse=True)[1].reshape(-1)


def _table(units: np.ndarray, phones: np.ndarray) -> np.ndarray:
    shape = (int(units.max()) + 1, int(phones.max()) + 1)
    return np.bincount(units * shape[1] + phones, minlength=shape[0] * shape[1]).reshape(shape)


def agreement(units: np.ndarray, phones: np.ndarray, *, seed: int = 0) -> Agreement:
    """Units [N] against phones [N], both numbers from 0; raises ValueError without frames."""
    if not len(units) or len(units) != len(phones):
        raise ValueError(f"{len(units)} units and {len(phones)} phones")
    table = _table(units, phones)
    by_phone, by_unit = entropy(table.sum(0)), entropy(table.sum(1))
    information = by_phone + by_unit - entropy(table)
    shuffled = _table(units, np.random.default_rng(seed).permutation(phones))
    chance = by_phone + by_unit - entropy(shuffled)
    scale = by_phone or 1.0
    return Agreement(
        len(units),
        by_phone,
        by_unit,
        information,
        information / scale,
        chance / scale,
        float(table.max(1).sum() / len(units)),
        float(table.max(0).sum() / len(units)),
    )


def frame_labels(
    segments: Sequence[tuple[float, float, str]], frames: int, *, stride: float, field: float
) -> list[str | None]:
    """The label at the centre of each frame; None outside every segment.

    segments: (start, end, label) in seconds. stride, field: seconds between frames, and of audio
    that one frame sees.
    """
    labels: list[str | None] = [None] * frames
    for start, end, label in segments:
        first = max(int(np.ceil((start - field / 2) / stride)), 0)
        for frame in range(first, frames):
            if frame * stride + field / 2 >= end:
                break
            labels[frame] = label
    return labels
