"""Whether one system is better than another on the same utterances.

Three answers from the paired utterances: the difference of the rates with its bootstrap interval
and the share of resamples in which the second is better (Bisani and Ney 2004), a permutation test,
and the matched-pairs test of Gillick and Cox (1989) with utterances as segments. Two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.evaluation.scoring import (
    ErrorCounts,
    percentile_interval,
    rates,
    resampled_sums,
    total,
)

PERMUTATIONS = 9999
DRAWN_AT_ONCE = 2**20  # signs


class Comparison(NamedTuple):
    """first, second: rates. difference: second minus first, negative if the second is better, with
    its 95 % interval. second_better: share of resamples. p_permutation, p_matched_pairs:
    probability of such a difference, or a larger one, between equal systems."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    second_better: float
    p_permutation: float
    p_matched_pairs: float


def compare(
    first: Sequence[ErrorCounts],
    second: Sequence[ErrorCounts],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compares two systems on the same utterances, in the same order.

    groups: speakers, drawn whole by the bootstrap and exchanged whole by the permutation test.
    Raises ValueError if the references' lengths differ or there is no utterance.
    """
    lengths = np.array([count.reference_length for count in first])
    if not len(first) or lengths.tolist() != [count.reference_length for count in second]:
        raise ValueError("the two systems are not scored on the same utterances")
    errors = np.array([[a.errors, b.errors] for a, b in zip(first, second, strict=True)])
    sums = resampled_sums(np.column_stack([errors, lengths]), groups=groups, seed=seed)
    differences = rates(sums[:, 1], sums[:, 2]) - rates(sums[:, 0], sums[:, 2])
    gaps = errors[:, 1] - errors[:, 0]  # [N] more errors of the second
    a, b = total(first).rate, total(second).rate
    return Comparison(
        first=a,
        second=b,
        difference=b - a,
        interval=percentile_interval(differences),
        second_better=float(np.mean(differences < 0) + 0.5 * np.mean(differences == 0)),
        p_permutation=_permutation(_grouped(gaps, groups), seed),
        p_matched_pairs=_matched_pairs(_grouped(gaps, groups)),
    )


def _grouped(gaps: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    if groups is None:
        return gaps
    _, membership = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(membership, weights=gaps).astype(np.int64)


def _permutation(gaps: np.ndarray, seed: int) -> float:
    """Share of random exchanges of the systems, an utterance at a time, with as large a gap."""
    gaps = gaps[gaps != 0]
    if not len(gaps):
        return 1.0
    rng, seen = np.random.default_rng(seed), abs(int(gaps.sum()))
    as_large = 0
    for first in range(0, PERMUTATIONS, step := max(1, DRAWN_AT_ONCE // len(gaps))):
        rows = min(step, PERMUTATIONS - first)
        signs = rng.integers(0, 2, size=(rows, len(gaps)), dtype=np.int8) * 2 - 1
        as_large += int(np.count_nonzero(np.abs(signs @ gaps) >= seen))
    return (as_large + 1) / (PERMUTATIONS + 1)


def _matched_pairs(gaps: np.ndarray) -> float:
    """Normal approximation of the mean gap; 1 if there is no gap or one utterance. Gaps that are
    all equal have no deviation: it is then the probability of their sign, which is exact."""
    if len(gaps) < 2 or not gaps.any():
        return 1.0
    deviation = gaps.std(ddof=1) / math.sqrt(len(gaps))
    if not deviation:
        return 2.0 ** (1 - len(gaps))
    return math.erfc(abs(gaps.mean()) / deviation / math.sqrt(2))
