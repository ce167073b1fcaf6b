"""Scores of a classifier: accuracy, and precision, recall and F1 of each class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ClassScores(NamedTuple):
    """accuracy; macro_f1, the mean F1 of the classes that occur among references or guesses; and
    each class's precision, recall and F1 [C], 0 if nothing divides."""

    accuracy: float
    macro_f1: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def confusion(references, guesses, classes: int) -> np.ndarray:
    """Rows [N] of references and guesses -> how often each reference [C] was each guess [C]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(references, np.int64), np.asarray(guesses, np.int64)), 1)
    return counts


def class_scores(counts: np.ndarray) -> ClassScores:
    """The scores of a confusion [C, C], as in scikit-learn with zero_division=0."""
    right, said, true = np.diagonal(counts), counts.sum(0), counts.sum(1)
    precision = right / np.maximum(said, 1)
    recall = right / np.maximum(true, 1)
    f1 = 2 * right / np.maximum(said + true, 1)
    occurs = said + true > 0
    return ClassScores(
        float(right.sum() / max(counts.sum(), 1)),
        float(f1[occurs].mean()) if occurs.any() else 0.0,
        precision,
        recall,
        f1,
    )
