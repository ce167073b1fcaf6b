"""Classifies recordings, with one line for each: path<TAB>class<TAB>probability.

w2v2 classify --checkpoint DIR FILE|FOLDER|@LIST... [--top N] [--json]
w2v2 classify --checkpoint DIR --data CORPUS[:split] --json-out OUT
A file that cannot be classified is named on stderr; the others are classified, and the exit status
is then 2.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from w2v2_jax.data.corpus import Corpus
from w2v2_jax.data.joined import JoinedCorpus, open_splits
from w2v2_jax.data.transcribed import none_transcribed, transcribed
from w2v2_jax.errors import InputError, counted, one_field, run_command
from w2v2_jax.evaluation.classes import ClassScores, class_scores, confusion
from w2v2_jax.inference.model import Model, load
from w2v2_jax.paths import print_json, write_json
from w2v2_jax.recognition import inputs
from w2v2_jax.recognition.classify import Classified, classify, classify_corpus
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.system import compile_cache, cpu_memory
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_overwrite_result,
    whole,
)
from w2v2_jax.system.outputs import tell_replaced, try_outputs


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    if bool(arguments.files) == bool(arguments.data):
        raise InputError("give recordings or --data CORPUS[:split], one of the two")
    if arguments.json_out and not arguments.data:
        raise InputError("--json-out goes with --data")
    if arguments.data and arguments.json:
        raise InputError("--json changes nothing with --data; its scores go to --json-out OUT")
    if arguments.top is not None and (arguments.data or arguments.json):
        other = "--data" if arguments.data else "--json, which has every class"
        raise InputError(f"--top changes nothing with {other}")
    try_outputs(arguments, "json_out")
    failed: list[str] = []
    refuse = inputs.told(failed)
    files = [] if arguments.data else list(inputs.expand(arguments.files, on_error=refuse))
    total = len(files) + len(failed)
    corpus = open_splits(arguments.data) if arguments.data else None
    if corpus is not None and not any(text.strip() for text in corpus.texts()):
        raise InputError(f"--data {arguments.data}: {none_transcribed(len(corpus))}")
    cpu_memory.keep()
    compile_cache.enable()
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    if model.description.objective != "classify":
        raise InputError(
            f"--checkpoint {arguments.checkpoint} is a {model.description.objective} checkpoint; "
            "train one with config.objective.name=classify (experiments/classify.py)"
        )
    if corpus is not None:
        _score(model, corpus, arguments)
        return
    seconds = arguments.batch_seconds
    for result in classify(model, files, batch_seconds=seconds, on_error=refuse):
        _say(result, arguments)
    inputs.conclude(failed, total)


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 classify", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="an audio file, a folder, or @LIST")
    add("--top", type=whole(1), metavar="N", help="the N most likely classes (1)")
    add("--json", action="store_true", help="print JSON lines with the probability of every class")
    add("--data", metavar="DIR[:split]", help="score a prepared corpus instead of files")
    add("--json-out", type=Path, metavar="OUT", help="the scores of --data as JSON")
    add_overwrite_result(parser)
    add_batch_seconds(parser, 60.0)
    add_dtype(parser)
    return parser


def _say(result: Classified, arguments) -> None:
    if arguments.json:
        print_json(result._asdict())
        return
    best = itertools.islice(result.scores.items(), arguments.top or 1)
    said = "\t".join(f"{one_field(label)}\t{score:.4f}" for label, score in best)
    print(f"{one_field(result.path)}\t{said}", flush=True)


def _score(model: Model, whole: Corpus | JoinedCorpus, arguments) -> None:
    """Accuracy and macro F1 of the utterances whose text is one of the classes."""
    classes: Any = model.description.vocabulary
    corpus = transcribed(whole, classes, where=f"--data {arguments.data}")
    made_of = {"checkpoint": str(model.path), "data": arguments.data}
    tell_replaced(arguments, "json_out", made_of)
    failed: list[str] = []
    results = classify_corpus(
        model, corpus, batch_seconds=arguments.batch_seconds, on_error=inputs.told(failed)
    )
    if not results:
        raise InputError(f"--data {arguments.data}: none of its utterances can be classified")
    references = [int(classes.encode(corpus.text(i))[0]) for i in results]
    guesses = [int(classes.encode(result.label)[0]) for result in results.values()]
    scores = class_scores(confusion(references, guesses, len(classes)))
    left_out = len(whole) - len(corpus)
    print(
        f"{arguments.data}: {counted(len(results), 'utterance')}, {left_out} of no class left out; "
        f"accuracy {scores.accuracy:.4f}, macro F1 {scores.macro_f1:.4f}"
    )
    if arguments.json_out:
        content = made_of | _as_json(scores, classes, references, left_out) | {"unusable": failed}
        write_json(arguments.json_out, content, indent=2)
        print(f"wrote {arguments.json_out}")
    inputs.conclude(failed, len(corpus))


def _as_json(scores: ClassScores, classes, references: list[int], left_out: int) -> dict:
    of_class = {
        name: {
            "precision": float(scores.precision[row]),
            "recall": float(scores.recall[row]),
            "f1": float(scores.f1[row]),
            "utterances": references.count(row),
        }
        for row, name in enumerate(classes.symbols)
    }
    return {
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "utterances": len(references),
        "left_out": left_out,
        "classes": of_class,
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
