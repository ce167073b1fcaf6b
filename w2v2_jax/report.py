"""What pretraining and fine-tuning gave: one table and one figure from the files of the runs.

`python -m w2v2_jax.report --pretrain WORKDIR --scratch WORKDIR --finetuned WORKDIR
--scratch-eval A.json --finetuned-eval B.json --data DIR --out DIR` compares two CTC models of the
same labels, one from random parameters and one from the pretrained encoder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError, run_command

SAMPLE_RATE = 16_000
SECONDS_PER_FRAME = 0.02
NUM_EXAMPLES = 5


class Run(NamedTuple):
    """One workdir and its records, each with step, split and metrics."""

    workdir: Path
    records: list[dict[str, Any]]


class Units(NamedTuple):
    """One clip with its mask, and how often each codebook entry was chosen."""

    waveform: np.ndarray  # [S]
    mask: np.ndarray  # [T] bool
    code_counts: np.ndarray  # [G, V]


class Results(NamedTuple):
    """Everything the table and the figure are made of."""

    pretrain: Run
    scratch: Run
    finetuned: Run
    scratch_eval: dict[str, Any]
    finetuned_eval: dict[str, Any]
    units: Units | None
    num_negatives: int
    num_codes: int


# ---- reading -------------------------------------------------------------------------------------


def read_run(workdir: Path) -> Run:
    """Reads WORKDIR/metrics.jsonl; a last line cut off by a killed run is left out."""
    path = workdir / "metrics.jsonl"
    records = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a training workdir") from error
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(f"{path} line {number} is not JSON") from error
    if not records:
        raise InputError(f"{path} has no records: train first")
    return Run(workdir, records)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Reads what `w2v2_jax.evaluate --json` wrote."""
    try:
        evaluation = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; write it with w2v2_jax.evaluate") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON") from error
    needed = {"wer", "cer", "wer_interval", "cer_interval", "step", "utterances"}
    if not isinstance(evaluation, dict) or needed - evaluation.keys():
        raise InputError(f"{path} is no evaluation: it needs {', '.join(sorted(needed))}")
    each = {"id", "reference", "hypothesis", "wer"}
    if not all(each <= utterance.keys() for utterance in evaluation["utterances"]):
        raise InputError(f"{path}: each utterance needs {', '.join(sorted(each))}")
    return evaluation


def read_units(path: Path) -> Units:
    """Reads an npz with waveform [S], mask [T] and code_counts [G, V]."""
    try:
        with np.load(path) as arrays:
            return Units(*(arrays[name] for name in Units._fields))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}; needs {', '.join(Units._fields)}") from error


