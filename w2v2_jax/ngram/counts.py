"""Counts of all n-grams of a spooled text, by sorted runs on disk that are merged once.

An n-gram of order k is the pair (first word, index of its suffix among the n-grams of order k-1),
and each order is sorted by (suffix, first word). So all orders come out of one pass over the
highest one sorted from its last word backwards, and no row of words is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.ngram.text import END, START

Rows = list[np.ndarray]  # uint64 keys that sort as the words do from the last one backwards


class Grams(NamedTuple):
    """The n-grams of one order, n of them; order 1 has one row for each word of the vocabulary."""

    first: np.ndarray  # [n] int32, id of the first word
    suffix: np.ndarray  # [n] int64, index of the rest in the order below (0 in order 1)
    count: np.ndarray  # [n] int64, occurrences


class Packing(NamedTuple):
    """How `order` word ids are packed into the fewest uint64 keys that hold them."""

    order: int
    bits: int

    @property
    def per_key(self) -> int:
        return 64 // self.bits

    def pack(self, columns: list[np.ndarray]) -> Rows:
        """columns[j]: the word j places before the last, [n] each."""
        keys = []
        for start in range(0, self.order, self.per_key):
            key = np.zeros(len(columns[0]), np.uint64)
            for column in columns[start : start + self.per_key]:
                key = (key << np.uint64(self.bits)) | column.astype(np.uint64)
            keys.append(key)
        return keys

    def unpack(self, keys: Rows) -> list[np.ndarray]:
        """The columns of `pack`, int64."""
        columns = []
        mask = np.uint64((1 << self.bits) - 1)
        for number, key in enumerate(keys):
            held = min(self.per_key, self.order - number * self.per_key)
            shifts = [np.uint64(self.bits * (held - 1 - j)) for j in range(held)]
            columns += [((key >> shift) & mask).astype(np.int64) for shift in shifts]
        return columns


def packing(order: int, vocabulary: int) -> Packing:
    """For n-grams of `order` ids below `vocabulary`."""
    return Packing(order, max(1, (vocabulary - 1).bit_length()))


def windows(ids: np.ndarray, order: int) -> list[np.ndarray]:
    """For every word of whole sentences [M]: the words 0 .. order-1 places before it, [M] each.

    Before a sentence's start stands `<s>`, as often as needed.
    """
    ends = np.flatnonzero(ids == END)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(ids)) - np.repeat(starts, ends - starts + 1)
    columns = [ids]
    for back in range(1, order):
        column = np.full(len(ids), START, ids.dtype)
        column[back:] = ids[:-back]
        columns.append(np.where(place >= back, column, START))
    return columns


def _changes(columns: Iterable[np.ndarray]) -> np.ndarray:
    """[n] bool: where a row differs from the one before it; true at the first."""
    changed = np.zeros(0, bool)
    for place, column in enumerate(columns):
        here = np.ones(len(column), bool)
        here[1:] = column[1:] != column[:-1]
        changed = changed | here if place else here
    return changed


def sum_equal(keys: Rows, counts: np.ndarray) -> tuple[Rows, np.ndarray]:
    """Sorted rows without duplicates, and the summed counts of each."""
    order = np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0], kind="stable")
    keys = [key[order] for key in keys]
    first = np.flatnonzero(_changes(keys))
    return [key[first] for key in keys], np.add.reduceat(counts[order], first)


def write_runs(ids: np.ndarray, layout: Packing, folder: Path, *, rows: int) -> list[Path]:
    """Sorts and counts `rows` words at a time (more only for a longer sentence); one file each."""
    paths: list[Path] = []
    start = 0
    while start < len(ids):
        stop = min(start + rows, len(ids))
        while stop < len(ids) and ids[stop - 1] != END:
            stop += 1
        chunk = np.asarray(ids[start:stop])
        keys = layout.pack(windows(chunk, layout.order))
        keys, counts = sum_equal(keys, np.ones(len(chunk), np.int64))
        paths.append(folder / f"run{len(paths)}.npy")
        np.save(paths[-1], np.stack([*keys, counts.astype(np.uint64)]))  # [keys + 1, n]
        start = stop
    return paths


def _up_to(rows: np.ndarray, pivot: np.ndarray) -> int:
    """How many of the sorted rows [keys, n] do not stand after the pivot [keys]."""
    before = np.zeros(rows.shape[1], bool)
    equal = np.ones(rows.shape[1], bool)
    for key, limit in zip(rows, pivot, strict=True):
        before |= equal & (key < limit)
        equal &= key == limit
    return int(np.count_nonzero(before | equal))


def merge(paths: list[Path], *, rows: int) -> Iterator[tuple[Rows, np.ndarray]]:
    """All rows in order without duplicates, with summed counts, about `rows` of them at a time."""
    runs = [np.load(path, mmap_mode="r") for path in paths]
    positions = [0] * len(runs)
    block = max(1, rows // len(runs))
    while any(run.shape[1] > at for run, at in zip(runs, positions, strict=True)):
        heads = [
            np.asarray(run[:, at : at + block]) for run, at in zip(runs, positions, strict=True)
        ]
        # Nothing after the smallest last row may leave yet: its run may hold rows before them.
        limits = [
            tuple(head[:-1, -1])
            for head, run, at in zip(heads, runs, positions, strict=True)
            if at + block < run.shape[1]
        ]
        taken = [
            _up_to(head[:-1], np.array(min(limits))) if limits else head.shape[1] for head in heads
        ]
        positions = [at + count for at, count in zip(positions, taken, strict=True)]
        joined = np.concatenate([h[:, :n] for h, n in zip(heads, taken, strict=True)], axis=1)
        yield sum_equal(list(joined[:-1]), joined[-1].astype(np.int64))


class _Order:
    """Grows the n-grams of one order block by block."""

    def __init__(self):
        self.size = 0
        self.parts: list[Grams] = []

    def add(self, first, suffix, new, valid, counts) -> np.ndarray:
        """Appends the rows marked new; returns each row's index in this order [n]."""
        index = self.size - 1 + np.cumsum(new)
        # Slot 0 is the last n-gram of the block before, which may go on.
        sums = np.bincount(
            index[valid] - (self.size - 1), weights=counts[valid], minlength=int(new.sum()) + 1
        ).astype(np.int64)
        if self.parts:
            self.parts[-1].count[-1] += sums[0]
        if new.any():
            self.parts.append(Grams(first[new].astype(np.int32), suffix[new], sums[1:]))
            self.size += int(new.sum())
        return index

    def finish(self) -> Grams:
        return Grams(*(np.concatenate(column) for column in zip(*self.parts, strict=True)))


