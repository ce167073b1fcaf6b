"""Word and character error rates of a set of utterances, with alignments and intervals.

A rate is the number of all errors divided by the number of all reference units (as in infer.py of
fairseq), and not the mean of the utterances' rates. Texts are compared exactly, except for white
space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
DRAWN_AT_ONCE = 2**20  # utterances
CONFIDENCE = 0.95


class ErrorCounts(NamedTuple):
    """Errors of one hypothesis, or of a set of them, and the units of the reference."""

    substitutions: int
    insertions: int
    deletions: int
    reference_length: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors over reference units; with an empty reference 0 (nothing said) or infinity."""
        if self.reference_length:
            return self.errors / self.reference_length
        return float("inf") if self.errors else 0.0


class UtteranceErrors(NamedTuple):
    """One utterance."""

    reference: str
    hypothesis: str
    words: ErrorCounts
    characters: ErrorCounts


class Scores(NamedTuple):
    """Rates of the whole set; intervals are 95 % bootstrap intervals over utterances."""

    wer: float
    cer: float
    words: ErrorCounts
    characters: ErrorCounts
    wer_interval: tuple[float, float]
    cer_interval: tuple[float, float]
    rows: list[UtteranceErrors]


def _distances(reference: np.ndarray, hypothesis: np.ndarray) -> np.ndarray:
    """Levenshtein distance of every pair of prefixes [R + 1, H + 1]."""
    columns = np.arange(len(hypothesis) + 1)
    table = np.empty((len(reference) + 1, len(hypothesis) + 1), np.int64)
    table[0] = columns
    for i, unit in enumerate(reference, 1):
        above = table[i - 1]
        row = above + 1  # deletion
        np.minimum(row[1:], above[:-1] + (hypothesis != unit), out=row[1:])  # match, substitution
        # insertion: row[j] = min over k <= j of row[k] + (j - k)
        table[i] = np.minimum.accumulate(row - columns) + columns
    return table


def align(
    reference: Sequence[str], hypothesis: Sequence[str]
) -> list[tuple[str | None, str | None]]:
    """Pairs (reference unit, hypothesis unit) of one alignment with the fewest errors.

    None on the left is an insertion, None on the right a deletion. Among equally good alignments
    the one that pairs units latest is taken: substitution before deletion and insertion.
    """
    units = {unit: number for number, unit in enumerate({*reference, *hypothesis})}
    ref = np.array([units[unit] for unit in reference], np.int64)
    hyp = np.array([units[unit] for unit in hypothesis], np.int64)
    table = _distances(ref, hyp)
    i, j = len(reference), len(hypothesis)
    pairs: list[tuple[str | None, str | None]] = []
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (ref[i - 1] != hyp[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Errors of one hypothesis against its reference; units are words or characters."""
    pairs = align(reference, hypothesis)
    return ErrorCounts(
        substitutions=sum(None not in (r, h) and r != h for r, h in pairs),
        insertions=sum(r is None for r, _ in pairs),
        deletions=sum(h is None for _, h in pairs),
        reference_length=len(reference),
    )


def total(counts: Sequence[ErrorCounts]) -> ErrorCounts:
    """The sum over utterances."""
    return ErrorCounts(*(sum(column) for column in zip(*counts, strict=True)))


def resampled_sums(
    columns: np.ndarray, *, groups: Sequence[str] | None = None, seed: int = 0
) -> np.ndarray:
    """[RESAMPLES, K] sums of columns [N, K] over utterances drawn with replacement.

    groups: a name per utterance, such as its speaker; then whole groups are drawn.
    """
    if groups is not None:
        _, membership = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.zeros((membership.max() + 1, columns.shape[1]), columns.dtype)
        np.add.at(sums, membership, columns)
        columns = sums
    rng = np.random.default_rng(seed)
    count = len(columns)
    resampled = np.empty((RESAMPLES, columns.shape[1]), columns.dtype)
    for first in range(0, RESAMPLES, step := max(1, DRAWN_AT_ONCE // count)):
        drawn = rng.integers(count, size=(min(step, RESAMPLES - first), count))
        for k, column in enumerate(columns.T):
            resampled[first : first + len(drawn), k] = column[drawn].sum(1)
    return resampled


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values, infinities included."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="nearest")
    return float(low), float(high)


def rates(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Errors over reference units of each resample, as in `ErrorCounts.rate`."""
    empty = np.where(errors > 0, np.inf, 0.0)
    return np.where(lengths > 0, errors / np.maximum(lengths, 1), empty)


def bootstrap_interval(
    counts: Sequence[ErrorCounts], *, groups: Sequence[str] | None = None, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the rate when whole utterances are drawn with replacement.

    An utterance is the unit because errors inside one are not independent (Bisani and Ney 2004).
    groups: whole speakers are drawn instead, because their utterances are not independent either. A
    draw without reference units has no rate and is left out, unless the whole set has none.
    """
    columns = np.array([(count.errors, count.reference_length) for count in counts])
    sums = resampled_sums(columns, groups=groups, seed=seed)
    if sums[:, 1].any():
        sums = sums[sums[:, 1] > 0]
    return percentile_interval(rates(sums[:, 0], sums[:, 1]))


def score(references: list[str], hypotheses: list[str]) -> Scores:
    """Scores hypotheses against references in the same order; raises ValueError if there are none
    or their numbers differ.

    Characters include the single spaces between words.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: as many of each, "
            "and at least one"
        )
    rows = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        ref_words, hyp_words = reference.split(), hypothesis.split()
        rows.append(
            UtteranceErrors(
                reference=" ".join(ref_words),
                hypothesis=" ".join(hyp_words),
                words=count_errors(ref_words, hyp_words),
                characters=count_errors(" ".join(ref_words), " ".join(hyp_words)),
            )
        )
    words = [row.words for row in rows]
    characters = [row.characters for row in rows]
    return Scores(
        wer=total(words).rate,
        cer=total(characters).rate,
        words=total(words),
        characters=total(characters),
        wer_interval=bootstrap_interval(words),
        cer_interval=bootstrap_interval(characters),
        rows=rows,
    )
