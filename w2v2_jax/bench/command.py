"""The benchmark's options, its JSON and its printed lines."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import sys

import w2v2_jax.bench
from w2v2_jax.bench.data import bench_data
from w2v2_jax.bench.measure import keep_memory
from w2v2_jax.bench.peer import PEERS, TOLERANCE, bench_peer
from w2v2_jax.bench.peer_task import PEER_OBJECTIVES
from w2v2_jax.bench.step import bench_infer, bench_train
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import CHOICES
from w2v2_jax.models.execution import FIELDS as EXECUTION_FIELDS
from w2v2_jax.models.families import FAMILIES
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.paths import write_json
from w2v2_jax.recognition.computation import add_dtype
from w2v2_jax.system.arguments import DAY, CommandParser, add_json
from w2v2_jax.system.outputs import tell_replaced, try_outputs

BENCHES = {"train": bench_train, "infer": bench_infer, "data": bench_data}


def seconds_list(text: str) -> list[float]:
    """ "3,5,8" -> [3.0, 5.0, 8.0]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no list of seconds, such as 3,5.5") from None


def setting(text: str) -> tuple[str, object]:
    """ "conv_formulation=matmul" -> its name and value, a Python literal or a string."""
    name, equals, value = text.partition("=")
    known = {field.name for field in dataclasses.fields(ModelConfig)}.union(EXECUTION_FIELDS)
    if not equals or name not in known:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE of config.execution's or config.model's settings"
        )
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


class BenchParser(CommandParser):
    """Notes as `given` the options of the command line, those with their default's value too."""

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else args
        found, rest = super().parse_known_args(args, namespace)
        known = self._option_string_actions
        found.given = {known[name].dest for name in map(self._named, words) if name in known}
        return found, rest


def make_parser() -> CommandParser:
    description = w2v2_jax.bench.__doc__.splitlines()[0]
    parser = BenchParser(prog="w2v2 bench", description=description)
    parser.add_argument("--what", required=True, choices=sorted(BENCHES), help="what to time")
    parser.add_argument(
        "--config",
        metavar="FILE.py[:arg]",
        help="time the step of this recipe, inference by its network, or batches of its longest "
        "rows; --config.a.b=value changes a setting",
    )
    add_json(parser)
    parser.add_argument(
        "--family",
        default="base",
        choices=sorted(FAMILIES),
        help="the network, without --config (base)",
    )
    parser.add_argument(
        "--objective",
        default="contrastive",
        choices=tuple(OBJECTIVES),
        help="the objective, without --config (contrastive)",
    )
    add_dtype(parser, dest="dtype")
    parser.add_argument(
        "--remat",
        default="none",
        choices=CHOICES["remat"],
        help="what the backward pass computes again instead of storing it (none)",
    )
    parser.add_argument(
        "--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
        help="change a setting of config.execution or config.model, e.g. remat=full",
    )  # fmt: skip
    parser.add_argument("--rows", type=int, default=2, help="rows of a batch (2)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a row (10)")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches of a training step")
    parser.add_argument(
        "--lengths",
        type=seconds_list,
        default=[],
        metavar="S,S,...",
        help="infer: utterances with these lengths in seconds, instead of --rows of --seconds",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed calls, after one untimed call (5)"
    )
    _add_peer(parser)
    parser.add_argument(
        "--data", metavar="DIR[:split]", help="corpus for --what data (default: noise)"
    )
    parser.add_argument(
        "--reader",
        default="threads",
        choices=("threads", "tfdata"),
        help="reader for --what data (threads)",
    )
    parser.add_argument("--workers", type=int, default=1, help="threads of the reader (1)")
    parser.set_defaults(overrides=[])
    return parser


def _add_peer(parser: argparse.ArgumentParser) -> None:
    """The options of a comparison with another framework."""
    parser.add_argument(
        "--peer", choices=sorted(PEERS), help="compare with the same network and weights in torch"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="do not compare with torch.compile"
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="with --peer: prepare all sides at the same time, if cores and memory suffice",
    )
    parser.add_argument("--dropout", action="store_true", help="with --peer: time with dropout")


