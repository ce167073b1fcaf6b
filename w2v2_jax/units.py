"""Measures how a pretraining checkpoint uses its units, and how well they agree with phones.

w2v2 units --checkpoint DIR --data DIR[:split] --json OUT [--phones FILE.tsv|DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation import unit_analysis
from w2v2_jax.evaluation.phone_labels import Segments, read_labels
from w2v2_jax.evaluation.phones import PHONE_SETS
from w2v2_jax.inference import Model, load
from w2v2_jax.paths import write_json
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.recognition.corpus import corpus_frames, tell_too_short
from w2v2_jax.recognition.long_audio import make_grid
from w2v2_jax.system.arguments import CommandParser, add_batch_seconds, add_data, add_json
from w2v2_jax.system.outputs import tell_replaced, try_outputs


def labelled(
    units: dict[int, np.ndarray],
    corpus: Corpus,
    segments: dict[str, Segments],
    phone_set: str,
    model: Model,
) -> tuple[np.ndarray, list[str]]:
    """Units [N, G] and phones [N] of all frames that have one. segments: as `read_labels` has
    them."""
    grid = make_grid(model.description.model.conv_layers, chunk_samples=10**6, context_samples=0)
    if len(segments) < len(corpus):
        missing = len(corpus) - len(segments)
        print(f"{len(segments)} utterances have phones, {missing} without are left out")
    fold = PHONE_SETS[phone_set][0]
    units_kept, phones = [], []
    for i, row_units in units.items():
        spoken = segments.get(corpus.id(i), [])
        folded = [(a, b, *fold([label])) for a, b, label in spoken]
        labels = unit_analysis.frame_labels(
            [s for s in folded if len(s) == 3],
            len(row_units),
            stride=grid.stride / SAMPLE_RATE,
            field=grid.field / SAMPLE_RATE,
        )
        known = [(t, label) for t, label in enumerate(labels) if label is not None]
        units_kept.append(row_units[[t for t, _ in known]])
        phones += [label for _, label in known]
    if not phones:
        raise InputError("--phones: no frame of any utterance has a label")
    return np.concatenate(units_kept), phones


def report(units: np.ndarray, phones: list[str]) -> dict:
    """Agreement of each codebook, and of all together, with the phones."""
    names, numbers = np.unique(phones, return_inverse=True)
    books = [unit_analysis.agreement(column, numbers)._asdict() for column in units.T]
    together = unit_analysis.agreement(unit_analysis.combined(units), numbers)._asdict()
    return {"phones": names.tolist(), "codebooks": books, "together": together}


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 units", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="a pretraining workdir or step")
    add_data(parser)
    add_json(parser)
    parser.add_argument("--phones", type=Path, metavar="FILE.tsv|DIR", help="phones with times")
    parser.add_argument(
        "--phone-set",
        default="as-is",
        choices=sorted(PHONE_SETS),
        help="how phones are folded (as-is)",
    )
    add_batch_seconds(parser, 60.0)
    add_dtype(parser)
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "json")
    corpus = open_corpus(arguments.data)
    segments: dict[str, Segments] = {}
    if arguments.phones is not None:  # before the work, which may take hours
        if not arguments.phones.exists():
            raise InputError(f"--phones {arguments.phones}: no such file or folder")
        segments = read_labels(arguments.phones, [corpus.id(i) for i in range(len(corpus))])
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    where = f"--data {arguments.data}"
    short = frozenset(tell_too_short(model, corpus, where=where, then="they are left out"))
    seconds = arguments.batch_seconds
    frames = corpus_frames(model, corpus, model.units, batch_seconds=seconds, without=short)
    made_of: dict[str, Any] = {"checkpoint": str(model.path), "data": arguments.data}
    if arguments.phones is not None:
        made_of |= {"phones": str(arguments.phones), "phone_set": arguments.phone_set}
    tell_replaced(arguments, "json", made_of)
    units = dict(frames)
    every = np.concatenate(list(units.values()))
    result = {
        **made_of,
        "without_frames": len(short),
        "usage": unit_analysis.usage(every, entries=model.description.model.entries),
    }
    for number, book in enumerate(result["usage"]["codebooks"], 1):
        print(
            f"codebook {number}: {book['used']} of {book['of']} entries used, perplexity "
            f"{book['perplexity']:.1f}"
        )
    print(f"{result['usage']['combinations']} combinations in {len(every)} frames")
    if arguments.phones is not None:
        labelled_units, phones = labelled(units, corpus, segments, arguments.phone_set, model)
        result["agreement"] = report(labelled_units, phones)
        together = result["agreement"]["together"]
        print(
            f"with {len(result['agreement']['phones'])} phones over {len(phones)} frames: "
            f"information {together['information']:.3f} of {together['phone_entropy']:.3f} bits "
            f"(PNMI {together['pnmi']:.3f}, {together['pnmi_shuffled']:.3f} by chance), phone "
            f"purity {together['phone_purity']:.3f}, unit purity {together['unit_purity']:.3f}"
        )
    write_json(arguments.json, result)
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
