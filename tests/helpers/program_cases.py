"""What every recipe compiles, as hashes of the text that JAX hands to the compiler.

Nothing here is compiled. tests/golden/make_programs.py stores the hashes.
"""

import functools
import hashlib
import json
import math
import re
from importlib.metadata import version
from unittest import mock

import jax

from tests.helpers.recipes import RECIPES, smoke
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.settings import read_settings

SAMPLES = 16000
# What toy size takes out of the recipes, and formulations that "auto" does not choose on a CPU.
ATTENTION, CONV, POSITION = (
    f"execution.{part}_formulation" for part in ("attention", "conv", "position")
)
CHANGES = {
    "pretrain_base.py": (
        {"execution.scan_layers": True, "execution.remat": "dots", "execution.dtype": "bfloat16"},
        {"execution.scan_layers": True},
        {"execution.dtype": "bfloat16"},
        {"execution.remat": "dots"},
        {"execution.remat": "full"},
        {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2, "train.accumulate": 2},
        {
            ATTENTION: "plain",
            POSITION: "grouped_conv",
        },
        {
            ATTENTION: "late_division",
            POSITION: "paired_groups_conv",
        },
        {ATTENTION: "tpu_few_passes", "execution.remat": "attention"},
        {
            CONV: "matmul_per_stride",
            POSITION: "conv_per_group",
        },
        {
            CONV: "xla_conv",
            POSITION: "toeplitz_backward",
        },
        {
            CONV: "one_matmul",
            POSITION: "toeplitz_matmul",
        },
    ),
    "finetune.py:base_10h": (
        {"execution.scan_layers": True, "execution.remat": "dots", "execution.dtype": "bfloat16"},
    ),
}


def named(spec: str, change: dict) -> str:
    return " ".join([spec, *(f"{path}={value}" for path, value in change.items())])


# Name in golden/programs.json -> recipe and what is changed in it.
CASES = {spec: (spec, {}) for spec in RECIPES} | {
    named(spec, change): (spec, change) for spec, changes in CHANGES.items() for change in changes
}


def versions() -> dict[str, str]:
    """Of the packages that write a program."""
    return {name: version(name) for name in ("jax", "flax", "optax")}


def identity(text: str) -> str:
    """The hash of a StableHLO module, whatever its functions and results are called.

    Each call has the called function's own hash in the place of its name, so neither names nor
    the order of the functions count, nor whether two that are equal are one.
    """
    bodies = re.findall(r'^  func\.func \w+ @("[^"]+"|[\w.$-]+)(.*?^  \}$)', text, re.M | re.S)
    functions, symbol = dict(bodies), re.compile(r'@("[^"]+"|[\w.$-]+)')

    def renamed(part: str) -> str:
        part = re.sub(r'jax\.result_info = "[^"]*"(, )?', "", part)
        return symbol.sub(lambda x: of(x[1]) if x[1] in functions else x[0], part)

    @functools.cache
    def of(name: str) -> str:
        return hashlib.sha256(renamed(functions[name]).encode()).hexdigest()[:16]

    head = re.sub(r"^module @\S+", "module", text.partition("  func.func ")[0])
    return hashlib.sha256(f"{head}{of('main')}".encode()).hexdigest()[:16]


def programs(spec: str, change: dict) -> dict[str, str]:
    """Name -> identity of the steps of a recipe at toy size; "frozen" is CTC's first phase."""
    config = smoke(spec)
    for path, value in change.items():
        section, name = path.split(".")
        config[section][name] = value
    settings = read_settings(config)
    built = experiment.build(
        settings,
        vocabulary=settings.usual_vocabulary(),
        devices=jax.devices("cpu")[: math.prod(max(1, n) for n in config["mesh"].values())],
    )
    shards = built.mesh.shape["data"] * built.mesh.shape["fsdp"]
    rows = 2 * shards * settings.train.accumulate
    batch = built.objective.abstract_batch(rows, SAMPLES)
    first, last = built.objective.at(0), built.objective.at(settings.train.steps)
    # Recipes often share a step, which takes a second to lower: what decides it is the key.
    update = [config["schedule"], config["optimizer"], settings.train.steps]
    key = (last, batch, settings.train.accumulate, json.dumps(config["mesh"]))
    phases = {"train": last} | ({"train, frozen": first} if first != last else {})
    found = {
        name: _identity(
            (*key, objective, json.dumps(update)), built.step_function, objective, batch
        )
        for name, objective in phases.items()
    }
    return found | {"eval": _identity(key, built.eval_function, batch)}


_identities: dict[tuple, str] = {}


def _identity(key: tuple, step, *arguments) -> str:
    if key not in _identities:
        with mock.patch.object(jax.stages.Lowered, "compile", jax.stages.Lowered.as_text):
            _identities[key] = identity(step(*arguments))
    return _identities[key]
