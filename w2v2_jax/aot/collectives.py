"""Collectives of a compiled step: kind, bytes, mesh axes, and the links they travel."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from w2v2_jax.aot.groups import device_groups
from w2v2_jax.aot.hlo import Executions, Instruction, Module

SEND = "send"  # of a TPU slice to the others, over the data-center network
KINDS = (
    "all-reduce",
    "reduce-scatter",
    "all-gather",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
    SEND,
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    payload: bytes of the whole array that a group works on, counted once: what is reduced
    (all-reduce, reduce-scatter), gathered, exchanged or sent. times: executions per step. group:
    number of devices that take part. axes: mesh axes along which its groups run. slices: number of
    slices that a group spans.
    """

    kind: str
    name: str
    op_name: str
    payload: int
    times: int
    group: int
    axes: tuple[str, ...]
    slices: int

    @property
    def total(self) -> int:
        """Payload bytes per step."""
        return self.payload * self.times

    def wire(self) -> tuple[float, float]:
        """Bytes that a chip sends per step over (ICI, DCN), with ring algorithms, slices first.

        An all-reduce sends each byte twice except its own share; the others send it once.
        """
        inner = self.group // self.slices
        passes = {"all-reduce": 2.0}.get(self.kind, 1.0)
        if self.kind in ("collective-permute", "collective-broadcast", SEND):
            return (0.0, float(self.total)) if self.slices > 1 else (float(self.total), 0.0)
        ici = passes * self.total * (inner - 1) / inner
        dcn = passes * self.total / inner * (self.slices - 1) / self.slices
        return ici, dcn


def _kind(opcode: str) -> str | None:
    if opcode.endswith("-done"):
        return None
    base = opcode.removesuffix("-start")
    return base if base in KINDS else None


def _between_slices(instruction: Instruction) -> bool:
    """Whether a send is libtpu's exchange with the other slices (the rest feed the host)."""
    return "_xla_megascale_target" in instruction.attributes


def _payload(kind: str, instruction: Instruction, group: int) -> int:
    """Bytes of the whole array, from the result's shape (a start's also has operands and flags)."""
    flag = ("u32", ())
    arrays = [array for array in instruction.arrays if (array.dtype, array.dims) != flag]
    if instruction.opcode.endswith("-start") and kind != "all-reduce":
        arrays = arrays[len(arrays) // 2 :]
    size = sum(array.bytes for array in arrays)
    return size * group if kind == "reduce-scatter" else size


def _scatters(instruction: Instruction) -> bool:
    """Whether an all-reduce keeps only this device's part: TPU's fused reduce-scatter."""
    return instruction.where.startswith("all-reduce-scatter")


def _chain(instruction: Instruction) -> str | None:
    """What the pieces of one asynchronous collective have in common; None for one in one piece."""
    chain = re.search(r'chain_id="\d+"', instruction.attributes)
    channel = re.search(r"channel_id=\d+", instruction.attributes)
    if chain or not channel or _scatters(instruction):
        return chain and chain[0]
    return channel[0]


def axes_of(groups: Sequence[Sequence[int]], mesh_shape: dict[str, int]) -> tuple[str, ...]:
    """The mesh axes along which the members of a group differ."""
    sizes = tuple(mesh_shape.values())
    varies: set[str] = set()
    for group in groups:
        places = np.stack(np.unravel_index(np.asarray(group), sizes))  # [axes, members]
        for name, row in zip(mesh_shape, places, strict=True):
            if (row != row[0]).any():
                varies.add(name)
    return tuple(name for name in mesh_shape if name in varies)


def find(
    module: Module, runs: Executions, *, mesh_shape: dict[str, int], slice_of: Sequence[int]
) -> list[Collective]:
    """All collectives of a step. slice_of: the slice of each device in the mesh's flat order.

    Groups of one device move nothing and are left out. A TPU's asynchronous collective is in
    several fusions (its start, the matmuls that hide it, its done) with the same chain, and is
    counted once. Copies of it in an unrolled loop share its channel but not its chain. Between
    slices it sends each chip's part of the sum within its slice; only data crosses slices.
    """
    collectives, seen = [], set()
    for name in {**runs.scheduled, **runs.fused}:
        times = runs.scheduled.get(name, 0) + runs.fused.get(name, 0)
        for instruction in module.computations[name].values():
            kind = _kind(instruction.opcode)
            if kind is None:
                continue
            chain = _chain(instruction)
            if name not in runs.scheduled and chain:
                same = (chain, kind, instruction.arrays)
                if same in seen:
                    continue
                seen.add(same)
            found = _collective(instruction, kind, times, mesh_shape, slice_of)
            if found is not None:
                collectives.append(found)
    return collectives


def _collective(
    instruction: Instruction,
    kind: str,
    times: int,
    mesh_shape: dict[str, int],
    slice_of: Sequence[int],
) -> Collective | None:
    """The collective of an instruction; None if it moves nothing between devices."""
    op_name = instruction.quoted("op_name") or ""
    if kind == SEND:
        slices, size = len(set(slice_of)), instruction.arrays[0].bytes
        sent = Collective(kind, instruction.name, op_name, size, times, slices, ("data",), slices)
        return sent if _between_slices(instruction) else None
    groups = device_groups(instruction.attributes, len(slice_of))
    group = max(len(members) for members in groups)
    if group < 2 or all(len(set(members)) < 2 for members in groups):
        return None
    if kind == "all-reduce" and _scatters(instruction):
        kind, payload = "reduce-scatter", instruction.bytes
    else:
        payload = _payload(kind, instruction, group)
    axes = axes_of(groups, mesh_shape)
    slices = max(len({slice_of[member] for member in members}) for members in groups)
    return Collective(kind, instruction.name, op_name, payload, times, group, axes, slices)


def reduced(collectives: Sequence[Collective], axes: Sequence[str]) -> int:
    """Bytes per step that are summed along any of `axes`; for the axes that split the batch this is
    the reduction of gradients. Of a reduction in two stages (fsdp, then data) both count."""
    return sum(
        c.total
        for c in collectives
        if c.kind in ("all-reduce", "reduce-scatter") and set(c.axes) & set(axes)
    )


def table(collectives: Sequence[Collective]) -> list[dict]:
    """One row per kind and set of axes: how many, payload bytes, bytes sent over ICI and DCN."""
    rows: dict[tuple, dict] = {}
    for one in collectives:
        ici, dcn = one.wire()
        row = rows.setdefault(
            (one.kind, one.axes),
            {
                "kind": one.kind,
                "axes": list(one.axes),
                "count": 0,
                "payload_bytes": 0,
                "ici_bytes": 0.0,
                "dcn_bytes": 0.0,
            },
        )
        row["count"] += one.times
        row["payload_bytes"] += one.total
        row["ici_bytes"] += ici
        row["dcn_bytes"] += dcn
    return sorted(rows.values(), key=lambda row: -row["payload_bytes"])
