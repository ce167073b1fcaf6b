"""Multipliers of parameters' learning rates by path, 0 among them, which freezes."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.errors import InputError, likest
from w2v2_jax.trees import name_of

RateTable = tuple["Rate | tuple[str, float]", ...]
# A layer's number or a range of them, as in "layers[0:6]/attention"; what follows the bracket
# otherwise is a regex's own set of characters.
NUMBERED = re.compile(r"layers\[(-?\d+)?(:)?(-?\d+)?\]")
ALMOST_NUMBERED = re.compile(r"layers\[(-?\d|:)")


class Rate(NamedTuple):
    """A row of a table: a regex on paths and the multiplier of what it matches. layers: numbers of
    the layers that it is of, among num_layers stacked ones; None for whole parameters."""

    pattern: str
    value: float
    layers: tuple[int, ...] | None = None
    num_layers: int = 0

    def matches(self, name: str) -> bool:
        return re.search(self.pattern, name) is not None


def rate_table(pairs, num_layers: int) -> RateTable:
    """(pattern, multiplier) pairs of a configuration as rows. "layers[3]" and "layers[0:6]" in a
    pattern are layers by number, as in a Python slice; InputError for those that are not there and
    for what is no regular expression."""
    return tuple(_rate(pattern, value, num_layers) for pattern, value in pairs)


def _rate(pattern: str, value: float, num_layers: int) -> Rate | tuple[str, float]:
    numbers = list(NUMBERED.finditer(pattern))
    if not numbers:
        if ALMOST_NUMBERED.search(pattern):
            raise InputError(
                f"optimizer.rate_by_path: {pattern!r}: write layers by number as layers[3] or "
                "layers[0:6]"
            )
        return _regex(pattern, pattern), value
    first, colon, last = numbers[0].groups()
    every, named = range(num_layers), [int(n) for n in (first, last) if n]
    if len(numbers) > 1 or not (first or colon) or (last and not colon):
        raise InputError(
            f"optimizer.rate_by_path: {pattern!r}: write layers by number once, as layers[3] or "
            "layers[0:6]"
        )
    chosen: tuple[int, ...] = ()
    if all(-num_layers <= n <= num_layers for n in named):
        if colon:
            ends = slice(*(int(n) if n else None for n in (first, last)))
            chosen = tuple(every[ends])
        elif named[0] < num_layers:
            chosen = (every[named[0]],)
    if not chosen:
        raise InputError(
            f"optimizer.rate_by_path: {pattern!r} is none of the network's {num_layers} layers, "
            f"0 to {num_layers - 1}"
        )
    regex = pattern[: numbers[0].start()] + "layers" + pattern[numbers[0].end() :]
    return Rate(_regex(regex, pattern), value, chosen, num_layers)


def _regex(text: str, pattern: str) -> str:
    """The text, if it is a regex; pattern: what the configuration has for it."""
    try:
        re.compile(text)
    except re.error as error:
        raise InputError(
            f"optimizer.rate_by_path: {pattern!r} is no regular expression: {error}"
        ) from error
    return text


def unmatched(pairs, params) -> list[str]:
    """A line for each pattern of a configuration that matches no parameter, as a typo does: it
    freezes and slows nothing. A pattern of which one alternative matches is in order.

    pairs: (pattern, multiplier). params: the tree of parameters, or of their shapes.
    """
    names = [name_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    # "encoder", "encoder/transformer": what a pattern is likely to name, above single matrices
    parts = {"/".join(name.split("/")[:depth]): None for name in names for depth in (1, 2)}
    named = {part.split("/")[-1]: part for part in parts} | {part: part for part in parts}
    tops = list(dict.fromkeys(name.split("/")[0] for name in names))
    lines = []
    for pattern, _ in pairs:
        regex = NUMBERED.sub("layers", pattern)
        if any(re.search(regex, name) for name in names):
            continue
        close = likest(pattern.strip("^$/."), named, most=3)
        near = list(dict.fromkeys(named[name] for name in close)) or tops
        lines.append(
            f"warning: optimizer.rate_by_path: {pattern!r} matches no parameter and changes "
            f"nothing; {'near it are' if close else 'parameters begin with'} {', '.join(near)}"
        )
    return lines


def value_by_path(params, table: RateTable):
    """For each parameter the value of the first row that matches its path: a float, or for stacked
    layers of several values an array [L, 1, ...] of those that are not frozen."""

    def value(path, leaf):
        rates = value_at(path, table)
        if isinstance(rates, float):
            return rates
        learning = np.array([rate for rate in rates if rate], np.float32)
        return learning.reshape(-1, *(1,) * (leaf.ndim - 1))

    return jax.tree_util.tree_map_with_path(value, params)


def value_at(path, table: RateTable) -> float | tuple[float, ...]:
    """One value, or one for each layer of a stack where they differ."""
    name = name_of(path)
    rows = [row for row in (Rate(*row) for row in table) if row.matches(name)]
    count = max((row.num_layers for row in rows), default=0)
    each = tuple(
        next((float(r.value) for r in rows if r.layers is None or layer in r.layers), 1.0)
        for layer in range(max(count, 1))
    )
    return each[0] if len(set(each)) == 1 else each


def freezes(table: RateTable) -> bool:
    """Whether the table freezes any parameter."""
    return any(row[1] == 0 for row in table)


def _is_boxed(leaf) -> bool:
    """With the box that has its axis names."""
    return hasattr(leaf, "unbox")


def trainable(tree, table: RateTable):
    """The tree with None for every parameter whose value in the table is 0, and of stacked layers
    those alone whose value is not."""
    if not freezes(table):
        return tree

    def learning(path, leaf):
        value = value_at(path, table)
        if value == 0:
            return None
        if isinstance(value, float) or all(value):
            return leaf
        if _is_boxed(leaf):
            return leaf.replace_boxed(_taken(leaf.unbox(), value))
        return _taken(leaf, value)

    return jax.tree_util.tree_map_with_path(learning, tree, is_leaf=_is_boxed)


def _runs(value: tuple[float, ...]) -> list[tuple[bool, int]]:
    """Neighbouring layers that learn (True) or are frozen, as how many of them there are."""
    groups = itertools.groupby(value, key=bool)
    return [(learns, len(list(group))) for learns, group in groups]


def _taken(stack, value: tuple[float, ...]):
    """The layers of a stack [L, ...] whose value is not 0."""
    ends = itertools.accumulate(size for _, size in _runs(value))
    runs = zip(_runs(value), ends, strict=True)
    return jnp.concatenate([stack[end - size : end] for (learns, size), end in runs if learns])


def with_frozen(learning, whole, table: RateTable = ()):
    """The inverse of `trainable`: takes a leaf, or layers of a stack, from `whole` if `learning`
    has none."""

    def joined(path, leaf, other):
        if leaf is None:
            return other
        if np.shape(leaf) == np.shape(other):
            return leaf
        parts, start, taken = [], 0, 0
        for learns, size in _runs(value_at(path, table)):
            parts.append(leaf[taken : taken + size] if learns else other[start : start + size])
            start, taken = start + size, taken + size * learns
        return jnp.concatenate(parts)

    return jax.tree_util.tree_map_with_path(
        joined, learning, whole, is_leaf=lambda leaf: leaf is None
    )


def learning_like(moments, gradients, table: RateTable):
    """Gradients of what has moments: those of all parameters, or of those that learn already."""
    sizes = [leaf.shape for leaf in jax.tree.leaves(moments)]
    if sizes == [leaf.shape for leaf in jax.tree.leaves(gradients)]:
        return gradients
    return trainable(gradients, table)
