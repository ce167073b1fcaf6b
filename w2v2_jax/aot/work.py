"""FLOPs and bytes of the instructions of a compiled step, loops multiplied by their trips."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from w2v2_jax.aot.hlo import ArrayShape, Executions, Instruction, Module

# Instructions that name or reinterpret memory without moving it, or run what is counted elsewhere.
FREE = {
    "parameter", "constant", "bitcast", "tuple", "get-tuple-element", "while", "conditional",
    "call", "call-start", "after-all", "opt-barrier", "partition-id", "replica-id", "async-start",
    "async-update",
    "async-done", "copy-done", "iota", "domain", "add-dependency",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")
KERNEL = re.compile(r'custom_call_target="(tpu_custom_call|__gpu\$xla\.gpu\.triton)"')
STATED = re.compile(
    r'"cost_estimate":\{"flops":"?(\d+)'  # of a kernel for TPUs
    r'|serialized_metadata = "\{\\22flops\\22: \\22(\d+)'  # of one for GPUs: `backend.stated`
)
LIBRARY = re.compile(r"custom_call_target=\"[^\"]*(gemm|matmul|conv|cudnn|cublas)[^\"]*\"", re.I)


def _window(instruction: Instruction, key: str, rank: int, default: int) -> list[list[int]]:
    """A window's field, one list of numbers a spatial dimension: size=3x1, pad=0_0x1_1."""
    match = re.search(rf"window=\{{[^}}]*\b{key}=([\d_x\-]+)", instruction.attributes)
    if not match:
        return [[default] * (2 if key == "pad" else 1)] * rank
    return [[int(n) for n in part.split("_")] for part in match.group(1).split("x")]


def _valid_taps(
    size: int, out: int, window: int, stride: int, low: int, base: int, rhs: int
) -> int:
    """Pairs (output place, tap) that touch a real input place: what a convolution multiplies."""
    places = np.arange(out) * stride - low
    reach = (size - 1) * base
    total = 0
    for tap in range(window):
        at = places + tap * rhs
        at = at[(at >= 0) & (at <= reach)]
        total += len(at) if base == 1 else int((at % base == 0).sum())
    return total


def convolution_flops(instruction: Instruction, left: ArrayShape, right: ArrayShape) -> float:
    """Two per multiply-add with a real input: TPU writes batched matmuls as convolutions whose
    window mostly meets padding, which costs nothing."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.attributes)
    if not labels:
        return 0.0
    lhs, rhs, out = labels.groups()
    rank = sum(letter.isdigit() for letter in out)
    result = instruction.arrays[0]
    # A window over outputs and kernel may be reversed; the number of valid pairs is the same.
    defaults = {"stride": 1, "pad": 0, "lhs_dilate": 1, "rhs_dilate": 1}
    fields = {key: _window(instruction, key, rank, value) for key, value in defaults.items()}
    pairs = 1
    for d in range(rank):
        key = str(d)
        pairs *= _valid_taps(
            left.dims[lhs.index(key)],
            result.dims[out.index(key)],
            right.dims[rhs.index(key)],
            fields["stride"][d][0],
            fields["pad"][d][0],
            fields["lhs_dilate"][d][0],
            fields["rhs_dilate"][d][0],
        )
    features = right.dims[rhs.index("i")]
    # The kernel's input features are those of one group, and so is the result's batch.
    return 2.0 * pairs * result.dims[out.index("b")] * result.dims[out.index("f")] * features


def dot_flops(instruction: Instruction, left: ArrayShape) -> float:
    """Two per multiply-add: elements of the result times the contracted sizes."""
    contracted = math.prod(left.dims[d] for d in instruction.integers("lhs_contracting_dims"))
    return 2.0 * instruction.arrays[0].elements * contracted


def is_kernel(instruction: Instruction) -> bool:
    """Whether it is a Pallas kernel, whose program the text does not show."""
    return instruction.opcode == "custom-call" and bool(KERNEL.search(instruction.attributes))


def library_flops(instruction: Instruction, left: ArrayShape) -> float:
    """FLOPs of a matmul by cuBLAS, which names the contracted dimensions; 0 for other libraries."""
    found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.attributes)
    if not found or "__cublas" not in instruction.attributes:
        return 0.0
    contracted = math.prod(left.dims[int(d)] for d in re.findall(r"\d+", found.group(1)))
    return 2.0 * instruction.arrays[0].elements * contracted


def is_library(instruction: Instruction) -> bool:
    """Whether it is a call into cuBLAS, cuDNN or oneDNN."""
    return instruction.opcode == "custom-call" and bool(LIBRARY.search(instruction.attributes))


def own_flops(module: Module, instruction: Instruction) -> float:
    """FLOPs of one matmul or convolution, or those that a kernel states of itself; elementwise
    arithmetic is left out."""
    if is_kernel(instruction):
        stated = STATED.search(instruction.attributes)
        return float(stated.group(1) or stated.group(2)) if stated else 0.0
    if instruction.opcode not in ("dot", "convolution") and not is_library(instruction):
        return 0.0
    shapes = [operand.arrays[0] for operand in module.operands(instruction)]
    if instruction.opcode == "dot":
        return dot_flops(instruction, shapes[0])
    if is_library(instruction):
        return library_flops(instruction, shapes[0])
    return convolution_flops(instruction, shapes[0], shapes[1])


def own_flops32(module: Module, instruction: Instruction) -> float:
    """Those of `own_flops` with float32 factors, for which a GPU takes longer."""
    factors = module.operands(instruction)
    wide = any(array.dtype == "f32" for factor in factors[:2] for array in factor.arrays[:1])
    return own_flops(module, instruction) if wide and not is_kernel(instruction) else 0.0


def flops_of(module: Module, instruction: Instruction, own=own_flops) -> float:
    """FLOPs of an instruction with all it fuses; own: those of a single one that count."""
    total = own(module, instruction)
    if instruction.opcode == "fusion":
        for name in instruction.names("calls"):
            total += sum(flops_of(module, i, own) for i in module.computations[name].values())
    return total


def _in_main_memory(arrays) -> int:
    return sum(array.bytes for array in arrays if array.space == 0)


def _parameter(module: Module, fusion: Instruction, index: int) -> tuple[str, str | None]:
    """A fusion's computation, and the name of a parameter in it."""
    where = fusion.names("calls")[0]
    place = re.compile(rf", value={index}(,|$)")
    parameters = (i for i in module.computations[where].values() if i.opcode == "parameter")
    return where, next((i.name for i in parameters if place.match(i.attributes)), None)