def collect(
    blocks: Iterable[tuple[Rows, np.ndarray]], layout: Packing, vocabulary: int
) -> list[Grams]:
    """The n-grams of orders 1 .. order from the merged rows of the highest."""
    unigrams = np.zeros(vocabulary, np.int64)
    orders = [_Order() for _ in range(layout.order - 1)]
    last: list[int] | None = None
    for keys, counts in blocks:
        columns = layout.unpack(keys)
        unigrams += np.bincount(columns[0], weights=counts, minlength=vocabulary).astype(np.int64)
        index = columns[0]
        changed = np.zeros(len(counts), bool)
        valid = np.ones(len(counts), bool)
        for level, order in enumerate(orders, 1):
            changed |= _changes(columns[level - 1 : level + 1])
            changed[0] = last is None or any(columns[j][0] != last[j] for j in range(level + 1))
            # `<s>` stands only at the front of an n-gram.
            valid &= columns[level - 1] != START
            index = order.add(columns[level], index, changed & valid, valid, counts)
        last = [int(column[-1]) for column in columns]
    if not all(order.parts for order in orders):
        raise InputError(
            f"--order {layout.order}: no sentence has that many words; use a lower order"
        )
    words = np.arange(vocabulary, dtype=np.int32)
    return [Grams(words, np.zeros(vocabulary, np.int64), unigrams)] + [o.finish() for o in orders]


def count(ids: np.ndarray, *, order: int, vocabulary: int, folder: Path, rows: int) -> list[Grams]:
    """N-grams of orders 1 .. order of spooled ids [M] (whole sentences).

    `folder` takes the sorted runs; `rows` words are sorted at once. The result holds every
    distinct n-gram, 20 bytes each.
    """
    layout = packing(order, vocabulary)
    paths = write_runs(ids, layout, folder, rows=rows)
    return collect(merge(paths, rows=rows), layout, vocabulary)
