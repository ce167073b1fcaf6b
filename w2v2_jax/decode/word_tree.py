"""The tree of a lexicon's spellings, as arrays, for `numpy_search`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROOT = 0
MOST_HOMOPHONES = 6  # words of one spelling; flashlight's tree has room for no more


class WordTree(NamedTuple):
    """Nodes are numbered level by level, so that a node's children have consecutive numbers."""

    first: np.ndarray  # [n] int64, the first child
    children: np.ndarray  # [n] int64, how many there are
    symbol: np.ndarray  # [n] int64, the symbol that leads here
    best: np.ndarray  # [n] float32, the best score of a word here or below
    words: np.ndarray  # [n, H] int64, the words that end here, first ones first, else -1
    homophones: np.ndarray  # [n] int64, how many end here


def _levels(spellings: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parents [n] and symbols [n] of all nodes, and the node [W] at which each spelling ends."""
    lengths = np.array([len(spelling) for spelling in spellings])
    table = np.zeros((len(lengths), lengths.max(initial=0)), np.int64)
    for row, spelling in zip(table, spellings, strict=True):
        row[: len(spelling)] = spelling
    at, size = np.full(len(lengths), ROOT), 1
    parents, symbols = [np.array([-1])], [np.array([-1])]
    width = int(table.max(initial=0)) + 1
    for level in range(table.shape[1]):
        rows = np.flatnonzero(lengths > level)
        keys, number = np.unique(at[rows] * width + table[rows, level], return_inverse=True)
        parents.append(keys // width)
        symbols.append(keys % width)
        at[rows] = size + number
        size += len(keys)
    return np.concatenate(parents), np.concatenate(symbols), at


def word_tree(spellings: Sequence[Sequence[int]], words: Sequence[int], scores) -> WordTree:
    """The tree of spellings (symbol numbers) of words, each with its score [W].

    A node's score is that of the best word below it; words of one spelling count as their sum.
    """
    parents, symbols, ends = _levels(spellings)
    size = len(parents)
    first = np.searchsorted(parents, np.arange(size))
    children = np.searchsorted(parents, np.arange(size), side="right") - first
    # Rank among the words that end at one node, in the lexicon's order.
    order = np.argsort(ends, kind="stable")
    rank = np.empty(len(ends), np.int64)
    rank[order] = np.arange(len(ends)) - np.searchsorted(ends[order], ends[order])
    room = rank < MOST_HOMOPHONES
    held = np.full((size, min(MOST_HOMOPHONES, int(rank.max(initial=0)) + 1)), -1)
    held[ends[room], rank[room]] = np.asarray(words)[room]
    best = np.full(size, -np.inf, np.float32)
    for number in range(held.shape[1]):
        rows = np.flatnonzero(rank == number)
        joined = np.logaddexp(best[ends[rows]].astype(float), np.asarray(scores, float)[rows])
        best[ends[rows]] = joined
    for node in range(size - 1, ROOT, -1):
        if best[node] > best[parents[node]]:
            best[parents[node]] = best[node]
    return WordTree(first, children, symbols, best, held, (held >= 0).sum(1))
