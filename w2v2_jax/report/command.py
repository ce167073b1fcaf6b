"""Results of pretraining and fine-tuning: one table and one figure from the files of the runs.

`w2v2 report --pretrain WORKDIR --scratch WORKDIR --finetuned WORKDIR
--scratch-eval A.json --finetuned-eval B.json --data DIR --out DIR` compares two CTC models trained
on the same labels, one from random parameters and one from the pretrained encoder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.rates import rates_shown, word_rate
from w2v2_jax.evaluation.result_files import difference, read_evaluation, without_reference
from w2v2_jax.evaluation.runs import Run, read_run, series
from w2v2_jax.paths import write_text
from w2v2_jax.report.figure import draw
from w2v2_jax.report.results import Results, read_units
from w2v2_jax.system.arguments import CommandParser, whole
from w2v2_jax.system.revision import stamp

NUM_EXAMPLES = 5


def start_and_end(run: Run, metric: str) -> tuple[str, list[float], list[int]]:
    """(split, first and last value, their steps); validation if it has both, else training."""
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
    if not any(len(series(results.pretrain, s, "code_perplexity")[0]) for s in ("valid", "train")):
        return rows  # neither targets nor input are quantized
    split, perplexity, _ = start_and_end(results.pretrain, "code_perplexity")
    label = f"code perplexity of {results.num_codes} ({split})"
    return [*rows, (label, *(f"{p:.1f}" for p in perplexity), _times(perplexity))]


def _times(pair: list[float]) -> str:
    return f"{pair[1] / pair[0]:.2f} x" if pair[0] else "-"


def _recognition_rows(results: Results) -> list[tuple[str, ...]]:
    pair = (results.scratch_eval, results.finetuned_eval)
    words = sum(len(u["reference"].split()) for u in pair[0]["utterances"])
    size = f"{len(pair[0]['utterances'])} utterances, {words} "
    size += "phones" if _of_phones(pair[0]) else "words"
    if missing := without_reference(pair[0]):
        size += f", {missing} without a reference"
    rows = [
        (f"HELD-OUT TEST ({size})", "from scratch", "from pretrained", "change"),
        ("updates", *(str(e["step"]) for e in pair), ""),
    ]
    rows += [*_rates("CER %", "cer", pair), *_rates(f"{_word_rate(pair[0])} %", "wer", pair)]
    if with_model := results.lm_evals:
        label = f"{_word_rate(with_model[0])} % with a language model"
        rows += _rates(label, "wer", with_model)
    return rows


def _of_phones(evaluation: dict) -> bool:
    """Whether the words of an evaluation are phones, whose WER is their PER."""
    return "wer" not in rates_shown(evaluation)


def _word_rate(evaluation: dict) -> str:
    """What the error rate of an evaluation's words is called."""
    return word_rate(phonemes=_of_phones(evaluation)).upper()


def _rates(label: str, name: str, pair: tuple[dict, ...]) -> list[tuple[str, ...]]:
    """Two rows: a rate of both evaluations and its interval."""
    rates = [100 * e[name] for e in pair]
    change = f"{100 * (rates[1] / rates[0] - 1):+.1f} %" if rates[0] else "-"
    intervals = [[100 * bound for bound in e[f"{name}_interval"]] for e in pair]
    return [
        (label, *(f"{r:.2f}" for r in rates), change),
        ("  95 % interval", *(f"{a:.2f} to {b:.2f}" for a, b in intervals), ""),
    ]


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
    with_model = {u["id"]: u for u in results.lm_evals[1]["utterances"]} if results.lm_evals else {}
    ranked = sorted(results.finetuned_eval["utterances"], key=lambda u: (u["wer"], u["id"]))
    chosen = np.linspace(0, len(ranked) - 1, min(NUM_EXAMPLES, len(ranked))).round().astype(int)
    lines = [f"Transcripts of {len(chosen)} test utterances, from the best to the worst:"]
    for utterance in (ranked[k] for k in chosen):
        lines.append(f"  {utterance['id']}")
        lines.append(f"    reference        {utterance['reference']}")
        lines.append(f"    from scratch     {other[utterance['id']]['hypothesis']}")
        lines.append(f"    from pretrained  {utterance['hypothesis']}")
        if with_model:
            hypothesis = with_model[utterance["id"]]["hypothesis"]
            lines.append(f"    and with the LM  {hypothesis}")
    return "\n".join(lines)


