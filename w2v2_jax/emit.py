"""Saves a checkpoint's logits of a corpus once, to decode them many times.

w2v2 emit --checkpoint DIR --data DIR[:split] --out DIR
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

from w2v2_jax.checkpoint.description import require_ctc
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.emissions import DTYPES, Utterance, write
from w2v2_jax.errors import counted, run_command
from w2v2_jax.inference import load
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition.computation import add_dtype, as_origin, execution_of
from w2v2_jax.recognition.corpus import corpus_frames, tell_too_short
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_data,
    add_overwrite,
)
from w2v2_jax.system.new_output import new_output
from w2v2_jax.system.outputs import spare_inputs


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 emit", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    add_data(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the folder of saved logits to write"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="float16 halves the size"
    )
    add_batch_seconds(parser, 120.0)
    add_dtype(parser, "--compute-dtype")
    add_overwrite(parser)
    arguments = parser.parse_args(argv)
    spare_inputs(arguments, ["out"], ["checkpoint", "data"])
    with new_output(arguments.out, overwrite=arguments.overwrite) as partial:
        size = _emit(arguments, partial)
    print(f"wrote {arguments.out}: {size}")


def _emit(arguments: argparse.Namespace, out: Path) -> str:
    """Writes the logits to `out`; returns how many."""
    corpus = open_corpus(arguments.data)
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    require_ctc(model.description, f"--checkpoint {arguments.checkpoint}")
    config, vocabulary = model.description.model, model.description.ctc_vocabulary

    def reference(text: str) -> str | None:
        return vocabulary.normalise(text) if vocabulary.has_words(text, words=True) else None

    where, kept = (
        f"--data {arguments.data}",
        "each is stored without a frame, and decoded as no text",
    )
    short = tell_too_short(model, corpus, where=where, then=kept)
    none = np.zeros((0, len(vocabulary)), np.float32)
    computed = corpus_frames(
        model, corpus, model.logits, batch_seconds=arguments.batch_seconds, without=frozenset(short)
    )
    frames = int(frame_counts(corpus.num_samples, config.output_layers).sum())
    write(
        out,
        (
            Utterance(corpus.id(i), logits, reference(corpus.text(i)), i)
            for i, logits in itertools.chain(((i, none) for i in short), computed)
        ),
        vocabulary=vocabulary,
        num_frames=frames,
        seconds_per_frame=config.seconds_per_frame,
        dtype=arguments.dtype,
        checkpoint=str(model.path),
        data=arguments.data,
        without_frames=len(short),
        **as_origin(execution_of(arguments)),
    )
    return f"{counted(frames, 'frame')} of {counted(len(corpus), 'utterance')}"


if __name__ == "__main__":
    sys.exit(run_command(main))
