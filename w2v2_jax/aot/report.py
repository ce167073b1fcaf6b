"""Everything that a compiled step shows, as one dictionary of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from w2v2_jax import partition
from w2v2_jax.aot import bundles, collectives, cycles, hlo, schedule, step, work
from w2v2_jax.aot.chips import GIB, Chip, chip_of
from w2v2_jax.aot.step import StepCompilation
from w2v2_jax.aot.topology import Target
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.auto_accumulate import largest
from w2v2_jax.models import flops as model_flops
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.system.device_memory import device_memory, gpu_share, memory_of

TOP = 10


def capacity_of(target: Target, chip: Chip | None) -> int | None:
    """The bytes of memory of a device that a run may use: of one that is here its own word, of a
    TPU elsewhere its maker's, and of a GPU elsewhere the share that JAX would give to a run. CPU
    devices share the machine's memory."""
    if target.present and (limit := device_memory(target.devices[0], sharing=len(target.devices))):
        return limit
    if chip is not None and target.platform == "gpu":
        return int(chip.hbm * gpu_share())
    return chip.hbm if chip is not None else device_memory(target.devices[0], sharing=1)


def limit_of(target: Target) -> int | None:
    """Bytes that train.accumulate="auto" goes by: of a device that is here its own word, of another
    the maker's. None for CPUs, whose memory is not the run's alone."""
    device = target.devices[0]
    if device.platform == "cpu":
        return None
    if target.present:
        return device_memory(device, sharing=1)
    return capacity_of(target, chip_of(device.device_kind))


def parameter_count(outcome: StepCompilation) -> int:
    """Numbers in the parameters that are trained, the teacher's not among them."""
    return sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(outcome.built.abstract_state.params)
    )


def gradient_bytes(outcome: StepCompilation, axes: Sequence[str] = ("tensor",)) -> int:
    """Float32 bytes of the gradients that a device sums with others, split only by `axes`."""
    state, mesh = outcome.built, outcome.built.mesh
    total = 0
    leaves = jax.tree.leaves(state.abstract_state.params)
    shardings = jax.tree.leaves(state.state_shardings.params)
    for leaf, sharding in zip(leaves, shardings, strict=True):
        used = {axis for axis in sharding.spec if axis in axes}
        total += 4 * math.prod(leaf.shape) // math.prod(mesh.shape[axis] for axis in used)
    return total


def head(outcome: StepCompilation, target: Target, chip: Chip | None) -> dict:
    """What was compiled for what."""
    built, shape = outcome.built, outcome.shape
    shards = partition.rows_axis(built.mesh)
    return {
        "device": target.devices[0].device_kind,
        "devices": len(target.devices),
        "slices": target.slices,
        "mesh": dict(built.mesh.shape),
        "parameters": parameter_count(outcome),
        "rows": shape.rows,
        "rows_per_shard": shape.rows // shards // shape.accumulate,
        "accumulate": shape.accumulate,
        "accumulate_auto": outcome.auto,
        "samples": shape.samples,
        "recipe_rows": shape.recipe_rows,
        "fuller_batch": fuller_batch(outcome),
        "remat": built.settings.execution.remat,
        "scan_layers": built.settings.execution.scan_layers,
        "compile_seconds": outcome.seconds,
        "capacity": capacity_of(target, chip),
    }


def examine(outcome: StepCompilation, target: Target) -> dict:
    """The report of one compilation; if the step did not fit, with what is known."""
    chip = chip_of(target.devices[0].device_kind)
    report = head(outcome, target, chip)
    if outcome.compiled is None:
        report["hbm"] = {"total": outcome.needed} if outcome.needed else {}
        report["capacity"] = outcome.capacity or report["capacity"]
        report["fits"] = False
        report["suggestion"] = suggestion(outcome, report)
        return report
    report["hbm"] = memory_of(outcome.compiled)
    room = report["capacity"]
    report["fits"] = room is None or report["hbm"]["total"] <= room
    if not report["fits"]:
        report["suggestion"] = suggestion(outcome, report)
    report.update(analysed(outcome, chip))
    return report