def _sliced(module: Module, where: str, name: str | None) -> int | None:
    """Bytes that a fusion's computation reads of a value that it only slices or updates in place,
    also through bitcasts and in fusions inside; None if something needs the whole value."""
    users = [i for i in module.computations[where].values() if name in i.operands]
    total = 0 if users else None
    for user in users:
        part: int | None = None
        if user.opcode in SLICES:
            part = user.bytes
        elif user.opcode == "dynamic-update-slice" and user.operands.index(name) == 0:
            part = 0 if user.operands.count(name) == 1 else None
        elif user.opcode == "bitcast":
            part = _sliced(module, where, user.name)
        elif user.opcode == "fusion" and user.operands.count(name) == 1:
            inside = _parameter(module, user, user.operands.index(name))
            part = _sliced(module, *inside)
        total = None if total is None or part is None else total + part
    return total


def _read_by_fusion(module: Module, instruction: Instruction, index: int, operand) -> int:
    """Bytes of one operand that a fusion reads: if it is only sliced, the slices."""
    whole = _in_main_memory(operand.arrays)
    part = _sliced(module, *_parameter(module, instruction, index))
    return whole if part is None else min(whole, part)


def _update(module: Module, root: Instruction) -> int | None:
    """Bytes that a result's instruction writes if it updates a value in place, otherwise None."""
    near = module.computations[root.where]
    if root.opcode == "dynamic-update-slice":
        fresh = root.operands[0] in near and near[root.operands[0]].opcode == "broadcast"
        return None if fresh else near[root.operands[1]].bytes
    if root.opcode == "bitcast" and root.operands[0] in near:
        return _update(module, near[root.operands[0]])
    if root.opcode == "fusion" and len(root.arrays) == 1:
        body = module.computations[root.names("calls")[0]]
        return _update(module, next(i for i in body.values() if i.root))
    return None


def _written(module: Module, instruction: Instruction) -> int:
    """Bytes an instruction writes to main memory: an update in place writes the update."""
    roots = [instruction]
    if instruction.opcode == "fusion" and len(instruction.arrays) > 1:
        body = module.computations[instruction.names("calls")[0]]
        root = next(i for i in body.values() if i.root)
        roots = [body[name] for name in root.operands] if root.opcode == "tuple" else [root]
    if is_library(roots[0]):  # beside its result it names the library's workspace
        return _in_main_memory(instruction.arrays[:1])
    if len(roots) != len(instruction.arrays):
        return _in_main_memory(instruction.arrays)
    total = 0
    for root, array in zip(roots, instruction.arrays, strict=True):
        update = _update(module, root)
        whole = _in_main_memory([array])
        total += whole if update is None else min(whole, update)
    return total


def _started(module: Module, instruction: Instruction) -> int:
    """An asynchronous copy or exchange: its result names its operands beside what it writes."""
    read = sum(_in_main_memory(operand.arrays) for operand in module.operands(instruction))
    written = max(0, _in_main_memory(instruction.arrays) - read)
    if instruction.opcode == "slice-start":
        read = max(array.bytes for array in instruction.arrays[1:])
    return read + written


def moved_bytes(module: Module, instruction: Instruction) -> int:
    """Bytes read from and written to main memory (HBM), operands counted once each."""
    if instruction.opcode in FREE or instruction.opcode.endswith("-done"):
        return 0
    if instruction.opcode.endswith("-start"):
        return _started(module, instruction)
    total = _written(module, instruction)
    if instruction.opcode in SLICES:
        return 2 * total
    for index, operand in enumerate(module.operands(instruction)):
        if instruction.opcode == "fusion":
            total += _read_by_fusion(module, instruction, index, operand)
        elif instruction.opcode == "dynamic-update-slice" and index == 0:
            continue
        else:
            total += _in_main_memory(operand.arrays)
    return total


class Totals(NamedTuple):
    """Matmul and convolution FLOPs and HBM bytes of one step on one device; calls into libraries
    (cuDNN, oneDNN) whose work the text does not show."""

    flops: float
    bytes: float
    library_calls: int


def totals(module: Module, runs: Executions) -> Totals:
    """Adds up one step. FLOPs are counted where they stand, fused or not."""
    flops = moved = 0.0
    calls = 0
    for name in {**runs.scheduled, **runs.fused}:
        times = runs.scheduled.get(name, 0) + runs.fused.get(name, 0)
        for instruction in module.computations[name].values():
            own = own_flops(module, instruction)
            flops += times * own
            moved += runs.scheduled.get(name, 0) * moved_bytes(module, instruction)
            calls += times if is_library(instruction) and not own else 0
    return Totals(flops, moved, calls)
