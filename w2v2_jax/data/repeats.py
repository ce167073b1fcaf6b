"""How often each utterance occurs in an epoch if the corpora have shares of their own.

An epoch has as much audio as the corpora have together. From each bucket's utterances of one cell
(`data.mixture`) it takes as many as the cell's share of the audio requires, and the next epoch
continues where this one ended. So every utterance is used once before any is used again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from w2v2_jax.data.buckets import Bucket
from w2v2_jax.data.mixture import Mixture

PASS, ROUNDING = 4, 5  # purposes of random draws, distinct from those of `data.epochs`


class Pool(NamedTuple):
    """The utterances [n] of one bucket and one cell, and how many of them an epoch takes on
    average, which is not an integer."""

    utterances: np.ndarray
    rate: float
    number: int  # of the pool among all


class Repeats(NamedTuple):
    """shares: [C] share of each cell. repeats: [C] how often an epoch has an utterance of it.
    pools, sizes: those of each bucket."""

    shares: np.ndarray
    repeats: np.ndarray
    pools: tuple[tuple[Pool, ...], ...]
    sizes: tuple[int, ...]

    def buckets(self, buckets: list[Bucket], *, seed: int, epoch: int) -> list[Bucket]:
        """The buckets with the utterances of an epoch, `sizes` of each, some of them repeated."""
        taken = [self._taken(k, seed, epoch) for k in range(len(buckets))]
        return [b._replace(utterances=some) for b, some in zip(buckets, taken, strict=True)]

    def _taken(self, bucket: int, seed: int, epoch: int) -> np.ndarray:
        """[sizes[bucket]] int32. Systematic sampling: each pool has its rate rounded up or down so
        that the mean is the rate, and the sum is always the same."""
        pools = self.pools[bucket]
        offset = np.random.default_rng((seed, epoch, ROUNDING, bucket)).random()
        ends = np.floor(np.cumsum([pool.rate for pool in pools]) + offset).astype(np.int64)
        ends[-1] = self.sizes[bucket]  # the sum of the rates except for rounding
        counts = np.maximum(np.diff(ends, prepend=0), 0)
        parts = [_stretch(pool, int(n), seed, epoch) for pool, n in zip(pools, counts, strict=True)]
        return np.concatenate(parts)


def _stretch(pool: Pool, count: int, seed: int, epoch: int) -> np.ndarray:
    """[count] of the endless sequence of shuffles of a pool, from where the epochs before ended
    (up to one, because their rates were rounded)."""
    size, first = len(pool.utterances), int(epoch * pool.rate)
    parts = []
    while count:
        number, start = divmod(first, size)
        rng = np.random.default_rng((seed, number, PASS, pool.number))
        parts.append(rng.permutation(pool.utterances)[start : start + count])
        first, count = first + len(parts[-1]), count - len(parts[-1])
    return np.concatenate(parts) if parts else pool.utterances[:0]


def make_repeats(
    buckets: list[Bucket], num_samples: np.ndarray, mixture: Mixture, *, crops: bool
) -> Repeats:
    """Rates that give every cell its share of the audio in the rows. Shares are computed from whole
    utterances; with crops, a row holds the length of its bucket.

    Raises InputError if a cell has no usable utterance.
    """
    count = len(mixture.names)
    amounts, heard = np.zeros(count), np.zeros(count)
    for bucket in buckets:
        cells, lengths = mixture.cells[bucket.utterances], num_samples[bucket.utterances]
        amounts += np.bincount(cells, lengths, minlength=count)
        rows = np.full(len(cells), bucket.samples) if crops else lengths
        heard += np.bincount(cells, rows, minlength=count)
    shares = mixture.shares(amounts)
    repeats = shares * heard.sum() / heard
    pools, sizes = [], []
    for k, bucket in enumerate(buckets):
        cells = mixture.cells[bucket.utterances]
        present = np.unique(cells).tolist()
        members = [bucket.utterances[cells == cell] for cell in present]
        rates = np.array([len(m) * repeats[c] for m, c in zip(members, present, strict=True)])
        sizes.append(max(1, round(float(rates.sum()))))
        rates = (rates * sizes[-1] / rates.sum()).tolist()
        numbers = [k * count + cell for cell in present]
        pools.append(tuple(map(Pool, members, rates, numbers)))
    return Repeats(shares, repeats, tuple(pools), tuple(sizes))
