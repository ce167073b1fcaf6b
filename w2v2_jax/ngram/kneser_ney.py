"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, section 4; as lmplz, Heafield
et al. 2013): probabilities and backoffs from counted n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.ngram.counts import Grams
from w2v2_jax.ngram.text import END, START, UNKNOWN

FALLBACK = (0.5, 1.0, 1.5)  # lmplz's, for text without n-grams of one of the small counts


class Estimated(NamedTuple):
    """One order of a model; probabilities are plain, not logarithms."""

    grams: Grams
    kept: np.ndarray  # [n] bool, false where pruned
    probability: np.ndarray  # [n] of the last word after the others, interpolated
    backoff: np.ndarray  # [n] weight of the order below after these words, 1 if not a context
    discounts: tuple[float, float, float]  # of counts 1, 2, and 3 or more


def adjusted_counts(orders: Sequence[Grams]) -> list[np.ndarray]:
    """[n] of each order: in how many different words' company an n-gram occurs on its left.

    The highest order and n-grams that begin a sentence (nothing stands before `<s>`) keep their
    own counts; `<s>` itself, which is never predicted, has none.
    """
    adjusted = []
    for grams, above in zip(orders, [*orders[1:], None], strict=True):
        if above is None:
            counts = grams.count.copy()
        else:
            counts = np.bincount(above.suffix, minlength=len(grams.first))
            begins = grams.first == START
            counts[begins] = grams.count[begins]
        adjusted.append(counts)
    adjusted[0][[START, UNKNOWN]] = 0
    return adjusted


def contexts(orders: Sequence[Grams]) -> list[np.ndarray]:
    """[n] of each order: the index, one order below, of all words but the last."""
    vocabulary = len(orders[0].first)
    counts = [np.zeros(vocabulary, np.int64)]
    for k in range(1, len(orders)):
        grams, below = orders[k], orders[k - 1]
        if k == 1:
            counts.append(grams.first.astype(np.int64))
            continue
        # A context is (first word, context of the suffix), and orders are sorted by such pairs.
        keys = below.suffix * vocabulary + below.first
        wanted = counts[k - 1][grams.suffix] * vocabulary + grams.first
        counts.append(np.searchsorted(keys, wanted))
    return counts


def discounts(adjusted: np.ndarray, *, order: int, fallback: bool) -> tuple[float, float, float]:
    """D1, D2, D3+ of one order in closed form (Chen and Goodman, equation 26).

    Raises InputError when the text has too few different counts, unless `fallback`.
    """
    n = np.bincount(np.minimum(adjusted, 5), minlength=6).astype(float)  # n[1] .. n[4]
    if np.all(n[1:4] > 0):
        y = n[1] / (n[1] + 2 * n[2])
        values = tuple(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))
        if all(0 <= d <= j for j, d in enumerate(values, 1)):
            return values
    if fallback:
        return FALLBACK
    raise InputError(
        f"the text is too small or too uniform to estimate {order}-grams (there are {n[1]:.0f}, "
        f"{n[2]:.0f}, {n[3]:.0f} and {n[4]:.0f} with adjusted counts 1 to 4): use more text, a "
        "lower --order, or --discount-fallback"
    )


def _kept(grams: Grams, *, order: int, threshold: int) -> np.ndarray:
    frequent = grams.count > threshold
    if order == 1:
        frequent[[UNKNOWN, START, END]] = True
    return frequent


def estimate(
    orders: Sequence[Grams], *, prune: Sequence[int], fallback: bool = False
) -> list[Estimated]:
    """Estimates all orders.

    Args:
      orders: from `counts.count`.
      prune: for each order, the highest count that is left out; must not fall (or a kept n-gram
        could lack its context). What pruning takes away goes to the order below, so the
        probabilities after any words still sum to 1.
      fallback: replaces discounts that cannot be estimated by FALLBACK.
    """
    vocabulary = len(orders[0].first)
    adjusted, context = adjusted_counts(orders), contexts(orders)
    below = None  # probabilities of the order below
    done: list[Estimated] = []
    for k, grams in enumerate(orders):
        counts = adjusted[k]
        frequent = _kept(grams, order=k + 1, threshold=prune[k])
        d = discounts(counts, order=k + 1, fallback=fallback)
        discount = np.array([0.0, *d])[np.minimum(counts, 3)]
        size = len(orders[k - 1].first) if k else 1
        total = np.bincount(context[k], weights=counts, minlength=size)
        left = np.bincount(context[k], weights=np.where(frequent, discount, counts), minlength=size)
        weight = np.divide(left, total, out=np.ones(size), where=total > 0)
        if below is None:
            lower = np.full(vocabulary, 1 / (np.count_nonzero(frequent) - 1))  # all words but <s>
        else:
            lower = below[grams.suffix]
        probability = (counts - discount) / total[context[k]] + weight[context[k]] * lower
        if k == 0:
            probability[START] = 1.0  # never asked for; lmplz writes the same
        else:
            done[-1] = done[-1]._replace(backoff=weight)
        done.append(Estimated(grams, frequent, probability, np.ones(len(counts)), d))
        below = probability
    return done
