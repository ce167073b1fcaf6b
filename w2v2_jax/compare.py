"""Tests whether one system is better than another, or shows a training run beside healthy runs.

w2v2 compare FIRST.json SECOND.json [--speakers] [--json OUT]
    two results of `evaluate`: differences of error rates with intervals and tests
w2v2 compare WORKDIR [--reference NAME] [--png OUT.png] [--json OUT]
    a training run beside stored curves of healthy runs; the plot goes to WORKDIR/compare.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.rates import RATES, rates_shown
from w2v2_jax.evaluation.reference_comparison import figure, stand, table
from w2v2_jax.evaluation.reference_curves import RECIPES
from w2v2_jax.evaluation.result_files import (
    check_values,
    difference,
    with_reference,
    without_reference,
)
from w2v2_jax.evaluation.scoring import ErrorCounts, count_errors
from w2v2_jax.evaluation.significance import Comparison, compare
from w2v2_jax.paths import MOST_LARGE_JSON, read_json, write_json
from w2v2_jax.system.arguments import CommandParser, add_json
from w2v2_jax.system.outputs import tell_replaced, try_outputs
from w2v2_jax.system.revision import stamp


def read_splits(path: Path) -> list[dict[str, Any]]:
    """The splits of a JSON file that `evaluate` wrote; InputError for any other file."""
    try:
        content = read_json(path, most=MOST_LARGE_JSON)
    except InputError as error:
        raise InputError(f"{error}: not a result of evaluate; write it with --json") from error
    splits = content.get("splits", [content])
    if not isinstance(splits, list) or not splits:
        raise InputError(f"{path}: splits={repr(splits)[:40]} must be a list of results")
    for number, split in enumerate(splits):
        where = f"{path}: splits[{number}]" if "splits" in content else str(path)
        check_values(split, where=where)
        rows = with_reference(split)
        if not rows:
            raise InputError(f"{where}: no utterance of {split.get('data', '?')} has a reference")
        split["by_id"] = {u["id"]: u for u in rows}
    return splits


def partner(split: dict, others: list[dict], where: Path) -> dict:
    """The split of the other result that has the same utterances with the same references."""
    mine = references(split)
    for other in others:
        if mine == references(other):
            return other
    best = max(others, key=lambda other: len(mine.keys() & other["by_id"].keys()))
    shared = len(mine.keys() & best["by_id"].keys())
    raise InputError(
        f"{where}: no split with the {len(mine)} utterances and references of "
        f"{split.get('data', '?')}; the nearest shares {shared} ids: "
        f"{difference(mine, references(best))}"
    )


def references(split: dict) -> dict[str, str]:
    """The scored utterances' references by id, in one case: checkpoints write their own."""
    return {name: u["reference"].casefold() for name, u in split["by_id"].items()}


def counts(utterance: dict, unit: str) -> ErrorCounts:
    """An utterance's errors in words, characters or (as stored) phones."""
    if unit == "phone":
        return count_errors(utterance["phones_reference"], utterance["phones_hypothesis"])
    reference, hypothesis = utterance["reference"], utterance["hypothesis"]
    if unit == "word":
        return count_errors(reference.split(), hypothesis.split())
    return count_errors(reference, hypothesis)


def compare_splits(first: dict, second: dict, *, by_speaker: bool) -> dict[str, Comparison]:
    """The comparison for each kind of unit both results have."""
    names = list(first["by_id"])
    pairs = [(first["by_id"][name], second["by_id"][name]) for name in names]
    groups = None
    if by_speaker:
        groups = [a.get("speaker", "") for a, _ in pairs]
        if not all(groups):
            raise InputError(f"--speakers: {first.get('data', '?')} has utterances without one")
    phones = all("phones_reference" in u for pair in pairs for u in pair)
    phones = phones and any(a["phones_reference"] for a, _ in pairs)
    return {
        rate: compare(
            [counts(a, unit) for a, _ in pairs], [counts(b, unit) for _, b in pairs], groups=groups
        )
        for rate, unit in RATES.items()
        if phones or unit != "phone"
    }