def analysed(outcome: StepCompilation, chip: Chip | None) -> dict:
    """Collectives, FLOPs, time and what follows from it, from the compiled text."""
    mesh = outcome.built.mesh
    assert outcome.compiled is not None
    module = hlo.parse(outcome.compiled.as_text())
    runs = hlo.executions(module)
    moved = collectives.find(
        module,
        runs,
        mesh_shape=dict(mesh.shape),
        slice_of=[getattr(d, "slice_index", 0) or 0 for d in mesh.devices.flat],
    )
    wires = [one.wire() for one in moved]
    counted = work.totals(module, runs)
    operations = cycles.costs(module, runs)
    result: dict[str, Any] = {
        "collectives": collectives.table(moved),
        "gradient_bytes": gradient_bytes(outcome),
        "gradient_bytes_reduced": collectives.reduced(moved, ("data", "fsdp")),
        "ici_bytes": sum(ici for ici, _ in wires),
        "dcn_bytes": sum(dcn for _, dcn in wires),
        "flops": {
            "model": model_flops_of(outcome) / mesh.size,
            "compiled": counted.flops if not counted.library_calls else None,
        },
        "hbm_bytes_moved": counted.bytes,
        "unknown_loops": list(runs.unknown_loops),
    }
    result["time"] = seconds(outcome, result, operations, cycles.count(module, runs), chip)
    result["top"] = top(operations, chip)
    result.update(progress(outcome, result["time"]["step"], result["flops"]["model"], chip))
    return result


def scheduled(outcome: StepCompilation, target: Target, result: dict, folder: Path) -> dict | None:
    """The estimate from the schedules in the folder (`schedule.Estimate`), and speeds that follow
    with the exchanges of the report `result`; None for a device that is not in the table."""
    chip = chip_of(target.devices[0].device_kind)
    if chip is None or outcome.compiled is None:
        return None
    schedules = bundles.read_folder(folder)
    if not schedules:
        raise InputError(
            f"libtpu wrote no schedules to {folder}; unset JAX_COMPILATION_CACHE_DIR, so that it "
            "compiles"
        )
    module = hlo.parse(outcome.compiled.as_text())
    operations = cycles.costs(module, hlo.executions(module))
    estimate = schedule.estimate(operations, schedule.with_twins(module, schedules), chip)
    step = estimate.seconds + result["time"]["ici"] + result["time"]["dcn"]
    speeds = progress(outcome, step, result["flops"]["model"], chip)
    return {**estimate._asdict(), "step": step, **speeds}


def model_flops_of(outcome: StepCompilation) -> float:
    """FLOPs the model needs for one update on all devices, nothing rematerialised."""
    shape = outcome.shape
    return shape.rows * model_flops.train_flops(outcome.built.model, shape.samples)


def seconds(outcome, result: dict, operations, count: cycles.Cycles, chip: Chip | None) -> dict:
    """Seconds of a step by three routes: the compiler's cycles, its own sum, and the roofline.

    step: cycles (or the roofline if there are none), plus every exchange at the published rate of
    the links, as if nothing overlapped. Pallas' kernels have no cycles: theirs are the roofline's,
    a lower bound. None for a device that is not in the table, or if libraries
    hide the work from the text (measure it with bench). The compiler's own optimal_seconds counts
    the body of a loop once, and is left out if an unknown cost has made it negative.
    """
    known = chip is not None and (count.total or result["flops"]["compiled"] is not None)
    if chip is None or not known:
        return {"step": None, "cycles": count.total or None, "cycles_left_out": count.left_out}
    table = outcome.compiled.cost_analysis() or {}
    optimal = table.get("optimal_seconds", -1.0)
    kernels = [one for one in operations if one.kernel]
    bound = sum(one.seconds(chip) for one in kernels)
    compute = count.total / chip.clock + bound if chip.clock and count.total else None
    roofline = sum(one.seconds(chip) for one in operations)
    ici, dcn = result["ici_bytes"] / chip.ici_rate, result["dcn_bytes"] / chip.dcn_rate
    return {
        "step": (compute or roofline) + ici + dcn,
        "source": "compiler's cycles" if compute else "roofline",
        "compute": compute,
        "cycles": count.total or None,
        "cycles_left_out": count.left_out,
        "kernels": sum(one.times for one in kernels),
        "kernels_by_roofline": bound,
        "compiler_once": optimal if optimal > 0 else None,
        "roofline": roofline,
        "ici": ici,
        "dcn": dcn,
    }


