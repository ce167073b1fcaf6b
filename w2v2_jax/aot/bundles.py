"""The programs that libtpu schedules, from its dumps: how often each bundle runs, the units' use.

A program is a list of VLIW bundles. A core issues at most one bundle per cycle, in order. Bundles
of a loop run once per trip, without the regions that branches jump over. Two kinds of branches are
understood: a comparison of the loop's index (a pipeline's first and last trips only load or store),
and "not the last window" along an axis that is summed over. Others count as not taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FILE = re.compile(r"^(\d+)-(.+)-\d+-final_bundles\.txt$")
UTILIZATION = "{}-{}-*-final_hlo-static-per-bundle-utilization.txt"
BUNDLE = re.compile(r"^ *(?:0x[0-9a-f]+|0) +[A-Z]* *: [> ]*\{", re.MULTILINE)
REGION = re.compile(
    r"Start(?:/End empty)? region (\d+)"
)  # in a comment of the region's first bundle
BRANCH = re.compile(r"sbr\.rel \((!?)%(\w+)\) target = \$region(\d+)")
GUARD = r"(?:\([^)]*\), )?"  # a predicated instruction has its predicate in front
EXIT = re.compile(
    rf"%(\w+) = scmp\.ge\.s32\.totalorder {GUARD}%\w+_(s\d+), (\d+) /\* loop exit test \*/"
)
COMPARISON = re.compile(
    rf"%(\w+) = scmp\.(ge|lt)\.s32\.totalorder {GUARD}%\w+_(s\d+), (\d+)\b(?! /\* loop exit)"
)
# Not the last of K windows along an axis: index - (K - 1), or one of several, is not zero.
NOT_ZERO = re.compile(rf"%(\w+) = scmp\.ne\.s32\.totalorder {GUARD}%(\w+), 0\b")
TO_LAST = re.compile(rf"%(\w+) = sadd\.s32 {GUARD}(\d{{10}}), %\w+\b(?! */\*)")
EITHER = re.compile(rf"%(\w+) = sor\.u32 {GUARD}%(\w+), %(\w+)")
BOUNDS = re.compile(r"iteration_bounds: \(([\d, ]+)\)")
NOT_BOTH = re.compile(rf"%(\w+) = pnand {GUARD}%(\w+), %(\w+)")
DELAY_SLOTS = 4  # the bundles after a branch that run before it jumps
UNKNOWN = "?"


class Schedule(NamedTuple):
    """One operation's program. cycles: its bundles, as often as they run. slots: unit -> the share
    of these cycles in which all its slots would be busy. unknown_loops: loops whose trips are no
    constant; they count once."""

    cycles: int
    slots: dict[str, float]
    unknown_loops: int

    @property
    def binding(self) -> str:
        """The unit that is busiest."""
        return max(self.slots, key=lambda name: self.slots[name], default=UNKNOWN)


class Branch(NamedTuple):
    """A jump if the predicate is true or, negated, if it is false. at, to: indices of bundles."""

    at: int
    to: int
    negated: bool
    predicate: str


class Comparison(NamedTuple):
    """True if the register is at least the constant or, if below is set, less than it."""

    register: str
    constant: int
    below: bool


class Predicates(NamedTuple):
    """exits: predicate that ends a loop -> register of the loop's index and trips. comparisons: of
    a register. nands: predicate -> the two that are not both true."""

    exits: dict[str, tuple[str, int]]
    comparisons: dict[str, Comparison]
    nands: dict[str, tuple[str, str]]

    def holds(self, name: str, register: str, index: int) -> bool | None:
        """The predicate if the register has this value; None if it depends on something else."""
        if name in self.nands:
            both = [self.holds(one, register, index) for one in self.nands[name]]
            return None if None in both else not all(both)
        found = self.comparisons.get(name)
        if found is None or found.register != register:
            return None
        return (index < found.constant) if found.below else (index >= found.constant)


def predicates_of(bundles: str) -> Predicates:
    """What a program's branches can be decided by."""
    return Predicates(
        {name: (register, int(n)) for name, register, n in EXIT.findall(bundles)},
        {
            name: Comparison(register, int(n), how == "lt")
            for name, how, register, n in COMPARISON.findall(bundles)
        },
        {name: (first, second) for name, first, second in NOT_BOTH.findall(bundles)},
    )