def describe(rate: str, pair: Comparison) -> str:
    """One line for people."""
    probable = lambda p: f"{p:.4f}" if p >= 1e-4 else "< .0001"  # noqa: E731
    low, high = (100 * bound for bound in pair.interval)
    return (
        f"{rate.upper()} {100 * pair.first:.2f} % -> {100 * pair.second:.2f} %: "
        f"{100 * pair.difference:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}), second "
        f"better in {100 * pair.second_better:.1f} % of resamples, p "
        f"{probable(pair.p_permutation)} (permutation), {probable(pair.p_matched_pairs)} (matched "
        "pairs)"
    )


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 compare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "first",
        type=Path,
        metavar="FIRST.json|WORKDIR",
        help="the result of `evaluate` for one system, or a training workdir",
    )
    parser.add_argument(
        "second",
        type=Path,
        nargs="?",
        metavar="SECOND.json",
        help="the result for the other system, on the same utterances",
    )
    parser.add_argument("--speakers", action="store_true", help="resample whole speakers")
    parser.add_argument("--reference", help=f"for a workdir: {', '.join(RECIPES)} (best match)")
    parser.add_argument("--png", type=Path, metavar="OUT", help="for a workdir: the plot")
    add_json(parser, required=False)
    arguments = parser.parse_args(argv)
    for name in ("speakers",) if arguments.second is None else ("reference", "png"):
        if getattr(arguments, name):
            given = "a workdir" if arguments.second is None else "two results"
            raise InputError(f"--{name} changes nothing with {given}; omit it")
    try_outputs(arguments, "json", "png")
    if arguments.second is None:
        compare_run(arguments)
    else:
        compare_results(arguments)


def _recipe(reference: str) -> dict[str, Any]:
    """The configuration of the recipe that a reference's runs are of."""
    from w2v2_jax.experiment.recipe import load_config  # two results need no JAX
    from w2v2_jax.experiment.settings import read_settings

    return read_settings(load_config(RECIPES[reference])).raw


def compare_run(arguments: argparse.Namespace) -> None:
    """Shows a workdir beside the reference curves."""
    workdir = arguments.first
    if not workdir.is_dir():
        raise InputError(f"{workdir} is no training workdir; or give two results of evaluate")
    standing = stand(workdir, arguments.reference, recipe=_recipe)
    tell_replaced(arguments, "json", {"workdir": str(workdir)})
    print(table(standing))
    written = [arguments.png or workdir / "compare.png"]
    try:
        figure(standing, written[0], workdir.name, made=stamp())
    except OSError as error:
        raise InputError(f"{written[0]}: {error.strerror}; use --png elsewhere") from error
    if arguments.json is not None:
        content: dict[str, Any] = {"workdir": str(workdir), "reference": standing.reference.name}
        content |= {"differs": standing.differs, "rows": [row._asdict() for row in standing.rows]}
        write_json(arguments.json, content)
        written.append(arguments.json)
    print(f"wrote {' and '.join(map(str, written))}")


def compare_results(arguments: argparse.Namespace) -> None:
    """Whether the second of two results of evaluate is better than the first."""
    firsts, seconds = read_splits(arguments.first), read_splits(arguments.second)
    pairs = [(split, partner(split, seconds, arguments.second)) for split in firsts]
    made_of = {"first": str(arguments.first), "second": str(arguments.second)}
    tell_replaced(arguments, "json", made_of)
    results = []
    for first, second in pairs:
        comparisons = compare_splits(first, second, by_speaker=arguments.speakers)
        data = first.get("data", "")
        missing = [without_reference(split) for split in (first, second)]
        if any(missing):
            print(f"{data}: without a reference and left out: {missing[0]} and {missing[1]}")
        lines = (f"  {describe(rate, comparisons[rate])}" for rate in rates_shown(comparisons))
        print(data, *lines, sep="\n")
        results.append({"data": data, **{rate: one._asdict() for rate, one in comparisons.items()}})
    if arguments.json is not None:
        content: dict[str, Any] = {"first": str(arguments.first), "second": str(arguments.second)}
        content["splits"] = results
        write_json(arguments.json, content)
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
