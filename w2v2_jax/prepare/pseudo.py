"""`w2v2 pseudo`: a checkpoint writes the transcripts of a prepared corpus that has none.

w2v2 pseudo --checkpoint DIR --data DIR[:split] --out DIR --min-confidence C
Transcripts with enough confidence become a split of OUT with texts, for training like any other.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, Entry, open_corpus
from w2v2_jax.data.damage import Damage
from w2v2_jax.data.splits import list_splits
from w2v2_jax.data.transcribed import TranscribedCorpus
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.decode import options
from w2v2_jax.errors import InputError, counted, printable, run_command
from w2v2_jax.paths import try_folder, write_json, write_text
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.pseudo_outcome import (
    REJECTED,
    REPORT,
    Guess,
    Limits,
    Outcome,
    bounds_line,
    files_without_split,
    kept_at,
    rejected_lines,
    would_keep,
    write_without_split,
)
from w2v2_jax.prepare.publish import put_in_place, tell_leftovers, work_folder
from w2v2_jax.prepare.report import describe, find_leaks
from w2v2_jax.prepare.splits import check_split
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_data,
    add_overwrite,
    read_seconds,
)


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    limits = Limits(arguments.min_confidence, arguments.min_seconds, arguments.max_seconds)
    check_limits(limits)
    options.check_ahead(arguments)
    corpus = open_corpus(arguments.data)
    split = arguments.split or corpus.split
    tell_leftovers(arguments.out)
    check_split(arguments.out, split, arguments.overwrite)
    if os.path.realpath(arguments.out / split) == os.path.realpath(corpus.directory):
        raise InputError(
            f"--out {arguments.out}: the split {split} is what --data reads, and the new one would "
            "have only what is kept of it; use another --split"
        )
    try_folder(arguments.out, "--out")
    outcome = Outcome({}, {i: (reason, None) for i, reason in unasked(corpus, limits)})
    asked = np.array([i for i in range(len(corpus)) if i not in outcome.rejected], np.int64)
    place = {"split": split, "overwrite": arguments.overwrite}
    if not len(asked):  # which is refused, and without the checkpoint
        write(corpus, outcome, arguments.out, about={}, text=None, **place)
    guess, description, path = _listener(arguments)
    for i, said in guess(TranscribedCorpus(corpus, asked)):
        number, reason = int(asked[i]), verdict(said, limits)
        if said is not None and reason is None:
            outcome.kept[number] = said
        elif reason is not None:
            outcome.rejected[number] = (reason, said)
    rules = description.ctc_vocabulary.rules
    about = {"checkpoint": str(path), "data": str(corpus.directory)} | limits._asdict()
    text = None if rules is None else rules.to_json()
    print(write(corpus, outcome, arguments.out, about=about, text=text, **place))


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 pseudo", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    add_data(parser)
    add = parser.add_argument
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="the corpus to which the split is added",
    )
    add("--split", metavar="NAME", help="name of the new split (as in --data)")
    add(
        "--min-confidence",
        type=float,
        required=True,
        metavar="C",
        help="the lowest mean probability of the words; 0 keeps all, and the report counts what "
        "other thresholds would keep",
    )
    times: dict[str, Any] = {"type": read_seconds, "metavar": "S"}
    add("--min-seconds", default=1.0, help="shorter clips are left out", **times)
    add("--max-seconds", default=30.0, help="longer clips too", **times)
    add_overwrite(parser)
    add_batch_seconds(parser, 120.0)
    add_dtype(parser)
    options.add_arguments(parser)
    return parser


def check_limits(limits: Limits) -> None:
    """InputError on bounds that keep nothing or are no numbers."""
    if not 0 <= limits.min_confidence <= 1:
        raise InputError(f"--min-confidence {limits.min_confidence}: give a number from 0 to 1")
    if not 0 <= limits.min_seconds < limits.max_seconds < math.inf:
        raise InputError(
            f"--min-seconds {limits.min_seconds:g} must be at least 0 and below --max-seconds "
            f"{limits.max_seconds:g}"
        )


def unasked(corpus: Corpus, limits: Limits) -> Iterator[tuple[int, str]]:
    """(number, reason) of the utterances that are not transcribed."""
    damage = Damage(corpus)
    for i, samples in enumerate(corpus.num_samples):
        seconds = samples / SAMPLE_RATE
        if corpus.text(i).strip():
            yield i, "has a transcript"
        elif seconds < limits.min_seconds:
            yield i, "too short"
        elif seconds > limits.max_seconds:
            yield i, "too long"
        elif not damage.whole(i):
            yield i, "damaged audio"


def verdict(said: Guess | None, limits: Limits) -> str | None:
    """The reason why a transcript is not kept; None if it is kept."""
    if said is None:
        return "too short for one frame"
    if not said.text:
        return "no words"
    return "not sure enough" if said.confidence < limits.min_confidence else None


def _listener(arguments: argparse.Namespace):
    """(corpus -> (number, Guess) of each utterance, None of one without a frame; the checkpoint's
    description; its path)."""
    from w2v2_jax.checkpoint.description import require_ctc
    from w2v2_jax.decode.greedy import GreedyDecoder
    from w2v2_jax.inference import load
    from w2v2_jax.recognition.corpus import corpus_frames, too_short
    from w2v2_jax.recognition.options import make_options
    from w2v2_jax.recognition.recognise import decode
    from w2v2_jax.recognition.transcript import joined
    from w2v2_jax.system import compile_cache, cpu_memory

    cpu_memory.keep()
    compile_cache.enable()
    network = load(arguments.checkpoint, execution=execution_of(arguments))
    require_ctc(network.description, f"--checkpoint {arguments.checkpoint}")
    vocabulary = network.description.ctc_vocabulary
    decoder = options.make_decoder(
        arguments, vocabulary, seconds_per_frame=network.description.model.seconds_per_frame
    )
    if vocabulary.pronunciations and not decoder.writes_words:
        told = f"--checkpoint {arguments.checkpoint} writes phonemes, and its texts are words"
        raise InputError(f"{told}; give --lm with a model of words, or --lexicon")
    how = make_options({"decoder": None if isinstance(decoder, GreedyDecoder) else decoder})

    def guess(corpus: TranscribedCorpus) -> Iterator[tuple[int, Guess | None]]:
        seconds, most = corpus.num_samples / SAMPLE_RATE, arguments.batch_seconds
        short = frozenset(too_short(network, corpus))
        yield from ((i, None) for i in short)
        frames = corpus_frames(network, corpus, network.logits, batch_seconds=most, without=short)
        for i, logits in frames:
            reading = decode(network, [logits], how, where=f"{arguments.data} {corpus.id(i)}")
            result = joined(corpus.id(i), [(0.0, reading)], float(seconds[i]))
            said = vocabulary.as_scored(result.text, words=decoder.writes_words)
            yield i, Guess(said, result.confidence)

    return guess, network.description, network.path


def write(
    corpus: Corpus,
    outcome: Outcome,
    out: Path,
    *,
    split: str,
    about: dict[str, Any],
    text: dict[str, Any] | None,
    overwrite: bool = False,
) -> str:
    """Writes OUT/<split>, a prepared split of the kept utterances with their transcripts, with the
    list of rejects and a report beside the shards. Returns lines to print.

    about: further entries of the report. text: the transcripts' text rules. The split is renamed
    into place when it is complete. Raises InputError if nothing is kept, or if another command has
    made the split and `overwrite` is False.
    """
    tally = Tally()
    for i, (reason, said) in sorted(outcome.rejected.items()):
        heard = "" if said is None else f" ({said.confidence:.2f}) {said.text}"
        tally.add(reason, f"{corpus.id(i)}{heard}")
    counts = {"seen": len(corpus), "used": len(outcome.kept), "rejected": len(outcome.rejected)}
    if counts["seen"] != counts["used"] + counts["rejected"]:
        raise AssertionError(f"what became of the utterances does not add up: {counts}")
    told = [
        f"{corpus.directory}: {counted(counts['seen'], 'utterance')}: {counts['used']} kept, "
        f"{counts['rejected']} rejected",
        *([tally.table()] if tally.counts else []),
        *bounds_line(outcome),
    ]
    about = about | {"kept_at": kept_at(outcome)}
    if not outcome.kept:
        _nothing_kept(corpus, outcome, out, split, told, about=about, tally=tally, counts=counts)
    target, told_of = out / split, {"about": about, "tally": tally, "counts": counts}
    made = _publish(corpus, outcome, target, text=text, overwrite=overwrite, **told_of)
    utterances, hours = counted(made.info["utterances"], "utterance"), made.info["hours"]
    told.append(f"wrote {target}: {utterances}, {hours:.3f} h")
    for former in files_without_split(out, split):
        former.unlink(missing_ok=True)
    return "\n".join(told)


def _nothing_kept(corpus, outcome, out: Path, split: str, told: list[str], *, about, tally, counts):
    """Raises InputError with what would keep something, after the report of what was heard."""
    lines = printable("\n".join(told))
    if not any(said for _, said in outcome.rejected.values()):
        raise InputError(f"nothing is kept, nothing is written. {lines}")
    report = {"split": split, "rejects": tally.to_json(), "intake": counts, "pseudo": about}
    wrote = write_without_split(corpus, outcome, out, split, report)
    remedy = "; ".join(filter(None, (would_keep(outcome), wrote)))
    raise InputError(f"nothing is kept, and there is no split {split}: {remedy}. {lines}")


def _publish(corpus, outcome, target: Path, *, about, text, tally, counts, overwrite) -> Corpus:
    """Writes the split, its report and its rejects to temporary places, and renames them."""
    out, split = target.parent, target.name
    with work_folder(out) as work:
        directory = work / split
        _write_split(corpus, outcome, directory, split=split, source=about["data"], text=text)
        made = open_corpus(directory)
        others = [open_corpus(out / name) for name in list_splits(out) if name != split]
        others = [other for other in others if other.fingerprint() != corpus.fingerprint()]
        report = describe(
            made,
            rejects=tally,
            remarks=Tally(),
            changes=Tally(),
            leaks=find_leaks(made, others),
            intake=counts,
        )
        report |= {"pseudo": about}
        write_json(directory / REPORT, report)
        write_text(directory / REJECTED, "".join(rejected_lines(corpus, outcome)))
        put_in_place(directory, target, work, overwrite=overwrite)
        return made


def _write_split(corpus: Corpus, outcome: Outcome, directory: Path, *, split, source, text) -> None:
    writer = CorpusWriter(directory)
    try:
        for i in sorted(outcome.kept):
            samples = corpus.read(i, 0, int(corpus.num_samples[i]))
            writer.add(labelled(corpus.entry(i), outcome.kept[i].text), iter([samples.tobytes()]))
        writer.close(split=split, source=f"pseudo: {source}", text=text)
    finally:
        writer.abort()


def labelled(entry: Entry, text: str) -> Entry:
    """The entry with a text, and the speech rate that follows."""
    rate = len(text) * SAMPLE_RATE / entry.num_samples
    return entry._replace(text=text, characters_per_second=rate)


if __name__ == "__main__":
    sys.exit(run_command(main))
