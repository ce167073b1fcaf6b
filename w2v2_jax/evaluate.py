"""Measures a checkpoint's error rates on prepared corpora, and analyses the errors.

w2v2 evaluate --checkpoint DIR --data DIR[:split[+split]] --json OUT [--html OUT]
    [--lm FILE.arpa|.bin] [--lexicon FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.data.joined import each_split, rules_name, without_name
from w2v2_jax.data.transcribed import (
    AnyCorpus,
    left_out,
    outside_vocabulary,
    transcribed,
)
from w2v2_jax.decode import options
from w2v2_jax.decode.scored_case import references_of
from w2v2_jax.errors import InputError, counted, run_command
from w2v2_jax.evaluation import error_analysis
from w2v2_jax.evaluation import page as evaluation_page
from w2v2_jax.evaluation.error_analysis import Scored
from w2v2_jax.evaluation.phones import PHONE_SETS
from w2v2_jax.evaluation.scoring import Scores, bootstrap_interval, count_errors, score, total
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

Scorable = AnyCorpus


def splits_of(arguments: list[str]) -> list[tuple[str, Corpus]]:
    """The corpora of all --data arguments, `DIR:dev+test` as two, with their names."""
    named = []
    for where in arguments:
        named += [(part, open_corpus(part)) for part in each_split(where)]
    for name, corpus in named:
        if not any(text.strip() for text in corpus.texts()):
            raise InputError(f"--data {name} has no transcripts to score against")
    return named


def report(
    data: str, corpus: Scorable, scores: Scores, phones: list[Scored] | None, num_worst: int
) -> dict[str, Any]:
    """One split's part of the JSON; the analysis is of words, or of phones if there are any.

    corpus: the utterances with a reference; those without one are in no rate and no list.
    """
    words = [
        Scored(
            corpus.id(i),
            row.reference.split(),
            row.hypothesis.split(),
            row.words,
            int(corpus.num_samples[i]) / SAMPLE_RATE,
            corpus.speaker(i),
        )
        for i, row in enumerate(scores.rows)
    ]
    rows = words if phones is None else phones
    result = {
        "data": data,
        "wer": scores.wer,
        "cer": scores.cer,
        "wer_interval": list(scores.wer_interval),
        "cer_interval": list(scores.cer_interval),
        "num_utterances": len(rows),
        "without_reference": left_out(corpus),
        "outside_vocabulary": outside_vocabulary(corpus),
        "num_words": scores.words.reference_length,
        "word_errors": scores.words._asdict(),
        "character_errors": scores.characters._asdict(),
        "unit": "word" if phones is None else "phone",
        "rate_name": "wer" if phones is None else "per",
        "speaker_interval": error_analysis.speaker_interval(rows),
        "by_length": error_analysis.by_length(rows),
        "by_speaker": error_analysis.by_speaker(rows),
        "confusions": error_analysis.confusions(rows),
        "worst": [row.id for row in error_analysis.worst(rows, num_worst)],
    }
    if phones is not None:
        counts = [row.counts for row in phones]
        result |= {
            "per": total(counts).rate,
            "per_interval": list(bootstrap_interval(counts)),
            "phone_errors": total(counts)._asdict(),
        }
    result["utterances"] = [
        _utterance(row, scored, text, phones is not None)
        for row, scored, text in zip(rows, words, scores.rows, strict=True)
    ]
    return result


def _utterance(row: Scored, words: Scored, text, phones: bool) -> dict[str, Any]:
    entry = {
        "id": row.id,
        "reference": text.reference,
        "hypothesis": text.hypothesis,
        "wer": words.counts.rate,
        "cer": text.characters.rate,
        "rate": row.counts.rate,
        "seconds": row.seconds,
        "speaker": row.speaker,
        "errors": row.counts._asdict(),
    }
    if phones:
        entry |= {"phones_reference": row.reference, "phones_hypothesis": row.hypothesis}
    return entry


def tell_rules(name: str, corpus: Scorable, vocabulary: Vocabulary) -> None:
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
) -> list[Scorable]:
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


def phone_rows(corpus: Scorable, scores: Scores, phone_set: str) -> list[Scored]:
    """The texts' words as phones of a set, folded, with their errors."""
    fold_reference, fold_hypothesis = PHONE_SETS[phone_set]
    rows = []
    for i, row in enumerate(scores.rows):
        reference = fold_reference(row.reference.split())
        hypothesis = fold_hypothesis(row.hypothesis.split())
        counts = count_errors(reference, hypothesis)
        seconds = int(corpus.num_samples[i]) / SAMPLE_RATE
        rows.append(Scored(corpus.id(i), reference, hypothesis, counts, seconds, corpus.speaker(i)))
    return rows


def describe(split: dict[str, Any]) -> str:
    """The lines that are printed for one split."""
    lines = []
    for name in ("per", "wer", "cer"):
        # Phones that are not folded are the words of the texts: one rate of them is enough.
        if name in split and not (name == "wer" and split.get("per") == split["wer"]):
            low, high = (100 * bound for bound in split[f"{name}_interval"])
            rate = f"{name.upper()} {100 * split[name]:.2f} %"
            lines.append(f"{rate}  (95 % interval {low:.2f} to {high:.2f})")
    size = counted(split["num_utterances"], "utterance")
    size += f", {counted(split['num_words'], split['unit'])}"
    if split["without_reference"]:
        size += f"; {split['without_reference']} without a reference left out"
    if split["outside_vocabulary"]:
        size += f" ({split['outside_vocabulary']} of them with no character of the vocabulary)"
    lines.append(size)
    return "\n".join(lines)


def write_page(path: Path, result: dict, splits: list[dict], corpora: list[Scorable]) -> None:
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


def main(argv: list[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    try_outputs(arguments, "json", "html")
    options.check_ahead(arguments)
    named = splits_of(arguments.data)
    # Only now JAX, which takes seconds to load.
    from w2v2_jax.checkpoint.description import require_ctc
    from w2v2_jax.inference import load
    from w2v2_jax.recognition.corpus import transcripts
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
    tell_replaced(arguments, "json", made_of)
    decoder = options.make_decoder(arguments, model.description.ctc_vocabulary)
    vocabulary = model.description.ctc_vocabulary
    of_words = decoder.writes_words
    if vocabulary.units == PHONEMES and not of_words:
        arguments.phones = arguments.phones or "as-is"
    scorable = with_reference(named, vocabulary, phones=arguments.phones, of_words=of_words)
    splits = []
    for (name, _), corpus in zip(named, scorable, strict=True):
        tell_rules(name, corpus, vocabulary)
        references = references_of(corpus.texts(), vocabulary, decoder)
        guesses = transcripts(
            model,
            corpus,
            batch_seconds=arguments.batch_seconds,
            decoder=decoder,
            jobs=arguments.jobs,
        )
        said = [vocabulary.as_scored(guess, words=of_words) for guess in guesses]
        scores = score(references, said)
        phones = phone_rows(corpus, scores, arguments.phones) if arguments.phones else None
        splits.append(report(name, corpus, scores, phones, arguments.worst))
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
