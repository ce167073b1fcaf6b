"""Decodes saved logits, and scores the texts if references were saved with them.

w2v2 decode --logits DIR [--lm FILE.arpa|.bin] [--nbest N] [--json OUT]
"""

from __future__ import annotations

import sys

from w2v2_jax.decode import options
from w2v2_jax.decode.emissions import Emissions
from w2v2_jax.decode.hypothesis import Hypothesis
from w2v2_jax.decode.many import decode_many
from w2v2_jax.decode.references import references_of
from w2v2_jax.errors import InputError, counted, one_field, run_command
from w2v2_jax.evaluation.rates import word_rate
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.paths import write_json
from w2v2_jax.system.arguments import CommandParser, add_json
from w2v2_jax.system.outputs import tell_replaced, try_outputs
from w2v2_jax.system.progress import bar


def _row(hypothesis: Hypothesis) -> dict:
    return {
        "text": hypothesis.text,
        "score": round(hypothesis.score, 4),
        "acoustic_score": round(hypothesis.acoustic_score, 4),
        "lm_score": round(hypothesis.lm_score, 4),
        "words": [word._asdict() for word in hypothesis.words],
    }


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 decode", description=__doc__.splitlines()[0])
    parser.add_argument("--logits", required=True, metavar="DIR", help="logits from `w2v2 emit`")
    add_json(parser, required=False)
    options.add_arguments(parser)
    options.add_jobs(parser)
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "json")
    if not options.read_arguments(arguments).rescore and arguments.nbest and not arguments.json:
        raise InputError("--nbest changes nothing without --json or --rescore; give one")
    emissions = Emissions(arguments.logits)
    decoder = options.make_decoder(
        arguments, emissions.vocabulary, seconds_per_frame=emissions.seconds_per_frame
    )
    words = decoder.writes_words
    numbers = emissions.referenced(words=words)
    said = (emissions.references[i] or "" for i in numbers)
    references = dict(zip(numbers, references_of(said, emissions.vocabulary, decoder), strict=True))
    made_of = {"logits": arguments.logits, "decoder": options.as_origin(arguments)}
    tell_replaced(arguments, "json", made_of)
    rows = (emissions[i] for i in range(len(emissions)))
    decoded = []
    with bar(len(emissions), " utterances") as done:
        for hypotheses in decode_many(decoder, rows, jobs=arguments.jobs):
            decoded.append(hypotheses)
            done.update()
    texts = [hypotheses[0].text for hypotheses in decoded]
    report: dict = made_of
    if references:
        report |= _scored(emissions, texts, references, words=words)
    else:
        for name, text in zip(emissions.ids, texts, strict=True):
            print(f"{one_field(name)}\t{one_field(text)}")
    if arguments.json:
        report["utterances"] = [
            {
                "id": name,
                "reference": references.get(i),
                "nbest": [_row(hypothesis) for hypothesis in hypotheses],
            }
            for i, (name, hypotheses) in enumerate(zip(emissions.ids, decoded, strict=True))
        ]
        write_json(arguments.json, report)
        print(f"wrote {arguments.json}")


def _scored(
    emissions: Emissions, texts: list[str], references: dict[int, str], *, words: bool
) -> dict:
    """Rates over the utterances that have a reference, by their number, printed and for the JSON.
    words: whether the texts are words of a lexicon."""
    hypotheses = [emissions.vocabulary.as_scored(texts[i], words=words) for i in references]
    scores = score([*references.values()], hypotheses)
    low, high = (100 * bound for bound in scores.wer_interval)
    missing = len(texts) - len(references)
    left_out = f"; {missing} without a reference left out" if missing else ""
    rate = word_rate(phonemes=emissions.vocabulary.writes_phonemes(words=words))
    told = f"{rate.upper()} {100 * scores.wer:.2f} %"
    print(f"{told}  (95 % interval {low:.2f} to {high:.2f})")
    print(f"CER {100 * scores.cer:.2f} %  ({counted(len(references), 'utterance')}{left_out})")
    return {
        rate: scores.wer,
        f"{rate}_interval": scores.wer_interval,
        "wer": scores.wer,
        "cer": scores.cer,
        "wer_interval": scores.wer_interval,
        "num_utterances": len(references),
        "without_reference": missing,
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
