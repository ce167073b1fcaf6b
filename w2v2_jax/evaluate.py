"""Measures a checkpoint's error rates on prepared corpora, and analyses the errors.

w2v2 evaluate --checkpoint DIR --data DIR[:split[+split]] --json OUT [--html OUT]
    [--lm FILE.arpa|.bin] [--lexicon FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.data.joined import each_split, rules_name, without_name
from w2v2_jax.data.transcribed import AnyCorpus, left_out, outside_vocabulary, transcribed
from w2v2_jax.decode import options
from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.decode.references import references_of
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation import page as evaluation_page
from w2v2_jax.evaluation.phones import PHONE_SETS
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.evaluation.split_result import describe, phone_rows, split_result
from w2v2_jax.paths import write_json, write_text
from w2v2_jax.recognition.computation import add_dtype, as_origin, execution_of
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_json,
    whole,
)
from w2v2_jax.system.outputs import tell_replaced, try_outputs
from w2v2_jax.system.revision import stamp
from w2v2_jax.texts import with_case
from w2v2_jax.vocabulary import Vocabulary
from w2v2_jax.vocabulary.units import PHONEMES

if TYPE_CHECKING:  # JAX takes seconds to load
    from w2v2_jax.inference.model import Model


def splits_of(arguments: list[str]) -> list[tuple[str, Corpus]]:
    """The corpora of all --data arguments, `DIR:dev+test` as two, with their names."""
    named = []
    for where in arguments:
        named += [(part, open_corpus(part)) for part in each_split(where)]
    for name, corpus in named:
        if not any(text.strip() for text in corpus.texts()):
            raise InputError(f"--data {name} has no transcripts to score against")
    return named


def tell_rules(name: str, corpus: AnyCorpus, vocabulary: Vocabulary) -> None:
    """Prints one line if the checkpoint's text rules, which are applied to references and
    hypotheses, are not those that a corpus was prepared with, or change texts of one without."""
    prepared, rules = without_name(corpus.text_rules), vocabulary.rules
    if rules is None or prepared == without_name(rules.to_json()):
        return
    told = f"--data {name} was prepared with --text {rules_name(corpus)}; its references are"
    if prepared is None:
        in_case = with_case(vocabulary.case)
        changed = sum(vocabulary.normalise(text) != in_case(text) for text in corpus.texts())
        if not changed:
            return
        told = f"--data {name} was prepared without text rules; {changed} of its references are"
    print(f"{told} changed by the text rules of the checkpoint, {rules.name}", file=sys.stderr)


def with_reference(
    named: list[tuple[str, Corpus]], vocabulary: Vocabulary, *, phones: str | None, of_words: bool
) -> list[AnyCorpus]:
    """The corpora without the utterances that cannot be scored."""
    # Phones are words of a separate set, which may have letters that the vocabulary lacks; and of
    # the words of a lexicon, a vocabulary of phonemes has none.
    plain = (phones or vocabulary.units == PHONEMES) and not vocabulary.pronunciations
    known: Any = lambda text: vocabulary.has_words(text, words=of_words)  # noqa: E731
    known = vocabulary.normalise if plain else known
    return [
        transcribed(corpus, vocabulary, where=f"--data {name}", is_transcript=known)
        for name, corpus in named
    ]


def write_page(path: Path, result: dict, splits: list[dict], corpora: list[AnyCorpus]) -> None:
    """Writes the HTML report with the audio of the worst utterances."""
    places = [{corpus.id(i): i for i in range(len(corpus))} for corpus in corpora]

    def read(number: int, name: str) -> np.ndarray:
        corpus, i = corpora[number], places[number][name]
        return corpus.read(i, 0, int(corpus.num_samples[i]))

    write_text(path, evaluation_page.page(result, splits, read))


def make_parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 evaluate", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="DIR[:split[+split]]",
        help="may be given several times; each split is scored separately",
    )
    add_json(parser)
    parser.add_argument(
        "--html", type=Path, metavar="OUT", help="also write an HTML page with players and plots"
    )
    parser.add_argument(
        "--worst", type=whole(0, 1000), default=40, help="number of worst utterances to list (40)"
    )
    parser.add_argument(
        "--phones",
        choices=sorted(PHONE_SETS),
        help="words are phones; timit folds TIMIT's 61 to 39 (as-is for a model of phonemes)",
    )
    add_batch_seconds(parser, 120.0)
    add_dtype(parser)
    options.add_arguments(parser)
    options.add_jobs(parser)
    return parser


def evaluate_split(
    model: Model, name: str, corpus: AnyCorpus, decoder: Decoder, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Transcribes a corpus, tells how its texts are changed, and scores them: a `split_result`."""
    from w2v2_jax.recognition.corpus import too_short, transcripts, warn_too_short

    vocabulary = model.description.ctc_vocabulary
    tell_rules(name, corpus, vocabulary)
    short = too_short(model, corpus)
    deleted = "all of the reference counts as deleted"
    warn_too_short(corpus, short, where=f"--data {name}", then=deleted)
    references = references_of(corpus.texts(), vocabulary, decoder)
    guesses = transcripts(
        model,
        corpus,
        batch_seconds=arguments.batch_seconds,
        decoder=decoder,
        jobs=arguments.jobs,
    )
    scores = score(
        references, [vocabulary.as_scored(guess, words=decoder.writes_words) for guess in guesses]
    )
    return split_result(
        name,
        corpus,
        scores,
        num_worst=arguments.worst,
        phones=phone_rows(corpus, scores, arguments.phones) if arguments.phones else None,
        without_reference=left_out(corpus),
        outside_vocabulary=outside_vocabulary(corpus),
        without_frames=len(short),
    )


def main(argv: list[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    try_outputs(arguments, "json", "html")
    options.check_ahead(arguments)
    named = splits_of(arguments.data)
    # Only now JAX, which takes seconds to load.
    from w2v2_jax.checkpoint.description import require_ctc
    from w2v2_jax.inference import load
    from w2v2_jax.system import compile_cache, cpu_memory

    cpu_memory.keep()
    compile_cache.enable()
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    require_ctc(model.description, f"--checkpoint {arguments.checkpoint}")
    data = [name for name, _ in named]
    made_of = {
        "checkpoint": str(model.path),
        "data": data[0] if len(data) == 1 else data,
        "decoder": options.as_origin(arguments),
    }
    vocabulary = model.description.ctc_vocabulary
    decoder = options.make_decoder(arguments, vocabulary)
    of_words = decoder.writes_words
    if vocabulary.writes_phonemes(words=of_words):
        arguments.phones = arguments.phones or "as-is"
    scorable = with_reference(named, vocabulary, phones=arguments.phones, of_words=of_words)
    tell_replaced(arguments, "json", made_of)
    splits = [
        evaluate_split(model, name, corpus, decoder, arguments)
        for (name, _), corpus in zip(named, scorable, strict=True)
    ]
    step = model.path.name
    head = {**made_of, "step": int(step) if step.isdigit() else None}
    head |= as_origin(execution_of(arguments))
    result = {**head, **splits[0]} if len(splits) == 1 else {**head, "splits": splits}
    write_json(arguments.json, result)
    if arguments.html is not None:
        write_page(arguments.html, {**head, "made": stamp()}, splits, scorable)
    for split in splits:  # printed after the files are written
        print(*([split["data"]] if len(splits) > 1 else []), describe(split), sep="\n")
    for path in (arguments.json, arguments.html):
        if path is not None:
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(run_command(main))