def series(run: Run, split: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric, empty where the run has none."""
    rows = [r for r in run.records if r.get("split") == split and metric in r]
    return np.array([r["step"] for r in rows]), np.array([r[metric] for r in rows], float)


# ---- the table -----------------------------------------------------------------------------------


def start_and_end(run: Run, metric: str) -> tuple[str, list[float], list[int]]:
    """(split, first and last value, their steps); validation where it has both, else training."""
    for split, fewest in (("valid", 2), ("train", 1)):
        steps, values = series(run, split, metric)
        if len(steps) >= fewest:
            return split, [float(values[0]), float(values[-1])], [int(steps[0]), int(steps[-1])]
    raise InputError(f"{run.workdir}/metrics.jsonl never has {metric}: not a pretraining run?")


def _pretraining_rows(results: Results) -> list[tuple[str, ...]]:
    split, accuracy, steps = start_and_end(results.pretrain, "contrastive_accuracy")
    candidates = results.num_negatives + 1
    over_chance = f"  over chance (1/{candidates} = {1 / candidates:.4f})"
    rows = [
        (f"PRETRAINING ({split})", f"step {steps[0]}", f"step {steps[1]}", "change"),
        ("contrastive accuracy", *(f"{a:.4f}" for a in accuracy), _times(accuracy)),
        (over_chance, *(f"{a * candidates:.1f} x" for a in accuracy), ""),
    ]
    split, perplexity, _ = start_and_end(results.pretrain, "code_perplexity")
    label = f"code perplexity of {results.num_codes} ({split})"
    return [*rows, (label, *(f"{p:.1f}" for p in perplexity), _times(perplexity))]


def _times(pair: list[float]) -> str:
    return f"{pair[1] / pair[0]:.2f} x" if pair[0] else "-"


def _recognition_rows(results: Results) -> list[tuple[str, ...]]:
    pair = (results.scratch_eval, results.finetuned_eval)
    words = sum(len(u["reference"].split()) for u in pair[0]["utterances"])
    size = f"{len(pair[0]['utterances'])} utterances, {words} words"
    rows = [
        (f"HELD-OUT TEST ({size})", "from scratch", "from pretrained", "change"),
        ("updates", *(str(e["step"]) for e in pair), ""),
    ]
    for name in ("cer", "wer"):
        rates = [100 * e[name] for e in pair]
        change = f"{100 * (rates[1] / rates[0] - 1):+.1f} %" if rates[0] else "-"
        rows.append((f"{name.upper()} %", *(f"{r:.2f}" for r in rates), change))
        intervals = [[100 * bound for bound in e[f"{name}_interval"]] for e in pair]
        rows.append(("  95 % interval", *(f"{a:.2f} to {b:.2f}" for a, b in intervals), ""))
    return rows


def table(results: Results) -> str:
    """The numbers, aligned; change is last over first, or relative to the model from scratch."""
    blocks = [_pretraining_rows(results), _recognition_rows(results)]
    widths = [max(len(row[c]) for rows in blocks for row in rows) for c in range(4)]
    rule = "-" * (sum(widths) + 6)
    lines = [rule]
    for rows in blocks:
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines.append(rule)
    return "\n".join(lines)


def transcripts(results: Results) -> str:
    """Five utterances from the best to the worst of the pretrained model, evenly spaced."""
    other = {u["id"]: u for u in results.scratch_eval["utterances"]}
    ranked = sorted(results.finetuned_eval["utterances"], key=lambda u: (u["wer"], u["id"]))
    chosen = np.linspace(0, len(ranked) - 1, min(NUM_EXAMPLES, len(ranked))).round().astype(int)
    lines = [f"Transcripts of {len(chosen)} test utterances, from the best to the worst:"]
    for utterance in (ranked[k] for k in chosen):
        lines.append(f"  {utterance['id']}")
        lines.append(f"    reference        {utterance['reference']}")
        lines.append(f"    from scratch     {other[utterance['id']]['hypothesis']}")
        lines.append(f"    from pretrained  {utterance['hypothesis']}")
    return "\n".join(lines)


def check_comparable(results: Results) -> list[str]:
    """Notes where the comparison is not even; InputError where the test sets differ."""
    ids = [
        {u["id"]: u["reference"] for u in e["utterances"]}
        for e in (results.scratch_eval, results.finetuned_eval)
    ]
    if ids[0] != ids[1] or not ids[0]:
        raise InputError("the two evaluations are not of the same test utterances")
    steps = [results.scratch_eval["step"], results.finetuned_eval["step"]]
    notes = [] if steps[0] == steps[1] else [f"note: updates differ, {steps[0]} and {steps[1]}"]
    if results.units is None:
        notes.append("note: no --units file, so the figure has no mask and no codebook panel")
    return notes


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = {"blue": "#2166ac", "red": "#c8552b", "green": "#3a8f5c", "grey": "#777777"}
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 10,
}


def _curve(axes, run: Run, metric: str, *, label: str, colour: str, scale: float = 1.0) -> None:
    """Training as a thin line, validation as a line with marks."""
    steps, values = series(run, "train", metric)
    valid_steps, valid_values = series(run, "valid", metric)
    if len(steps):
        text = label if not len(valid_steps) else f"{label}, train"
        axes.plot(steps, scale * values, color=COLOURS[colour], lw=1, alpha=0.55, label=text)
    if len(valid_steps):
        text = label if not len(steps) else f"{label}, validation"
        axes.plot(
            valid_steps, scale * valid_values, ".-", color=COLOURS[colour], lw=1.8, label=text
        )


def _finish(axes, title: str, *, chance: tuple[float, str] | None = None) -> None:
    if chance:
        axes.axhline(chance[0], color=COLOURS["grey"], ls="--", lw=1, label=chance[1])
    axes.set_title(title)
    axes.set_xlabel("update")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.legend()


def _draw_pretraining(panels: dict[str, Any], results: Results) -> None:
    run, candidates = results.pretrain, results.num_negatives + 1
    axes = panels["losses"]
    _curve(axes, run, "contrastive_loss", label="contrastive", colour="blue")
    _curve(axes, run, "diversity_loss", label="diversity", colour="red")
    _finish(axes, "Pretraining losses", chance=(math.log(candidates), f"chance, ln {candidates}"))
    axes = panels["accuracy"]
    _curve(axes, run, "contrastive_accuracy", label="accuracy", colour="blue")
    _finish(axes, "Contrastive accuracy", chance=(1 / candidates, f"chance, 1/{candidates}"))
    axes = panels["perplexity"]
    _curve(axes, run, "code_perplexity", label="codes chosen", colour="blue")
    _curve(axes, run, "prob_perplexity", label="probabilities", colour="red")
    limit = (results.num_codes, f"all {results.num_codes} codes")
    _finish(axes, "Codebook perplexity", chance=limit)


def _draw_finetuning(panels: dict[str, Any], results: Results) -> None:
    for name, metric, scale in (("ctc", "loss", 1.0), ("cer", "cer", 100.0)):
        axes = panels[name]
        pair = (results.scratch, "from scratch", "red"), (results.finetuned, "pretrained", "blue")
        for run, label, colour in pair:
            _curve(axes, run, metric, label=label, colour=colour, scale=scale)
    _finish(panels["ctc"], "Fine-tuning: CTC loss")
    _finish(panels["cer"], "Fine-tuning: character error rate, %")


def _draw_units(panels: dict[str, Any], units: Units) -> None:
    import librosa

    axes = panels["codes"]
    colours = itertools.cycle(COLOURS.values())
    for number, (counts, colour) in enumerate(zip(units.code_counts, colours, strict=False), 1):
        used = f"codebook {number}: {np.count_nonzero(counts)} of {len(counts)} used"
        ranks = np.arange(1, len(counts) + 1)
        axes.plot(ranks, np.sort(counts)[::-1], color=colour, lw=2, label=used)
    _finish(axes, "Codebook use")
    axes.set_xlabel("entry of each codebook, by rank")
    axes.set_ylabel("times chosen")

    axes = panels["mask"]
    mel = librosa.feature.melspectrogram(
        y=units.waveform.astype(np.float32), sr=SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=80
    )
    decibels = 10 * np.log10(np.maximum(mel, mel.max() * 1e-7 + 1e-12))  # [80, frames]
    seconds = len(units.waveform) / SAMPLE_RATE
    axes.imshow(decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 80))
    edges = np.flatnonzero(np.diff(np.pad(units.mask.astype(int), 1))).reshape(-1, 2)
    for first, end in edges * SECONDS_PER_FRAME:
        axes.axvspan(first, end, color="white", alpha=0.55, lw=0)
    axes.set_title(f"Log-mel spectrogram of a test clip, {units.mask.mean():.0%} masked (pale)")
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds))
    axes.grid(False)


def draw(results: Results, path: Path) -> None:
    """Writes the figure: 1600 x 1200 pixels, or 1600 x 800 without the units."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    top = ["losses"] * 2 + ["accuracy"] * 2 + ["perplexity"] * 2
    rows = [top, ["ctc"] * 3 + ["cer"] * 3]
    if results.units is not None:
        rows = [top, ["ctc"] * 2 + ["cer"] * 2 + ["codes"] * 2, ["mask"] * 6]
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplot_mosaic(
            rows, figsize=(16, 4 * len(rows)), dpi=100, layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        _draw_pretraining(panels, results)
        _draw_finetuning(panels, results)
        if results.units is not None:
            _draw_units(panels, results.units)
        figure.savefig(path)
        pyplot.close(figure)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2_jax.report", description=__doc__)
    for name in ("pretrain", "scratch", "finetuned"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a training workdir")
    for name in ("scratch-eval", "finetuned-eval"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="JSON of evaluate")
    parser.add_argument("--data", type=Path, required=True, help="the prepared data, to name it")
    parser.add_argument("--out", type=Path, required=True, help="directory for the results")
    parser.add_argument("--units", type=Path, help="npz with waveform, mask and code_counts")
    parser.add_argument("--num-negatives", type=int, default=100)
    parser.add_argument("--num-codes", type=int, default=640, help="of all codebooks together")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        raise InputError(f"--data {args.data}: no such directory")
    results = Results(
        pretrain=read_run(args.pretrain),
        scratch=read_run(args.scratch),
        finetuned=read_run(args.finetuned),
        scratch_eval=read_evaluation(args.scratch_eval),
        finetuned_eval=read_evaluation(args.finetuned_eval),
        units=read_units(args.units) if args.units else None,
        num_negatives=args.num_negatives,
        num_codes=args.num_codes,
    )
    notes = check_comparable(results)
    places = {
        "pretraining": args.pretrain,
        "from scratch": args.scratch,
        "from pretrained": args.finetuned,
        "evaluations": f"{args.scratch_eval}, {args.finetuned_eval}",
        "data": args.data,
        "table": args.out / "report.txt",
        "figure": args.out / "report.png",
    }
    where = "\n".join(f"  {name:<15}  {place}" for name, place in places.items())
    parts = [table(results), transcripts(results), f"Where everything lies:\n{where}", *notes]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        draw(results, args.out / "report.png")
        (args.out / "report.txt").write_text("\n\n".join(parts) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {args.out}: {error}") from error
    print("\n\n".join(parts))
    print(f"wrote {args.out}/report.txt and {args.out}/report.png")


if __name__ == "__main__":
    sys.exit(run_command(main))