def without_effect(arguments) -> list[tuple[tuple[str, ...], str]]:
    """Names of options that change nothing beside the others, and beside which."""
    what, config = arguments.what, bool(arguments.config)
    network = "with --config; use --set dtype=bfloat16 or --config.section.name=value"
    given = "with --config, whose longest rows are timed; use --config.data.batch_seconds=value"
    return [
        (("family", "objective", "dtype", "remat") if config else (), network),
        (("rows", "seconds", "accumulate") if config and what != "infer" else (), given),
        (("accumulate", "remat", "objective") if what == "infer" else (), "with --what infer"),
        (("rows", "seconds") if arguments.lengths else (), "with --lengths"),
        (
            ("set", "family", "objective", "dtype", "remat", "accumulate")
            if what == "data"
            else (),
            "with --what data",
        ),
        (("data", "reader", "workers") if what != "data" else (), f"with --what {what}"),
        (("dropout", "no_compile", "together") if not arguments.peer else (), "without --peer"),
    ]


def options_of(arguments) -> dict[str, object]:
    """The options that decide what is timed, without those that are not given."""
    others = ("what", "json", "overwrite", "given")
    values = {name: value for name, value in vars(arguments).items() if name not in others}
    return {name: value for name, value in values.items() if value not in (None, False, [])}


def check(arguments) -> None:
    """Raises InputError for options that do not go together."""
    for names, beside in without_effect(arguments):
        for name in names:
            if name in arguments.given:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} changes nothing {beside}")
    least = min(arguments.rows, arguments.repeats, arguments.workers)
    if least < 1 or not 0.1 <= arguments.seconds <= DAY:
        raise InputError(
            "--rows, --repeats and --workers must be at least 1, --seconds at least 0.1, at most "
            f"{DAY:g}"
        )
    sane = all(0.1 <= seconds <= DAY for seconds in arguments.lengths)
    if arguments.lengths and (arguments.what != "infer" or not sane):
        raise InputError(f"--lengths are seconds, 0.1 to {DAY:g}, for --what infer")
    if arguments.accumulate < 1 or arguments.rows % arguments.accumulate:
        raise InputError(f"--accumulate {arguments.accumulate} must divide --rows {arguments.rows}")
    if arguments.overrides and not arguments.config:
        raise InputError(f"{arguments.overrides[0]} changes nothing without --config; give it")
    if arguments.peer and (arguments.what == "data" or arguments.config):
        raise InputError("--peer goes with --what train or infer, and without --config")
    if arguments.peer and arguments.objective not in PEER_OBJECTIVES:
        raise InputError(f"--peer goes with --objective {' or '.join(PEER_OBJECTIVES)}")
    if arguments.peer and arguments.dtype not in TOLERANCE:
        raise InputError(
            f"--peer has no tolerance for --dtype {arguments.dtype}; use {' or '.join(TOLERANCE)}"
        )
    if arguments.peer == "torchaudio" and arguments.what != "infer":
        raise InputError(
            "--peer torchaudio is for --what infer: torchaudio cannot train this network"
        )


def main(argv: list[str] | None = None) -> None:
    arguments, arguments.overrides = make_parser().parse_known_args(argv)
    try_outputs(arguments, "json")
    check(arguments)
    made_of = {"what": arguments.what, "options": options_of(arguments)}
    tell_replaced(arguments, "json", made_of)
    keep_memory(arguments.what)
    run = bench_peer if arguments.peer else BENCHES[arguments.what]
    result = run(arguments) | {"options": made_of["options"]}
    if arguments.config:
        result |= {"config": arguments.config, "overrides": arguments.overrides}
    write_json(arguments.json, result)
    for name, value in result.items():
        if isinstance(value, float):
            print(f"{name:36} {value:.6g}")
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
