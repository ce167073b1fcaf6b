"""Compiles the training step for another machine, and estimates its memory and time.

w2v2 aot --config FILE.py[:arg] --topology v5p:2x2x2 [--slices N] [--sweep] --json OUT
Memory per chip and whether it fits, collectives, FLOPs, time, MFU, days. Needs libtpu for TPU
topologies (pip install 'jax[tpu]'); `--topology cpu` and `gpu` take the devices that are present.
"""

from __future__ import annotations

import copy
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import jax

from w2v2_jax.aot import render, report, schedule, step
from w2v2_jax.aot.gpus import GPUS
from w2v2_jax.aot.topology import PRESENT, TOPOLOGIES, Target, target
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment import catalogue
from w2v2_jax.experiment.head_symbols import HeadSymbols, head_symbols
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import CHOICES
from w2v2_jax.paths import write_json
from w2v2_jax.system.arguments import add_json
from w2v2_jax.system.outputs import tell_replaced, try_outputs


class Start(NamedTuple):
    """What is read once, however often a recipe is compiled: the network of config.init_from, for
    recipes that fine-tune, and the symbols of the head."""

    inherited: ModelConfig | None
    symbols: HeadSymbols


def one(arguments, raw: dict, chip_target: Target, start: Start, rows) -> dict:
    """The report of one compilation."""
    built = step.build(raw, chip_target, *start)
    outcome = step.compile_step(built, rows, report.limit_of(chip_target))
    result = report.examine(outcome, chip_target)
    if arguments.schedules and outcome.compiled is not None:
        result["schedule"] = report.scheduled(outcome, chip_target, result, arguments.schedules)
    return {
        "config": arguments.config,
        "topology": arguments.topology,
        "jax": jax.__version__,
        **result,
    }


def speed(result: dict) -> float:
    """What a sweep maximises: frames per second, or rows per FLOP if no time is estimated."""
    known = result.get("frames_per_second_per_chip")
    return known or result["rows"] / (result["flops"]["compiled"] or result["flops"]["model"])


def ladder(first: int, most: int) -> list[int]:
    """first, twice that, ... up to most."""
    rungs = [first]
    while rungs[-1] * 2 <= most:
        rungs.append(rungs[-1] * 2)
    return rungs


def sweep(arguments, raw: dict, chip_target: Target, start: Start) -> dict:
    """Tries every remat policy with rising rows per chip until one does not fit; returns the
    fastest that fits."""
    built = step.build(raw, chip_target, *start)
    rows, samples = step.recipe_rows(built.settings)
    group = built.objective.row_multiple(samples)
    shards = built.mesh.shape["data"] * built.mesh.shape["fsdp"]
    tried = []
    for remat in CHOICES["remat"]:
        for rung in ladder(group, max(group, rows // shards)):
            changed = copy.deepcopy(raw)
            changed["execution"] = {**changed.get("execution", {}), "remat": remat}
            result = one(arguments, changed, chip_target, start, rung)
            tried.append(result)
            print(f"remat {remat:9} rows {rung:4}: {sweep_line(result)}", flush=True)
            if not result["fits"]:
                break
    fitting = [result for result in tried if result["fits"]]
    best = max(fitting, key=speed) if fitting else tried[-1]
    brief = [
        {
            k: result.get(k)
            for k in (
                "remat",
                "rows_per_shard",
                "accumulate",
                "fits",
                "hbm",
                "mfu",
                "frames_per_second_per_chip",
            )
        }
        for result in tried
    ]
    return {**best, "sweep": brief}


def sweep_line(result: dict) -> str:
    """Memory and speed of one compiled choice, for --sweep."""
    if not result["fits"]:
        return "does not fit"
    size = render.gib(result["hbm"]["total"])
    rate = result["frames_per_second_per_chip"]
    return f"{size}, {f'{rate:,.0f} frames/s/chip' if rate else 'fits'}"


def inherited_model(raw: dict) -> ModelConfig | None:
    """The network of config.init_from, for recipes that fine-tune."""
    if raw["model"].get("family") != "inherit" or not raw.get("init_from"):
        return None
    from w2v2_jax.interop.load import load_start

    try:
        return load_start(raw["init_from"]).description.model
    except InputError as error:
        raise InputError(
            f"{error}; to plan without the model's files, name its network instead, such as "
            "--config.init_from= --config.model.family=base"
        ) from None


def told_symbols(raw: dict) -> HeadSymbols:
    """The symbols of the head, with one line on stderr if a training's would have others."""
    symbols = head_symbols(read_settings(raw))
    if symbols.note:
        print(symbols.note, file=sys.stderr)
    return symbols


def main(argv: list[str] | None = None) -> None:
    parser = catalogue.recipe_parser("w2v2 aot", __doc__.splitlines()[0])
    parser.add_argument(
        "--topology",
        required=True,
        metavar="v5p:2x2x2|h100:8|cpu|gpu",
        help="the pod: generation and shape of a slice; or GPUs of one host "
        f"({', '.join(GPUS)}: 1, 2, 4 or 8); cpu or gpu for this machine's devices",
    )
    parser.add_argument("--slices", type=int, default=1, help="number of slices (1)")
    parser.add_argument(
        "--rows",
        type=int,
        help="rows of a microbatch on one chip; the number of microbatches is then chosen to keep "
        "the recipe's batch",
    )
    parser.add_argument(
        "--sweep", action="store_true", help="find the fastest rows and remat policy"
    )
    parser.add_argument(
        "--schedules",
        type=Path,
        metavar="DIR",
        help="a new folder for the programs that libtpu schedules: adds an estimate from their "
        "cycles and bytes, with the unit that limits each operation",
    )
    add_json(parser)
    arguments, rest = parser.parse_known_args(argv)
    try_outputs(arguments, "json")
    from w2v2_jax.experiment.recipe import load_config, override

    if arguments.sweep and arguments.rows is not None:
        raise InputError("--rows changes nothing with --sweep, which tries all; omit it")
    raw = load_config(arguments.config)
    override(raw, rest)
    if arguments.schedules:
        if arguments.topology.partition(":")[0] not in TOPOLOGIES or arguments.sweep:
            raise InputError("--schedules is for one compilation for a TPU topology")
        schedule.request(schedule.empty_folder(arguments.schedules))
    if arguments.topology not in PRESENT:
        jax.config.update("jax_platforms", "cpu")  # nothing runs: claim no accelerator
    chip_target = target(arguments.topology, slices=arguments.slices)
    start = Start(inherited_model(raw), told_symbols(raw))
    chosen = {name: getattr(arguments, name) for name in ("slices", "rows", "sweep")}
    given = {"overrides": rest, "options": chosen}
    made_of = {"config": arguments.config, "topology": arguments.topology}
    tell_replaced(arguments, "json", made_of | given)
    run = sweep if arguments.sweep else functools.partial(one, rows=arguments.rows)
    result = run(arguments, raw, chip_target, start) | given
    write_json(arguments.json, result)
    print("\n".join(render.lines(result)))
    print(f"wrote {arguments.json}")
    if not result["fits"]:
        raise InputError(
            f"{arguments.config} does not fit on {arguments.topology}: "
            f"{render.gib(result['hbm'].get('total'))} of {render.gib(result['capacity'])}; "
            f"try {result['suggestion']}"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
