"""`w2v2 average`: the mean of several checkpoints' parameters, as a checkpoint of its own.

w2v2 average --checkpoint RUN --last 5 --out DIR
w2v2 average --checkpoint RUN/checkpoints/9000 RUN/checkpoints/10000 --out DIR
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from w2v2_jax import trees
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description, Loaded, require_finite
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import native
from w2v2_jax.interop.files import print_written
from w2v2_jax.interop.load import is_hugging_face
from w2v2_jax.objectives.random_targets import RandomTargets
from w2v2_jax.paths import AnyPath, is_remote, to_path
from w2v2_jax.system.arguments import CommandParser, add_overwrite
from w2v2_jax.system.new_output import new_output
from w2v2_jax.system.outputs import spare_inputs


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 average", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--checkpoint",
        required=True,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="two or more steps' folders or workdirs (their best steps); one workdir with --last",
    )
    parser.add_argument("--last", type=int, metavar="N", help="the N newest steps of one workdir")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the native checkpoint to write"
    )
    add_overwrite(parser)
    arguments = parser.parse_args(argv)
    spare_inputs(arguments, ["out"], ["checkpoint"])
    steps = chosen(arguments.checkpoint, arguments.last)
    with new_output(arguments.out, overwrite=arguments.overwrite) as partial:
        native.write_initial(partial, mean_of(map(checkpoint.load, steps)))
    for step in steps:
        print(f"read {step}")
    print_written(arguments.out)


def chosen(named: list[str], last: int | None) -> list[AnyPath]:
    """The steps' folders that --checkpoint and --last select. Raises InputError if there are fewer
    than two of them, or if one is named twice."""
    for path in named:
        if not is_remote(path) and is_hugging_face(Path(path)):
            raise InputError(
                f"--checkpoint {path} is a Hugging Face folder, and steps are averaged; first "
                f"w2v2 convert --from hf --input {path} --out DIR, and name DIR"
            )
    if last is None:
        steps = [checkpoint.find(path) for path in named]
    elif len(named) > 1 or last < 2:
        raise InputError(f"--last {last}: give one --checkpoint, a workdir, and 2 or more steps")
    else:
        steps = checkpoint.newest_steps(named[0], last)
    places = [step if is_remote(step) else Path(step).resolve() for step in steps]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"--checkpoint: {steps[number]} is there twice")
    if len(steps) < 2:
        raise InputError(f"--checkpoint {named[0]} is one step; give two or more, or --last N")
    return steps


def mean_of(checkpoints: Iterable[Loaded]) -> Loaded:
    """A checkpoint whose parameters are the means over all: float32 values of float64 sums, so that
    their order and number cost no precision. Reads the checkpoints one after the other.

    Raises InputError if two have different networks, vocabularies or input scales, or if a value is
    not finite.
    """
    first: Loaded | None = None
    total: dict[str, np.ndarray] = {}
    count = 0
    for loaded in checkpoints:
        flat = trees.flatten(loaded.params)
        if first is None:
            first = loaded._replace(params=None)
            total = {name: np.zeros(leaf.shape, np.float64) for name, leaf in flat.items()}
        _check_alike(first, loaded)
        shapes = {name: leaf.shape for name, leaf in flat.items()}
        for name in sorted(total.keys() | shapes.keys()):
            if name not in shapes or name not in total or shapes[name] != total[name].shape:
                raise InputError(
                    f"{loaded.path}: {name} is {_shape(shapes.get(name))}, in {first.path} "
                    f"{_shape(total[name].shape if name in total else None)}; average steps of "
                    "one run"
                )
        require_finite(loaded, remedy="leave that step out")
        for name, leaf in flat.items():
            total[name] += leaf
        count += 1
    assert first is not None
    mean = {name: (leaf / count).astype(np.float32) for name, leaf in total.items()}
    return first._replace(params=trees.nest(mean))


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {list(shape)}"


def _check_alike(first: Loaded, other: Loaded) -> None:
    seeds = [_target_seed(loaded) for loaded in (first, other)]
    if None not in seeds and seeds[0] != seeds[1]:
        raise InputError(
            f"{other.path} has another objective.target_seed ({seeds[1]}) than {first.path} "
            f"({seeds[0]}): their heads predict codes of different quantizers; average steps of "
            "one run"
        )
    for field in Description._fields:
        if getattr(first.description, field) != getattr(other.description, field):
            raise InputError(
                f"{other.path} has another {field} than {first.path}; average steps of one run"
            )


def _target_seed(loaded: Loaded) -> int | None:
    """The seed of a BEST-RQ run's frozen quantizer, which no checkpoint holds, by its config.json;
    None for other objectives and checkpoints of no run."""
    if loaded.description.objective != RandomTargets.name:
        return None
    try:
        config = json.loads((to_path(loaded.path).parent.parent / "config.json").read_bytes())
        return config["objective"].get("target_seed", RandomTargets.target_seed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


if __name__ == "__main__":
    sys.exit(run_command(main))