def top(operations: list[cycles.Cost], chip: Chip | None) -> list[dict]:
    """The most expensive operations, by the compiler's cycles or else by the roofline."""
    like = chip or Chip("unknown", 0, 1e12, 1e12, 1e11, 1.0, 1.0, 0.0)

    def cost(one: cycles.Cost) -> float:
        return one.cycles / like.clock if like.clock and one.cycles else one.seconds(like)

    ordered = sorted(operations, key=cost, reverse=True)[:TOP]
    total = sum(cost(one) for one in operations)
    return [
        {
            "name": one.name,
            "part": one.part,
            "times": one.times,
            "share": cost(one) / total,
            "seconds": cost(one) if chip else None,
            "flops": one.flops,
            "bytes": one.bytes,
            "bound": "memory" if one.seconds(like) <= one.bytes / like.hbm_rate else "compute",
        }
        for one in ordered
    ]


def progress(outcome: StepCompilation, step: float | None, flops: float, chip: Chip | None) -> dict:
    """MFU, frames and audio per unit of time, and days to the recipe's last update."""
    shape, built = outcome.shape, outcome.built
    if not step or chip is None:
        return {
            "mfu": None,
            "frames_per_second_per_chip": None,
            "audio_hours_per_hour": None,
            "days_to_finish": None,
        }
    frames = shape.rows * int(frame_counts(shape.samples, built.model.conv_layers))
    audio = shape.rows * shape.samples / SAMPLE_RATE
    recipe = built.settings.train.steps * shape.recipe_rows * shape.samples / SAMPLE_RATE
    return {
        "mfu": flops / step / chip.flops,
        "frames_per_second_per_chip": frames / step / built.mesh.size,
        "audio_hours_per_hour": audio / step,
        "days_to_finish": recipe / (audio / step) / 86400,
    }


def mesh_platform(outcome: StepCompilation) -> str:
    """The platform that the step was compiled for."""
    return outcome.built.mesh.devices.flat[0].platform


def fuller_batch(outcome: StepCompilation) -> list[int] | None:
    """Rows and samples of a batch of the recipe with clearly more audio than the one of the longest
    rows, which was compiled; None if there is none, or its memory has been looked at."""
    shapes = largest(step.recipe_shapes(outcome.built.settings))
    seen = outcome.auto or outcome.rows_given or len(shapes) == 1
    return None if seen else list(shapes[-1])


def suggestion(outcome: StepCompilation, report: dict) -> str:
    """What to change first if a step does not fit."""
    mesh, room = report["mesh"], report["capacity"] or 0
    state = 12 * report["parameters"] / (mesh["fsdp"] * mesh["tensor"])
    if room and state > 0.6 * room and mesh["data"] > 1:
        return (
            f"parameters and moments alone take {state / GIB:.1f} GiB per chip: shard them, "
            f"--config.mesh.fsdp={min(mesh['data'] * mesh['fsdp'], 8)}"
        )
    group = outcome.built.objective.row_multiple(outcome.shape.samples)
    divides = report["rows_per_shard"] >= 2 * group
    chosen = outcome.auto or outcome.rows_given
    if divides and not chosen and mesh_platform(outcome) != "cpu":  # for CPUs auto is 1
        return "--config.train.accumulate=auto, which costs the least time"
    if not report["scan_layers"]:
        return "--config.execution.scan_layers=True --config.execution.remat='full'"
    if report["remat"] != "full":
        return "--config.execution.remat='full'"
    if divides:
        half = max(group, report["rows_per_shard"] // 2 // group * group)
        return f"--rows {half} (more microbatches keep the batch)"
    return "more chips, with --config.mesh.fsdp over them or --config.mesh.tensor=2"