def not_last(bundles: str) -> dict[str, int]:
    """Predicate that is false in the last window of each axis that is summed over -> the number of
    windows of these axes."""
    bounds = {int(n) for line in BOUNDS.findall(bundles) for n in line.split(",") if n.strip()}
    windows = {name: 2**32 - int(n) + 1 for name, n in TO_LAST.findall(bundles)}
    windows = {name: n for name, n in windows.items() if n in bounds}
    for name, first, second in EITHER.findall(bundles):
        if first in windows and second in windows:
            windows[name] = windows[first] * windows[second]
    found = NOT_ZERO.findall(bundles)
    return {name: windows[value] for name, value in found if value in windows}


def branches_of(texts: list[str]) -> list[Branch]:
    """The branches of a program, from the texts of its bundles."""
    places: dict[str, int] = {}
    for i, text in enumerate(texts):
        for region in REGION.findall(text):
            places.setdefault(region, i)
    return [
        Branch(i, places[region], bool(negated), predicate)
        for i, text in enumerate(texts)
        for negated, predicate, region in BRANCH.findall(text)
        if region in places
    ]


def weights_of(bundles: str) -> tuple[list[int], int]:
    """How often each bundle of a program runs, and the number of loops whose trips are unknown."""
    found = list(BUNDLE.finditer(bundles))
    ends = [one.start() for one in found[1:]] + [len(bundles)]
    texts = [bundles[one.start() : end] for one, end in zip(found, ends, strict=True)]
    predicates, branches = predicates_of(bundles), branches_of(texts)
    loops = [one for one in branches if one.to <= one.at]
    weights, unknown = [1] * len(texts), 0
    for loop in loops:
        if not loop.negated or loop.predicate not in predicates.exits:
            unknown += 1
            continue
        inside = [one for one in branches if loop.to <= one.at < one.to <= loop.at]
        for i, runs in _runs(loop, inside, predicates).items():
            if i < len(weights):
                weights[i] *= runs
    windows, of = [1] * len(weights), not_last(bundles)
    for branch in branches:
        if branch.predicate in of and not branch.negated:
            for i in range(branch.at + DELAY_SLOTS + 1, branch.to):
                windows[i] = max(windows[i], of[branch.predicate])
    return [max(1, round(w / n)) for w, n in zip(weights, windows, strict=True)], unknown


def _runs(loop: Branch, inside: list[Branch], predicates: Predicates) -> Mapping[int, int]:
    """Index of a bundle of a loop -> how often it runs in all trips; inside: branches forward."""
    register, trips = predicates.exits[loop.predicate]
    runs = dict.fromkeys(range(loop.to, loop.at + DELAY_SLOTS + 1), trips)
    for branch in inside:
        values = [predicates.holds(branch.predicate, register, index) for index in range(trips)]
        if None in values:
            continue
        stays = values.count(branch.negated)
        for i in range(branch.at + DELAY_SLOTS + 1, branch.to):
            runs[i] = min(runs[i], stays)
    return runs


def read(bundles: str, utilization: str) -> Schedule:
    """The schedule of the two files' texts; ValueError if they are not of one program."""
    weights, unknown = weights_of(bundles)
    lines = utilization.splitlines()
    names = [name.strip() for name in lines[1].split(",")]
    capacity = [int(number) for number in lines[2].split()]
    rows = [[int(number) for number in line.split()] for line in lines[4:] if line.strip()]
    if len(rows) != len(weights) or len(names) != len(capacity):
        raise ValueError(f"{len(weights)} bundles, but {len(rows)} rows of utilization")
    cycles = sum(weights)
    used = [
        sum(w * row[i] for w, row in zip(weights, rows, strict=True)) for i in range(len(names))
    ]
    shares = [total / most / max(cycles, 1) for total, most in zip(used, capacity, strict=True)]
    return Schedule(cycles, dict(zip(names, shares, strict=True)), unknown)


def read_folder(folder: Path) -> dict[str, Schedule]:
    """Name of an operation -> its schedule, the newest where a name was compiled several times."""
    schedules = {}
    for path in sorted(folder.iterdir()):
        match = FILE.match(path.name)
        tables = sorted(folder.glob(UTILIZATION.format(*match.groups()))) if match else []
        if match and tables:
            schedules[match.group(2)] = read(path.read_text(), tables[-1].read_text())
    return schedules
