"""XLA's compiled text as data: instructions, their shapes, and how often each computation runs.

Only what a cost report needs is read. The text is the scheduled module of one device, so all sizes
are bytes per device.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

BITS = {
    "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
    "s32": 32, "u32": 32, "s64": 64, "u64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64,
    "c64": 64, "c128": 128,
}  # fmt: skip
ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,<= ]*)\]((?:\{[^{}]*\})?)")
NAME = re.compile(r"%([\w.\-]+)")
HEADER = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s.*->.*\{\s*$")
INSTRUCTION = re.compile(r"^\s+(ROOT\s+)?%?([\w.\-]+) = (.*)$")


class ArrayShape(NamedTuple):
    """One array of a shape. space: 0 is the main memory (HBM), others are on the chip's core."""

    dtype: str
    dims: tuple[int, ...]
    space: int

    @property
    def elements(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        bits = BITS.get(self.dtype, 8 if self.dtype.startswith("f8") else 0)
        return (self.elements * bits + 7) // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """name = arrays opcode(operands), attributes; `where` is its computation."""

    name: str
    arrays: tuple[ArrayShape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    where: str
    root: bool

    @property
    def bytes(self) -> int:
        return sum(array.bytes for array in self.arrays)

    def names(self, attribute: str) -> tuple[str, ...]:
        """Computations named by an attribute, `calls=%x` or `branch_computations={%x, %y}`."""
        match = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
        return tuple(re.findall(r"[\w.\-]+", match.group(1))) if match else ()

    def integers(self, attribute: str) -> tuple[int, ...]:
        """The numbers of an attribute, `dimensions={0,1}` or `channel_id=3`; () where absent."""
        match = re.search(rf"\b{attribute}=(?:\{{([\d,]*)\}}|(\d+))", self.attributes)
        text = (match.group(1) or match.group(2) or "") if match else ""
        return tuple(int(n) for n in text.split(",") if n)

    def quoted(self, key: str) -> str | None:
        """A value of the backend's JSON or of the metadata: `"key":"value"` or key="value"."""
        match = re.search(rf'"{key}"\s*:\s*"([^"]*)"|\b{key}="([^"]*)"', self.attributes)
        return (match.group(1) or match.group(2)) if match else None


@dataclasses.dataclass(frozen=True)
class Module:
    """Computations by name, each its instructions by name in schedule order."""

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def instructions(self) -> Iterator[Instruction]:
        for computation in self.computations.values():
            yield from computation.values()

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """The instructions an instruction reads, in order."""
        near = self.computations[instruction.where]
        return [near[name] for name in instruction.operands if name in near]


def arrays_of(text: str) -> tuple[ArrayShape, ...]:
    """The arrays of a shape, `f32[8,128]{1,0:T(8,128)S(1)}` or a tuple of them."""
    arrays = []
    for dtype, dims, layout in ARRAY.findall(text):
        if dtype not in BITS and not dtype.startswith("f8"):
            continue
        sizes = tuple(int(n.strip("<= ")) for n in dims.split(",") if n.strip("<= "))
        space = re.search(r"S\((\d+)\)", layout)
        arrays.append(ArrayShape(dtype, sizes, int(space.group(1)) if space else 0))
    return tuple(arrays)


def _balanced(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] in "([{") - (text[place] in ")]}")
        if depth == 0:
            return place
    raise ValueError(f"unbalanced brackets in {text[:200]!r}")


def _instruction(line: str, where: str) -> Instruction | None:
    match = INSTRUCTION.match(line)
    if not match:
        return None
    root, name, rest = match.groups()
    if rest.startswith("("):
        end = _balanced(rest, 0) + 1
    else:
        end = rest.index(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    close = _balanced(rest, len(opcode))
    inside = rest[len(opcode) + 1 : close]
    operands = () if opcode in ("constant", "parameter") else tuple(NAME.findall(inside))
    attributes = rest[close + 1 :]
    if opcode in ("constant", "parameter"):
        attributes = f", value={inside}{attributes}"
    return Instruction(name, arrays_of(shape), opcode, operands, attributes, where, bool(root))


def parse(text: str) -> Module:
    """The module of `compiled.as_text()`; raises ValueError if it has no ENTRY."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry = where = None
    for line in text.splitlines():
        if where is None:
            header = HEADER.match(line)
            if header and not line.startswith("HloModule"):
                where = header.group(2)
                computations[where] = {}
                entry = where if header.group(1) else entry
        elif line.startswith("}"):
            where = None
        else:
            instruction = _instruction(line, where)
            if instruction:
                computations[where][instruction.name] = instruction
    if entry is None:
        raise ValueError("the compiled text has no ENTRY computation")
    return Module(computations, entry)


def _counted(module: Module, loop: Instruction) -> int | None:
    """Trips of a loop `i < constant` that counts up by one from zero, from its condition."""
    condition = module.computations[loop.names("condition")[0]]
    root = next(i for i in condition.values() if i.root)
    if root.opcode == "fusion":  # the comparison and, as a parameter or inside, its constant
        condition = {**condition, **module.computations[root.names("calls")[0]]}
        root = next(i for i in condition.values() if i.root and i.opcode != "fusion")
    constants = [i for i in condition.values() if i.opcode == "constant" and not i.arrays[0].dims]
    if root.opcode != "compare" or "direction=LT" not in root.attributes or len(constants) != 1:
        return None
    value = re.match(r", value=(\d+)", constants[0].attributes)
    return int(value.group(1)) if value else None


def trip_count(module: Module, loop: Instruction) -> int | None:
    """How often a while loop's body runs; None if neither compiler nor condition says."""
    known = re.search(r'"known_trip_count"\s*:\s*\{\s*"n"\s*:\s*"(\d+)"', loop.attributes)
    return int(known.group(1)) if known else _counted(module, loop)


class Executions(NamedTuple):
    """How often each computation runs in one step, and what is not known about it.

    scheduled: computations whose instructions run one by one; fused: those inside a fusion, whose
    instructions are part of another. unknown_loops: loops counted once as their length is unknown.
    """

    scheduled: dict[str, int]
    fused: dict[str, int]
    unknown_loops: tuple[str, ...]


def executions(module: Module) -> Executions:
    """Multiplies by the iterations of loops. Every branch of a conditional counts as executed."""
    scheduled: dict[str, int] = {}
    fused: dict[str, int] = {}
    unknown: list[str] = []

    def visit(name: str, times: int, inside: bool) -> None:
        table = fused if inside else scheduled
        table[name] = table.get(name, 0) + times
        for instruction in module.computations[name].values():
            if instruction.opcode == "while":
                trips = trip_count(module, instruction)
                if trips is None and instruction.name not in unknown:
                    unknown.append(instruction.name)
                trips = 1 if trips is None else trips
                visit(instruction.names("body")[0], times * trips, inside)
                continue
            for callee in _callees(instruction):
                visit(callee, times, inside or instruction.opcode == "fusion")

    visit(module.entry, 1, False)
    return Executions(scheduled, fused, tuple(unknown))


def _callees(instruction: Instruction) -> tuple[str, ...]:
    """Computations an instruction runs once; a reducer's scalar arithmetic is left out."""
    if instruction.opcode in ("fusion", "async-start"):
        return instruction.names("calls")
    if instruction.opcode in ("call", "call-start"):
        return instruction.names("to_apply") or instruction.names("calls")
    if instruction.opcode == "conditional":
        return instruction.names("branch_computations") or (
            instruction.names("true_computation") + instruction.names("false_computation")
        )
    return ()