def _check_same(evaluations: tuple[dict, ...]) -> None:
    """InputError if evaluations are not of the same utterances with the same references."""
    first, *others = ({u["id"]: u["reference"] for u in e["utterances"]} for e in evaluations)
    for other in others:
        if first != other or not first:
            raise InputError(
                "the evaluations are not of the same test utterances: "
                f"{difference(first, other) or 'they have none'}"
            )


def check_comparable(results: Results) -> list[str]:
    """Notes where the comparison is not even; InputError if the test sets differ."""
    pair, with_model = (results.scratch_eval, results.finetuned_eval), results.lm_evals or ()
    if with_model and _of_phones(pair[0]) and not _of_phones(with_model[0]):
        # A model of words makes words of phones: the references are others, and those without a
        # pronunciation are among them.
        _check_same(pair)
        _check_same(with_model)
        ids, of_words = ({u["id"] for u in e["utterances"]} for e in (pair[0], with_model[0]))
        if lacking := sorted(ids - of_words):
            raise InputError(f"--lm-evals lack {len(lacking)} utterances, such as {lacking[0]}")
    else:
        _check_same((*pair, *with_model))
    steps = [results.scratch_eval["step"], results.finetuned_eval["step"]]
    notes = [] if steps[0] == steps[1] else [f"note: updates differ, {steps[0]} and {steps[1]}"]
    for plain, other in zip(
        (results.scratch_eval, results.finetuned_eval), results.lm_evals or (), strict=False
    ):
        if plain.get("checkpoint") != other.get("checkpoint") or plain["step"] != other["step"]:
            notes.append(
                f"note: with a language model, {other.get('checkpoint')} was evaluated at step "
                f"{other['step']}, without one {plain.get('checkpoint')} at step {plain['step']}"
            )
    if results.units is None:
        notes.append("note: no --units file, so the figure has no mask and no codebook panel")
    return notes


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 report", description=__doc__)
    for name in ("pretrain", "scratch", "finetuned"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a training workdir")
    for name in ("scratch-eval", "finetuned-eval"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="JSON file of evaluate")
    parser.add_argument(
        "--lm-evals",
        type=Path,
        nargs=2,
        metavar=("SCRATCH.json", "FINETUNED.json"),
        help="the same two, decoded with a language model",
    )
    parser.add_argument("--data", type=Path, required=True, help="the prepared corpus (to name it)")
    parser.add_argument("--out", type=Path, required=True, help="directory for the results")
    parser.add_argument("--units", type=Path, help="npz with waveform, mask and code_counts")
    parser.add_argument(
        "--num-negatives",
        type=whole(1),
        default=100,
        help="number of negatives, for the chance line (100)",
    )
    parser.add_argument("--num-codes", type=whole(1), default=640, help="codes of all codebooks")
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
        lm_evals=tuple(map(read_evaluation, args.lm_evals)) if args.lm_evals else None,
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
    parts = [table(results), transcripts(results), f"Files:\n{where}", *notes]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        draw(results, args.out / "report.png", made=f"{stamp()}, data {args.data}")
        write_text(args.out / "report.txt", "\n\n".join(parts) + "\n")
    except OSError as error:
        raise InputError(f"cannot write to {args.out}: {error}") from error
    print("\n\n".join(parts))
    print(f"wrote {args.out}/report.txt and {args.out}/report.png")


if __name__ == "__main__":
    sys.exit(run_command(main))
