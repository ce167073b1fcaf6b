"""A second estimate of time: the programs that libtpu schedules, and the bytes they move.

libtpu writes the final program of every operation that it compiles, one VLIW bundle per line, and
the units that each bundle uses. A core issues at most one bundle per cycle, in order. So the
bundles of a loop's body times its trips are a lower bound of its cycles, and bytes over HBM's rate
are another. Predicated regions count as if they ran. XLA's `estimated_cycles` is a cost model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.aot.chips import Chip
from w2v2_jax.aot.cycles import Cost
from w2v2_jax.errors import InputError

# For LIBTPU_INIT_ARGS, which libtpu reads when it is loaded.
FLAGS = "--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
BUNDLE = re.compile(r"^ *(?:0x[0-9a-f]+|0) +(LB)?[A-Z]* *: ([> ]*)\{", re.MULTILINE)
EXIT = re.compile(r"scmp\.\w+\.\w+\.totalorder %\w+, (\d+) /\* loop exit test \*/")
FILE = re.compile(r"^(\d+)-(.+)-\d+-final_bundles\.txt$")
UTILIZATION = "{}-{}-*-final_hlo-static-per-bundle-utilization.txt"
HBM, UNKNOWN = "HBM", "?"


class Schedule(NamedTuple):
    """One operation's program. cycles: its bundles, loops multiplied by their trips. slots: unit ->
    the share of these cycles in which all its slots would be busy. unknown_loops: loops whose trips
    are no constant; they count once."""

    cycles: int
    slots: dict[str, float]
    unknown_loops: int

    @property
    def binding(self) -> str:
        """The unit that is busiest."""
        return max(self.slots, key=lambda name: self.slots[name], default=UNKNOWN)


class Estimate(NamedTuple):
    """seconds of a step. memory: the seconds of operations that HBM bounds. without: operations
    with an estimate of XLA's but no schedule, which count by their bytes. top: the dearest."""

    seconds: float
    memory: float
    without: int
    unknown_loops: int
    top: list[dict]


def weights_of(bundles: str) -> tuple[list[int], int]:
    """How often each bundle of a program runs, and the number of loops whose trips are unknown."""
    starts = list(BUNDLE.finditer(bundles))
    ends = [one.start() for one in starts[1:]] + [len(bundles)]
    depths = [one.group(2).count(">") for one in starts]
    weights, unknown = [1] * len(starts), 0
    for first, start in enumerate(starts):
        if not start.group(1):
            continue
        depth = depths[first]
        inside = range(first + 1, len(starts))
        last = next((i for i in inside if depths[i] < depth or _new_loop(starts[i], depth)), None)
        body = range(first, len(starts) if last is None else last)
        own = [i for i in body if depths[i] == depth]
        tests = [EXIT.search(bundles, starts[i].start(), ends[i]) for i in own]
        trips = [int(test.group(1)) for test in tests if test]
        unknown += not trips
        for i in body:
            weights[i] *= trips[-1] if trips else 1
    return weights, unknown


def _new_loop(start: re.Match, depth: int) -> bool:
    return bool(start.group(1)) and start.group(2).count(">") == depth


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
        if not match or match.group(2).endswith("schedule-analysis"):
            continue
        stamp, name = match.groups()
        tables = sorted(folder.glob(UTILIZATION.format(stamp, name)))
        if tables:
            schedules[name] = read(path.read_text(), tables[-1].read_text())
    return schedules


def estimate(operations: Iterable[Cost], schedules: Mapping[str, Schedule], chip: Chip) -> Estimate:
    """Adds up a step: of each operation the longer of its schedule and its bytes."""
    rows: list[dict] = []
    without = unknown = 0
    for one in operations:
        schedule = schedules.get(one.name)
        moved = one.bytes / chip.hbm_rate
        issued = schedule.cycles * one.times / chip.clock if schedule else 0.0
        without += schedule is None and bool(one.cycles)
        unknown += schedule.unknown_loops if schedule else 0
        binding = HBM if moved >= issued else schedule.binding if schedule else UNKNOWN
        rows.append({
            "name": one.name, "part": one.part, "times": one.times, "unit": binding,
            "seconds": max(moved, issued), "schedule": issued, "memory": moved,
            "xla": (one.cycles or 0) / chip.clock,
        })  # fmt: skip
    rows.sort(key=lambda row: row["seconds"], reverse=True)
    seconds = sum(row["seconds"] for row in rows)
    memory = sum(row["seconds"] for row in rows if row["unit"] == HBM)
    return Estimate(seconds, memory, without, unknown, rows[:10])


def request(folder: Path) -> None:
    """Has libtpu write its schedules to the folder; before libtpu is loaded."""
    flags = (os.environ.get("LIBTPU_INIT_ARGS", ""), FLAGS.format(folder=folder))
    os.environ["LIBTPU_INIT_ARGS"] = " ".join(filter(None, flags))


def empty_folder(folder: Path) -> Path:
    """Makes the folder for the dumps; InputError if something is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(f"--schedules {folder} is not empty; name a new folder")
    return folder.resolve()
