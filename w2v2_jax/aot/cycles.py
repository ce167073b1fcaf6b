"""The compiler's estimate of time: cycles per instruction, and the most expensive operations."""

from __future__ import annotations

import re
from typing import NamedTuple

from w2v2_jax.aot import work
from w2v2_jax.aot.chips import Chip
from w2v2_jax.aot.hlo import Executions, Instruction, Module

SENTINEL = 2**60  # an unknown cost has a value near 2^63
OUTSIDE = ("while", "conditional", "call")  # their bodies are counted


class Cycles(NamedTuple):
    """total cycles per step; left_out: instructions whose estimate is the compiler's "unknown"."""

    total: int
    left_out: int


def own(instruction: Instruction) -> int | None:
    """Estimated cycles of one execution; None if there is no estimate."""
    match = re.search(r'"estimated_cycles"\s*:\s*"?(-?\d+)', instruction.attributes)
    return int(match.group(1)) if match else None


def _counted(instruction: Instruction) -> int | None:
    return None if instruction.opcode in OUTSIDE else own(instruction)


def count(module: Module, runs: Executions) -> Cycles:
    """Adds the estimates of the scheduled instructions, multiplied by the iterations of loops."""
    total = left_out = 0
    for name, times in runs.scheduled.items():
        for instruction in module.computations[name].values():
            value = _counted(instruction)
            if value is None:
                continue
            if 0 <= value < SENTINEL:
                total += value * times
            else:
                left_out += 1
    return Cycles(total, left_out)


def part_of(op_name: str) -> str:
    """Where in the network an operation belongs, from its op_name: `jit(step)/a/b/dot` -> a/b."""
    backward = "transpose(" in op_name
    again = "rematted_computation" in op_name
    words = re.split(r"[/()]", op_name)
    noise = {"", "jit", "jvp", "transpose", "vmap", "while", "body", "closed_call", "checkpoint",
             "rematted_computation", "step", "train_step"}  # fmt: skip
    words_of_part = [word for word in words if word not in noise and not word.startswith("unnamed")]
    mark = " (backward)" if backward else " (again)" if again else ""
    return "/".join(words_of_part[-4:]) + mark if words_of_part else "?"


class Cost(NamedTuple):
    """One operation of a step: its seconds by the limiting bound, and what it does. kernel: it is
    one of Pallas', for which the compiler has no cycles. flops32: FLOPs with float32 factors, which
    are among the others."""

    name: str
    part: str
    times: int
    cycles: int | None
    flops: float
    bytes: float
    kernel: bool = False
    flops32: float = 0.0

    def computing(self, *, flops: float, flops32: float) -> float:
        """Seconds of its products at these FLOP/s, with float32 factors and with others."""
        return (self.flops - self.flops32) / flops + self.flops32 / flops32

    def seconds(self, chip: Chip) -> float:
        """The roofline: the longer of computing and moving."""
        computing = self.computing(flops=chip.flops, flops32=chip.flops32)
        return max(computing, self.bytes / chip.hbm_rate)


def costs(module: Module, runs: Executions) -> list[Cost]:
    """Every scheduled instruction that computes or moves anything, as totals of a step."""
    operations = []
    for name, times in runs.scheduled.items():
        for instruction in module.computations[name].values():
            cycles = _counted(instruction)
            if cycles is not None and not 0 <= cycles < SENTINEL:
                cycles = None
            flops = work.flops_of(module, instruction)
            moved = work.moved_bytes(module, instruction)
            if cycles or flops or moved:
                operations.append(
                    Cost(
                        instruction.name,
                        part_of(instruction.quoted("op_name") or ""),
                        times,
                        None if cycles is None else cycles * times,
                        flops * times,
                        moved * times,
                        cycles is None and work.is_kernel(instruction),
                        work.flops_of(module, instruction, work.own_flops32) * times,
                    )
                )
    return operations
