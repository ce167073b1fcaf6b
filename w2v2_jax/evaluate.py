"""Command line: word and character error rates of a checkpoint on a prepared corpus.

python -m w2v2_jax.evaluate --checkpoint DIR --data DIR[:split] --json OUT [--lm FILE.arpa|.bin]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from w2v2_jax.data.store import Corpus, open_corpus
from w2v2_jax.decode import options
from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.decode.many import decode_many
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import Model, load
from w2v2_jax.scoring import Scores, score

CHUNK = 4096  # utterances whose audio is held at once


def corpus_logits(
    model: Model, corpus: Corpus, *, batch_seconds: float
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, logits [T, C]) of every utterance of a corpus, in an order of its own."""
    for first in range(0, len(corpus), CHUNK):
        indices = range(first, min(first + CHUNK, len(corpus)))
        waveforms = [
            corpus.read(i, 0, int(corpus.num_samples[i])).astype(np.float32) / 32768
            for i in indices
        ]
        for offset, logits in model.batched_logits(waveforms, batch_seconds=batch_seconds):
            yield first + offset, logits


def transcripts(
    model: Model, corpus: Corpus, *, batch_seconds: float, decoder: Decoder, jobs: int = 1
) -> list[str]:
    """The best transcript of every utterance of a corpus, in its order."""
    order: list[int] = []

    def noted() -> Iterator[np.ndarray]:
        for index, logits in corpus_logits(model, corpus, batch_seconds=batch_seconds):
            order.append(index)
            yield logits

    texts = [""] * len(corpus)
    found = decode_many(decoder, noted(), jobs=jobs, total=len(corpus))
    for number, hypotheses in enumerate(found):
        texts[order[number]] = hypotheses[0].text
    return texts


def report(model: Model, data: str, corpus: Corpus, references, guesses, scores: Scores) -> dict:
    """The JSON object of an evaluation."""
    step = model.path.name
    return {
        "checkpoint": str(model.path),
        "data": data,
        "step": int(step) if step.isdigit() else None,
        "wer": scores.wer,
        "cer": scores.cer,
        "wer_interval": list(scores.wer_interval),
        "cer_interval": list(scores.cer_interval),
        "num_utterances": len(references),
        "num_words": scores.words.reference_length,
        "word_errors": scores.words._asdict(),
        "character_errors": scores.characters._asdict(),
        "utterances": [
            {
                "id": corpus.id(i),
                "reference": reference,
                "hypothesis": guess,
                "wer": row.words.rate,
            }
            for i, (reference, guess, row) in enumerate(
                zip(references, guesses, scores.rows, strict=True)
            )
        ],
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="workdir, step or Hugging Face folder")
    parser.add_argument("--data", required=True, metavar="DIR[:split]")
    parser.add_argument("--json", required=True, type=Path, metavar="OUT")
    parser.add_argument("--batch-seconds", type=float, default=120.0)
    options.add_arguments(parser)
    arguments = parser.parse_args(argv)
    corpus = open_corpus(arguments.data)
    if not corpus.has_text:
        raise InputError(f"--data {arguments.data} has no transcripts to score against")
    model = load(arguments.checkpoint)
    if model.description.objective != "ctc":
        raise InputError(
            f"--checkpoint {arguments.checkpoint} is a pretraining checkpoint; fine-tune it first"
        )
    references = [model.description.vocabulary.normalise(text) for text in corpus.texts()]
    decoder = options.make_decoder(arguments, model.description.vocabulary)
    guesses = transcripts(
        model, corpus, batch_seconds=arguments.batch_seconds, decoder=decoder, jobs=arguments.jobs
    )
    scores = score(references, guesses)
    result = report(model, arguments.data, corpus, references, guesses, scores)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    for name, rate, interval in (
        ("WER", scores.wer, scores.wer_interval),
        ("CER", scores.cer, scores.cer_interval),
    ):
        low, high = interval
        print(f"{name} {100 * rate:.2f} %  (95 % interval {100 * low:.2f} to {100 * high:.2f})")
    print(f"{len(references)} utterances, {result['num_words']} words; wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
