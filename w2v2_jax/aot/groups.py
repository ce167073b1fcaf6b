"""Which devices a collective joins, from the three ways the compiled text writes them."""

from __future__ import annotations

import re

import numpy as np

LIST = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:\s*,\s*device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?"
    r"\s*\{([^}]*)\}"
)
PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n.strip())


def _iota(dims: str, transpose: str | None) -> np.ndarray:
    sizes = _numbers(dims)
    ids = np.arange(int(np.prod(sizes))).reshape(sizes)
    return (ids.transpose(_numbers(transpose)) if transpose else ids).reshape(-1)


def _mesh_groups(match: re.Match) -> np.ndarray:
    """mesh['a'=2,'b'=4] {'b'}: groups run over the named axes or parts `'b':(1)2` of them."""
    axes = re.findall(r"'([^']+)'\s*=\s*(\d+)", match.group(1))
    total = int(np.prod([int(size) for _, size in axes]))
    ids = _iota(match.group(2), match.group(3)) if match.group(2) else np.arange(total)
    wanted = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", match.group(4))
    sizes: list[int] = []
    inside: dict[tuple[str, int], int] = {}
    for name, size in axes:  # an axis in part is split as before x part x after
        size, cuts = int(size), list[tuple[int | None, int]]()
        for axis, before, part in wanted:
            if axis == name and part:
                before, part = int(before), int(part)
                cuts = [(None, before), (before, part), (None, size // before // part)]
                break
        else:
            cuts = [(0 if any(axis == name for axis, _, _ in wanted) else None, size)]
        for mark, length in cuts:
            if mark is not None:
                inside[(name, mark)] = len(sizes)
            sizes.append(length)
    order = [inside[(axis, int(before) if part else 0)] for axis, before, part in wanted]
    rest = [place for place in range(len(sizes)) if place not in order]
    width = int(np.prod([sizes[place] for place in order]))
    return ids.reshape(sizes).transpose(rest + order).reshape(-1, width)


def device_groups(attributes: str, devices: int) -> list[tuple[int, ...]]:
    """The groups of devices, as places in the mesh's flat order; pairs for a permutation.

    Without groups, or with the empty list, all devices are one group.
    """
    match = MESH.search(attributes)
    if match:
        return [tuple(map(int, group)) for group in _mesh_groups(match)]
    match = IOTA.search(attributes)
    if match:
        shape = _numbers(match.group(1))
        ids = _iota(match.group(2), match.group(3)).reshape(shape[0], -1)
        return [tuple(map(int, group)) for group in ids]
    match = LIST.search(attributes) or PAIRS.search(attributes)
    if match:
        groups = [_numbers(group) for group in re.findall(r"\{([\d,]*)\}", match.group(1))]
        groups = [group for group in groups if group]
        if groups:
            return groups
    if "replica_groups=" in attributes and "replica_groups={}" not in attributes:
        raise ValueError(f"replica groups not read: {attributes[:200]}")
    return [tuple(range(devices))]
