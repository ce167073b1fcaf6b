"""Tables of what pretraining gives, from the evaluations of `launch/evidence.sh`.

`python -m w2v2_jax.report.cells DIR --json OUT` reads DIR/START@LABELS@SEED.json, what `evaluate`
wrote of each cell, prints Markdown tables and writes the rates alone to OUT. --png draws them.
Of letters these are CER and WER, of phonemes the PER.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.rates import rates_shown
from w2v2_jax.evaluation.result_files import PHONES, difference, read_evaluation
from w2v2_jax.evaluation.scoring import bootstrap_interval, count_errors, total
from w2v2_jax.paths import write_json
from w2v2_jax.report import cells_figure
from w2v2_jax.system.arguments import CommandParser
from w2v2_jax.system.outputs import try_outputs

SCRATCH, PRETRAINED, SHORT = "scratch", "pretrain", "short"


def read_cells(directory: Path) -> list[dict[str, Any]]:
    """One entry a cell: start ("scratch": no pretraining), labels, seed, updates, rates with their
    95 % intervals, and the rates of each source, the first folder in which utterances differ ("."
    for those that lie in none).

    Raises InputError if a name is no cell, the test sets differ or only some are of phonemes.
    """
    cells: list[dict[str, Any]] = []
    tests = {}
    for path in sorted(directory.glob("*.json")):
        parts = path.stem.split("@")
        if len(parts) != 3 or not all(parts):
            raise InputError(f"{path}: a cell is named START@LABELS@SEED.json")
        evaluation = read_evaluation(path)
        tests[path.name] = {u["id"]: u["reference"] for u in evaluation["utterances"]}
        cells.append(
            dict(zip(("start", "labels", "seed"), parts, strict=True)) | _rates(evaluation, path)
        )
    if not tests:
        raise InputError(f"{directory}: no cells, START@LABELS@SEED.json")
    one, *others = tests
    differing = [name for name in others if tests[name] != tests[one]]
    if differing:
        distinct = len({tuple(sorted(references.items())) for references in tests.values()})
        raise InputError(
            f"{directory}: {distinct} different test sets in {len(cells)} cells; {one} and "
            f"{differing[0]} differ: {difference(tests[one], tests[differing[0]])}"
        )
    of_phonemes = {"per" in cell: name for name, cell in zip(tests, cells, strict=True)}
    if len(of_phonemes) > 1:
        raise InputError(
            f"{directory}: {of_phonemes[True]} has an error rate of phonemes and "
            f"{of_phonemes[False]} one of words; evaluate both with --phones or both without"
        )
    return cells


def rates_of(cells: list[dict[str, Any]]) -> tuple[str, ...]:
    """The rates that are compared, the first of them with its changes. The characters of phonemes
    say nothing."""
    return ("per",) if "per" in cells[0] else ("cer", "wer")


def _rates(evaluation: dict[str, Any], path: Path) -> dict[str, Any]:
    names = [name for rate in rates_shown(evaluation) for name in (rate, f"{rate}_interval")]
    if lacking := [name for name in names if name not in evaluation]:
        raise InputError(f"{path}: not a result of evaluate: it lacks {lacking[0]}")
    by_source: dict[str, list] = {}
    folders = [
        [part for part in os.path.dirname(str(u["id"])).split("/") if part not in ("", ".")]
        for u in evaluation["utterances"]
    ]
    first, last = min(folders), max(folders)
    both = list(zip(first, last, strict=False))
    shared = next((k for k, (a, b) in enumerate(both) if a != b), len(both))
    for utterance, folder in zip(evaluation["utterances"], folders, strict=True):
        source = folder[shared] if len(folder) > shared else "."
        by_source.setdefault(source, []).append(utterance)
    sources = by_source if 1 < len(by_source) < len(folders) else {}
    return {name: evaluation[name] for name in ("step", *names)} | {
        "sources": {
            name: _source(rows, phonemes="per" in evaluation)
            for name, rows in sorted(sources.items())
        }
    }


def _source(utterances: list[dict[str, Any]], *, phonemes: bool) -> dict[str, Any]:
    pairs = [(u["reference"], u["hypothesis"]) for u in utterances]
    words = [count_errors(reference.split(), hypothesis.split()) for reference, hypothesis in pairs]
    if phonemes:  # folded ones, if the utterances have them
        phones = [
            count_errors(*(u[name] for name in PHONES)) if PHONES[0] in u else unfolded
            for u, unfolded in zip(utterances, words, strict=True)
        ]
        return {"per": total(phones).rate, "per_interval": list(bootstrap_interval(phones))}
    characters = [count_errors(reference, hypothesis) for reference, hypothesis in pairs]
    return {
        "cer": total(characters).rate,
        "cer_interval": list(bootstrap_interval(characters)),
        "wer": total(words).rate,
    }


def percent(rate: float, interval: tuple[float, float] | None = None) -> str:
    """ "48.1 (46.0 to 50.2)": per cent."""
    text = f"{100 * rate:.1f}"
    return text + (" ({:.1f} to {:.1f})".format(*(100 * b for b in interval)) if interval else "")


def reduction(before: float, after: float) -> str:
    """The relative change of a rate, "-31.0 %"; "?" of one that is 0 or infinite."""
    if not 0 < before < math.inf or after == math.inf:
        return "?"
    return f"{100 * (after / before - 1):+.1f} %"


def _mean(cells: list[dict[str, Any]], rate: str) -> float:
    return sum(cell[rate] for cell in cells) / len(cells)


def _head(*names: str) -> str:
    return f"{_line(*names)}\n{'|---' * len(names)}|"


def _line(*columns: object) -> str:
    return f"| {' | '.join(map(str, columns))} |"


def _titles(rates: tuple[str, ...], before: str = "test ") -> list[str]:
    return [f"{before}{rate.upper()} %" for rate in rates]


def main_table(cells: list[dict[str, Any]]) -> str:
    """From scratch against from the pretrained encoder, seed by seed, by amount of labels; "" if no
    seed has both."""
    shown = first, *_ = rates_of(cells)
    title, *others = _titles(shown)
    lines = [_head("labels", "seed", f"{title} from scratch", "pretrained", "change", *others)]
    by_key = {(c["labels"], c["seed"], c["start"]): c for c in cells}
    for labels in sorted({c["labels"] for c in cells}):
        seeds = sorted(
            seed
            for size, seed, start in by_key
            if size == labels and start == SCRATCH and (size, seed, PRETRAINED) in by_key
        )
        pairs = [[by_key[labels, s, start] for s in seeds] for start in (SCRATCH, PRETRAINED)]
        for seed, *pair in zip(seeds, *pairs, strict=True):
            rates = [percent(cell[first], cell[f"{first}_interval"]) for cell in pair]
            lines.append(_row(labels, seed, rates, pair, shown))
        if len(seeds) > 1:
            means = [{rate: _mean(p, rate) for rate in shown} for p in pairs]
            rates = [percent(m[first]) for m in means]
            lines.append(_row(labels, "mean", rates, means, shown))
    return "\n".join(lines) if len(lines) > 1 else ""


def _row(
    labels: str,
    seed: str,
    rates: list[str],
    pair: list[dict[str, Any]],
    shown: tuple[str, ...],
) -> str:
    first, *others = shown
    change = reduction(*(cell[first] for cell in pair))
    both = [", ".join(percent(cell[rate]) for cell in pair) for rate in others]
    return _line(labels, seed, *rates, change, *both)


def change_table(cells: list[dict[str, Any]]) -> str:
    """Every start on the same labels and seed, against the short pretraining; "" without it."""
    shown = first, *others = rates_of(cells)
    against = f"{first.upper()} against short"
    lines = [_head("pretraining", "labels", "seed", *_titles(shown), against)]
    for base in (cell for cell in cells if cell["start"] == SHORT):
        same = [c for c in cells if (c["labels"], c["seed"]) == (base["labels"], base["seed"])]
        for cell in sorted(same, key=lambda c: c[first]):
            rates = [percent(cell[first], cell[f"{first}_interval"])]
            rates += [percent(cell[rate]) for rate in others]
            change = reduction(base[first], cell[first])
            lines.append(_line(cell["start"], cell["labels"], cell["seed"], *rates, change))
    return "\n".join(lines) if len(lines) > 1 else ""


def start_table(cells: list[dict[str, Any]]) -> str:
    """Every start but scratch against it on the same labels, means over the seeds; "" if no start
    but those of `main_table` is there."""
    shown = first, *others = rates_of(cells)
    title, *titles = _titles(shown)
    lines = [_head("labels", "start", "seeds", title, "against scratch", *titles)]
    groups: dict[tuple[str, str], list] = {}
    for cell in cells:
        groups.setdefault((cell["labels"], cell["start"]), []).append(cell)
    for (labels, start), of_start in sorted(groups.items()):
        scratch = groups.get((labels, SCRATCH), [])
        change = reduction(_mean(scratch, first), _mean(of_start, first)) if scratch else "?"
        rates = [percent(_mean(of_start, rate)) for rate in others]
        mean = percent(_mean(of_start, first))
        lines.append(_line(labels, start, len(of_start), mean, change, *rates))
    return "\n".join(lines) if {start for _, start in groups} - {SCRATCH, PRETRAINED} else ""


def source_table(cells: list[dict[str, Any]]) -> str:
    """The rates on each source of the test set, mean over seeds; empty if ids name none."""
    shown = rates_of(cells)
    lines = [_head("source", "labels", "start", "seeds", *_titles(shown, before=""))]
    groups: dict[tuple[str, str, str], list] = {}
    for cell in cells:
        for source, rates in cell["sources"].items():
            groups.setdefault((source, cell["labels"], cell["start"]), []).append(rates)
    for (source, labels, start), of_source in sorted(groups.items()):
        means = [percent(_mean(of_source, rate)) for rate in shown]
        lines.append(_line(source, labels, start, len(of_source), *means))
    return "\n".join(lines) if groups else ""


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2_jax.report.cells", description=__doc__)
    parser.add_argument("cells", type=Path, help="folder of START@LABELS@SEED.json")
    parser.add_argument("--json", type=Path, required=True, help="gets the rates of all cells")
    parser.add_argument("--png", type=Path, help="gets a plot of the error rates by labels")
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "json", "png")
    if arguments.png is not None and arguments.png.suffix not in cells_figure.SUFFIXES:
        raise InputError(f"--png {arguments.png} must end in {' or '.join(cells_figure.SUFFIXES)}")
    among = arguments.json.parent.resolve() == arguments.cells.resolve()
    if among and arguments.json.suffix == ".json":
        raise InputError(
            f"--json {arguments.json}: every .json in {arguments.cells} is a cell; name a file "
            "elsewhere"
        )
    cells = read_cells(arguments.cells)
    write_json(arguments.json, cells)
    if arguments.png is not None:
        cells_figure.draw(cells, arguments.png, rate=rates_of(cells)[0])
    tables = (main_table(cells), start_table(cells), source_table(cells), change_table(cells))
    print("\n\n".join(table for table in tables if table))


if __name__ == "__main__":
    sys.exit(run_command(main))
