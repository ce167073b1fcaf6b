"""Compares the transcript of a long recording, read in chunks, with those of its utterances.

python -m w2v2_jax.bench.long_recording --checkpoint DIR --data DIR[:split] --hours 2 --json OUT
A corpus's utterances are joined, with pauses, to a recording of the given hours, which is
transcribed like any long recording. The report has the words and letters that differ from
transcribing each utterance alone, in total and away from the seams of chunks; both error rates if
the corpus has transcripts; the speed and the peak memory. --vad transcribes stretches of speech.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.bench.child import resident_peak_bytes
from w2v2_jax.checkpoint.description import require_ctc
from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.scoring import count_errors, total
from w2v2_jax.inference import Model, load
from w2v2_jax.paths import write_json
from w2v2_jax.recognition.corpus import transcripts
from w2v2_jax.recognition.long_audio import make_grid
from w2v2_jax.recognition.options import Options, make_options
from w2v2_jax.recognition.recognise import transcribe_long
from w2v2_jax.recognition.recordings import Recording
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.system.arguments import CommandParser, add_checkpoint, add_data, add_json
from w2v2_jax.system.outputs import try_outputs

PAUSE = 8000  # samples between two utterances
AWAY = 1.0  # utterances farther from every seam, in seconds, count as away from the seams


def placed(corpus: Corpus, hours: float) -> list[tuple[int, int, int]]:
    """(utterance, first, end) in samples of the recording, repeating the corpus as needed."""
    spans, end = list[tuple[int, int, int]](), 0
    for i in itertools.cycle(range(len(corpus))):
        if end >= hours * 3600 * SAMPLE_RATE:
            return spans
        spans.append((i, end, end + int(corpus.num_samples[i])))
        end = spans[-1][2] + PAUSE
    raise InputError("a corpus without utterances")


def blocks(corpus: Corpus, places: list[tuple[int, int, int]]) -> Iterator[np.ndarray]:
    """The recording's samples, one utterance with the pause after it at a time."""
    for i, first, end in places:
        yield corpus.read(i, 0, end - first).astype(np.float32) / 32768
        yield np.zeros(PAUSE, np.float32)


def seams(model: Model, options: Options, samples: int) -> np.ndarray:
    """Times in seconds at which one chunk of the recording ends and the next begins."""
    grid = make_grid(
        model.description.model.output_layers,
        chunk_samples=int(options.chunk_seconds * SAMPLE_RATE),
        context_samples=int(options.context_seconds * SAMPLE_RATE),
    )
    hop = grid.frames - 2 * grid.context
    frames = np.arange(grid.frames - grid.context, samples // grid.stride, hop)
    return frames * grid.stride / SAMPLE_RATE


def heard_of(result: Result, places: list[tuple[int, int, int]]) -> list[list[str]]:
    """The recording's words by utterance; words in a pause belong to the utterance before it."""
    starts = np.array([first for _, first, _ in places]) / SAMPLE_RATE
    heard: list[list[str]] = [[] for _ in places]
    for word in result.words:
        middle = (word.start + word.end) / 2
        heard[max(int(np.searchsorted(starts, middle, side="right")) - 1, 0)].append(word.word)
    return heard


def differences(
    heard: list[list[str]], places: list[tuple[int, int, int]], alone: list[str], edges: np.ndarray
) -> dict[str, Any]:
    """Counts the words and letters of the single utterances, and those of the recording that
    differ."""
    near = [
        bool(((edges > first / SAMPLE_RATE - AWAY) & (edges < end / SAMPLE_RATE + AWAY)).any())
        for _, first, end in places
    ]
    pairs = [(alone[i].split(), words) for (i, _, _), words in zip(places, heard, strict=True)]
    away = [pair for pair, close in zip(pairs, near, strict=True) if not close]
    return {"all": _different(pairs), "away_from_seams": _different(away)}


def _different(pairs: list[tuple[list[str], list[str]]]) -> dict[str, Any]:
    counts: dict[str, Any] = {"utterances": len(pairs)}
    for unit, cut in (("words", list), ("letters", " ".join)):
        if pairs:
            errors = total([count_errors(list(cut(a)), list(cut(b))) for a, b in pairs])
            counts[unit] = {"of": errors.reference_length, "different": errors.errors}
    return counts


def letter_error_rate(references: list[str], heard: list[str]) -> float:
    """The letter error rate against the true transcripts."""
    pairs = zip(references, heard, strict=True)
    return total([count_errors(list(a), list(b)) for a, b in pairs]).rate


def error_rates(
    references: Sequence[str], alone: Sequence[str], heard: Sequence[str]
) -> dict[str, float]:
    """The letter error rates of clips transcribed alone and in the recording; empty if no clip has
    a reference."""
    known = [k for k, reference in enumerate(references) if reference]  # the others are not scored
    if not known:
        return {}
    said = [references[k] for k in known]
    return {
        "cer_alone": letter_error_rate(said, [alone[k] for k in known]),
        "cer_recording": letter_error_rate(said, [heard[k] for k in known]),
        "without_reference": len(references) - len(known),
    }


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="w2v2_jax.bench.long_recording", description=__doc__.splitlines()[0]
    )
    add_checkpoint(parser)
    add_data(parser)
    parser.add_argument("--hours", type=float, default=2.0)
    add_json(parser)
    for name in ("chunk_seconds", "context_seconds", "batch_seconds"):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=getattr(Options, name))
    parser.add_argument("--vad", action="store_true", help="transcribe speech only")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    try_outputs(arguments, "json")
    corpus, model = open_corpus(arguments.data), load(arguments.checkpoint)
    require_ctc(model.description, f"--checkpoint {arguments.checkpoint}")
    names = ("chunk_seconds", "context_seconds", "batch_seconds")
    options = make_options({name: getattr(arguments, name) for name in (*names, "vad")})
    places = placed(corpus, arguments.hours)
    started = time.monotonic()
    recording = Recording("recording", lambda: blocks(corpus, places))
    result = transcribe_long(model, recording, options)
    seconds = time.monotonic() - started
    peak = resident_peak_bytes() / 2**30
    alone = transcripts(model, corpus, batch_seconds=options.batch_seconds)
    edges = seams(model, options, int(result.duration * SAMPLE_RATE))
    heard = heard_of(result, places)
    vocabulary = model.description.ctc_vocabulary
    known_texts = (t if vocabulary.has_words(t) else "" for t in corpus.texts())
    texts = [vocabulary.reference(t, words=False) for t in known_texts]
    rates = error_rates(
        [texts[i] for i, _, _ in places], [alone[i] for i, _, _ in places], [*map(" ".join, heard)]
    )
    report = {
        "checkpoint": str(model.path),
        "data": arguments.data,
        "hours": result.duration / 3600,
        "wall_seconds": seconds,
        "real_time_factor": seconds / result.duration,
        "peak_memory_gib": peak,
        "vad": options.vad,
        **{name: getattr(options, name) for name in names},
        **rates,
        **differences(heard, places, alone, edges),
    }
    write_json(arguments.json, report)
    print(f"{report['hours']:.2f} h in {seconds:.0f} s, peak memory {peak:.2f} GiB")
    for name in ("all", "away_from_seams"):
        for unit in ("words", "letters"):
            part = report[name].get(unit, {"different": 0, "of": 0})
            print(f"{name}: {part['different']} of {part['of']} {unit} differ")
    if rates:
        print("CER alone {cer_alone:.2%}, of the recording {cer_recording:.2%}".format(**rates))
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
