"""A second estimate of time: the programs that libtpu schedules, and the bytes they move.

libtpu writes the final program of every operation that it compiles, one VLIW bundle per line, and
the units that each bundle uses (`bundles`). The bundles that run are a lower bound of an
operation's cycles; its bytes over HBM's rate and its FLOPs over the chip's peak are others. Stalls,
memory that is read twice and conflicts are in none. XLA's `estimated_cycles` is a cost model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.aot.bundles import UNKNOWN, Schedule
from w2v2_jax.aot.chips import Chip
from w2v2_jax.aot.cycles import Cost
from w2v2_jax.aot.hlo import Instruction, Module
from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_empty_folder

# For LIBTPU_INIT_ARGS, which libtpu reads when it is loaded. Without the regex it writes a program
# after each of its passes: fifty times the bytes, twenty times the files.
FLAGS = (
    "--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true --xla_jf_dump_llo_pass_label_regex="
    "^final(_bundles|_hlo-static-per-bundle-utilization)$"
)
HBM, PEAK, REST = "HBM", "peak", "rest"
# Part of the network -> the scopes of its operations (`cycles.part_of`); the first that matches.
PARTS = {
    "attention": r"\battention/",
    "feed-forward": r"\bfeed_forward_(in|out)\b",
    "feature encoder": r"\bfeature_extractor\b|\bconv_\d",
    "position": r"\bposition\b",
    "quantizer": r"\bquantizer\b",
}


class Estimate(NamedTuple):
    """seconds of a step. memory: the seconds of operations that HBM limits. without: operations
    with an estimate of XLA's but no schedule, which count by their bytes. parts: part of the
    network -> its seconds by schedules and by XLA's cycles. top: the dearest; their busy is the
    share of the scheduled cycles in which the limiting unit is busy, None for HBM and "peak"."""

    seconds: float
    memory: float
    without: int
    unknown_loops: int
    parts: dict[str, dict[str, float]]
    top: list[dict]


def _likeness(module: Module, instruction: Instruction) -> tuple:
    """Equal for instructions that libtpu compiles to one program: arrays, computations, windows."""
    bodies = []
    for called in instruction.names("calls"):
        computation = module.computations[called]
        places = {name: i for i, name in enumerate(computation)}
        bodies.append(
            tuple(
                (one.opcode, one.arrays, tuple(places.get(name) for name in one.operands))
                for one in computation.values()
            )
        )
    window = re.search(r'"window_config":\{[^}]*\}', instruction.attributes)
    how = window.group() if window else None
    if instruction.opcode == "custom-call":  # a kernel of ours: its attributes have its code
        how = instruction.attributes
    operands = tuple(one.arrays for one in module.operands(instruction))
    return instruction.opcode, instruction.arrays, operands, tuple(bodies), how


def with_twins(module: Module, schedules: Mapping[str, Schedule]) -> dict[str, Schedule]:
    """Also the instructions that are equal to another but for their names: libtpu schedules and
    writes such an operation once."""
    instructions = list(module.instructions())
    like = {
        _likeness(module, one): schedules[one.name] for one in instructions if one.name in schedules
    }
    twins = {
        one.name: like[key]
        for one in instructions
        if one.name not in schedules and (key := _likeness(module, one)) in like
    }
    return {**schedules, **twins}


def part(scope: str) -> str:
    """The part of the network that an operation of this scope belongs to."""
    return next((name for name, like in PARTS.items() if re.search(like, scope)), REST)


def estimate(operations: Iterable[Cost], schedules: Mapping[str, Schedule], chip: Chip) -> Estimate:
    """Adds up a step: of each operation the longest of its schedule, its bytes and its FLOPs."""
    rows: list[dict] = []
    without = unknown = 0
    parts = {name: {"seconds": 0.0, "xla": 0.0} for name in (*PARTS, REST)}
    for one in operations:
        schedule = schedules.get(one.name)
        moved = one.bytes / chip.hbm_rate
        issued = schedule.cycles * one.times / chip.clock if schedule else 0.0
        multiplied = one.flops / chip.flops
        without += schedule is None and bool(one.cycles)
        unknown += schedule.unknown_loops if schedule else 0
        binding = schedule.binding if schedule else UNKNOWN
        if max(moved, multiplied) >= issued:
            binding = HBM if moved >= multiplied else PEAK
        rows.append({
            "name": one.name, "part": one.part, "times": one.times, "unit": binding,
            "busy": schedule.slots.get(binding) if schedule else None,
            "seconds": max(moved, issued, multiplied), "schedule": issued, "memory": moved,
            "xla": (one.cycles or 0) / chip.clock,
        })  # fmt: skip
        for key, value in parts[part(one.part)].items():
            parts[part(one.part)][key] = value + rows[-1][key]
    rows.sort(key=lambda row: row["seconds"], reverse=True)
    seconds = sum(row["seconds"] for row in rows)
    memory = sum(row["seconds"] for row in rows if row["unit"] == HBM)
    return Estimate(seconds, memory, without, unknown, parts, rows[:10])


def request(folder: Path) -> None:
    """Has libtpu write its schedules to the folder; before libtpu is loaded."""
    flags = (os.environ.get("LIBTPU_INIT_ARGS", ""), FLAGS.format(folder=folder))
    os.environ["LIBTPU_INIT_ARGS"] = " ".join(filter(None, flags))


def empty_folder(folder: Path) -> Path:
    """Makes the folder for the dumps; InputError if something is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not is_empty_folder(folder):
        raise InputError(f"--schedules {folder} is not empty; name a new folder")
    return folder.resolve()
