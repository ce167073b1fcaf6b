"""Texts that are almost the same, among hundreds of thousands (MinHash with bands; Broder 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

GRAM = 5  # bytes
BANDS, ROWS = 6, 3  # a pair of Jaccard index 0.8 shares a band in 98 of 100 cases, one of 0.3 in 15
LEAST_LETTERS = 20  # shorter texts are alike by chance
LEAST_SIMILARITY = 0.7
MOST_COMPARED = 20_000  # pairs
BLOCK = 20_000  # texts hashed at a time
NONE = np.iinfo(np.uint64).max


class Near(NamedTuple):
    """Two texts by their numbers, and the share of their five-byte strings that both contain."""

    first: int
    second: int
    similarity: float


def near_duplicates(texts: Sequence[str]) -> list[Near]:
    """Pairs among different folded texts that are almost the same, the closest first."""
    numbers = [n for n, text in enumerate(texts) if len(text) >= LEAST_LETTERS]
    if len(numbers) < 2:
        return []
    encoded = [texts[n].encode() for n in numbers]
    signatures = np.concatenate(
        [_signatures(encoded[first : first + BLOCK]) for first in range(0, len(encoded), BLOCK)]
    )
    near = []
    for a, b in _candidates(signatures)[:MOST_COMPARED]:
        similarity = _jaccard(encoded[a], encoded[b])
        if similarity >= LEAST_SIMILARITY:
            near.append(Near(numbers[a], numbers[b], similarity))
    return sorted(near, key=lambda pair: -pair.similarity)


def _signatures(texts: list[bytes]) -> np.ndarray:
    """[N, BANDS * ROWS] uint64: for each text and hash function, the least hash of its strings."""
    blob = np.frombuffer(b"".join(texts) + bytes(GRAM), np.uint8).astype(np.uint64)
    ends = np.cumsum([len(text) for text in texts])
    grams = np.zeros(ends[-1], np.uint64)
    for k in range(GRAM):
        grams = grams * np.uint64(257) + blob[k : k + len(grams)]
    across = np.zeros(len(grams), bool)  # strings that reach into the next text
    for k in range(1, GRAM):
        across[ends - k] = True
    starts = np.concatenate([[0], ends[:-1]])
    signatures = np.empty((len(texts), BANDS * ROWS), np.uint64)
    seeds = np.random.default_rng(0).integers(1, 1 << 63, BANDS * ROWS, dtype=np.uint64)
    for column, seed in enumerate(seeds):
        mixed = (grams ^ seed) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * (seed | np.uint64(1))
        mixed = np.where(across, NONE, mixed ^ (mixed >> np.uint64(29)))
        signatures[:, column] = np.minimum.reduceat(mixed, starts)
    return signatures


def _candidates(signatures: np.ndarray) -> list[tuple[int, int]]:
    """Pairs that share a band, those with the most equal hashes first. In a group of texts, each is
    paired with the first only, so that a phrase of thousands of texts gives thousands of pairs."""
    pairs = []
    for band in range(BANDS):
        columns = signatures[:, band * ROWS : (band + 1) * ROWS]
        key = columns @ np.array([1, 1000003, 998244353], np.uint64)
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=key[order[0]] + np.uint64(1)))
        group = np.repeat(order[first], np.diff(np.append(first, len(order))))
        different = group != order
        pairs.append(np.stack([group[different], order[different]], axis=1))
    unique = np.unique(np.concatenate(pairs), axis=0)
    equal = np.array([np.count_nonzero(signatures[a] == signatures[b]) for a, b in unique], int)
    order = np.argsort(-equal, kind="stable")
    return [(int(first), int(second)) for first, second in unique[order]]


def _jaccard(one: bytes, other: bytes) -> float:
    first, second = (
        {text[k : k + GRAM] for k in range(len(text) - GRAM + 1)} for text in (one, other)
    )
    return len(first & second) / len(first | second)
