"""`w2v2 segment`: long recordings and their texts become a manifest of short segments.

w2v2 segment --audio FILE|FOLDER --text FILE|FOLDER --out DIR [--checkpoint DIR]
The audio stays where it is: DIR/segments.jsonl names offsets, and `w2v2 prepare` reads it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from w2v2_jax.data.audio import audio_blocks, recording_length
from w2v2_jax.data.excerpt import Excerpt
from w2v2_jax.errors import InputError, counted, report, run_command
from w2v2_jax.models.execution import PLAIN
from w2v2_jax.paths import try_folder
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.segment_cuts import Heard, Limits, Segment, finish, from_text, from_times
from w2v2_jax.prepare.segment_pairs import (
    NO_RECORDING,
    NO_TEXT,
    WITH_TIMES,
    Pair,
    by_channel,
    find_pairs,
    timed_text,
)
from w2v2_jax.prepare.segment_report import REJECTED, REPORT, SEGMENTS, Outcome
from w2v2_jax.prepare.sentences import lines_or_sentences
from w2v2_jax.prepare.speech_edges import levels
from w2v2_jax.prepare.timed_texts import TimedText
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_overwrite,
    add_romanise,
    read_seconds,
)
from w2v2_jax.system.outputs import spare_files

MIN_SCORE = -2.3
PAD = 0.1  # seconds around aligned words; times from a file stay as they are


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    _check(arguments)
    unpaired = Tally()
    pairs = find_pairs(arguments.audio, arguments.text, unpaired)
    _check_use(arguments, pairs)
    if len(pairs) == 1:
        _check_text(arguments, pairs[0])
    ear = _Ear(arguments) if arguments.checkpoint else None
    outcome = Outcome()
    for pair in pairs:
        try:
            segments = segments_of(pair, ear, arguments, unpaired)
        except InputError as error:  # the other recordings are still processed
            if len(pairs) == 1:
                raise
            report(error)
            outcome.failed.add("recording or text cannot be used", str(error))
            continue
        for segment in segments:
            outcome.sort(segment, os.path.abspath(pair.audio))
    if ear is not None:
        outcome.replaced.update(ear.replaced)
    if outcome.failed.counts.total() == len(pairs):
        raise InputError(f"none of {len(pairs)} recordings can be used (see above)")
    outcome.write(arguments.out, len(pairs), unpaired)
    if unusable := list(_unusable(arguments, len(pairs), outcome, unpaired)):
        raise InputError(f"{'; '.join(unusable)} (see above)")


def _unusable(
    arguments: argparse.Namespace, pairs: int, outcome: Outcome, unpaired: Tally
) -> Iterator[str]:
    """What decides that the exit status is 2, though the rest was cut."""
    if none := outcome.why_none(arguments.out):
        yield none
    if count := outcome.failed.counts.total():
        yield f"{count} of {counted(pairs, 'recording')} cannot be used"
    if os.path.isfile(arguments.audio):
        return  # one recording was asked for; texts of others may lie beside its own
    for reason, what in ((NO_TEXT, "recording"), (NO_RECORDING, "text")):
        if count := unpaired.counts[reason]:
            yield f"{counted(count, what)} with {reason}"


class _Ear:
    """A checkpoint that computes the logits of recordings."""

    def __init__(self, arguments: argparse.Namespace):
        from w2v2_jax.checkpoint.description import require_ctc
        from w2v2_jax.decode.spelling import Speller
        from w2v2_jax.inference import load
        from w2v2_jax.recognition.options import make_options
        from w2v2_jax.system import compile_cache, cpu_memory
        from w2v2_jax.texts.romanise import romaniser

        latin = romaniser() if arguments.romanise else str
        cpu_memory.keep()
        compile_cache.enable()
        self._network = load(arguments.checkpoint, execution=execution_of(arguments))
        description = self._network.description
        require_ctc(description, f"--checkpoint {arguments.checkpoint}")
        self._options = make_options({"batch_seconds": arguments.batch_seconds})
        self._seconds = description.model.seconds_per_frame
        self._speller = Speller(description.ctc_vocabulary, romanise=latin)
        self.replaced = self._speller.counts

    def __call__(self, audio: str, channel: int | None) -> Heard:
        from w2v2_jax.recognition.recognise import whole_logits

        excerpt = Excerpt(channel=channel)
        source = (
            audio if channel is None else np.concatenate([*audio_blocks(audio, excerpt=excerpt)])
        )
        logits = whole_logits(self._network, source, self._options)
        return Heard(logits, self._seconds, self._speller)


def segments_of(pair: Pair, ear, arguments: argparse.Namespace, unpaired: Tally) -> list[Segment]:
    """The segments of a pair, with the reasons against the rejected ones. ear: computes logits of
    a channel of the audio, or None. unpaired: counts rows of a CTM file that belong to other
    recordings. Raises InputError if audio or text cannot be used."""
    timed = timed_text(pair, arguments.tier, unpaired)
    if timed is None and ear is None:
        raise InputError(
            f"{pair.text}: a text without times needs --checkpoint; without one, times come from "
            "a .srt, .vtt, .TextGrid or .ctm file"
        )
    seconds, channels = recording_length(pair.audio)
    score = MIN_SCORE if arguments.min_score is None else arguments.min_score
    limits = Limits(None if ear is None else score, arguments.min_seconds, arguments.max_seconds)
    pad = arguments.pad
    if pad is None:
        pad = 0.0 if timed is not None and not arguments.refine else PAD
    texts = {None: None} if timed is None else by_channel(timed, channels, unpaired)
    found = []
    for channel, some in texts.items():
        heard: Heard | None = ear(pair.audio, channel) if ear is not None else None
        if heard is not None and (timed is None or arguments.refine):
            blocks = audio_blocks(pair.audio, excerpt=Excerpt(channel=channel))
            heard = heard._replace(loudness=levels(blocks))
        segments = _uncut(pair, some, heard, arguments)
        cut = finish(segments, limits, seconds=seconds, pad=pad)
        found += [segment._replace(channel=channel) for segment in cut]
    return found


def _uncut(
    pair: Pair, timed: list[TimedText] | None, heard: Heard | None, arguments: argparse.Namespace
) -> list[Segment]:
    """The segments of texts with times, or of a running text that is aligned to what is heard."""
    where = str(pair.text)
    if timed is not None:
        return from_times(timed, heard, reach=arguments.refine, where=where)
    assert heard is not None
    return from_text(list(lines_or_sentences(pair.text, arguments.by)), heard, where=where)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.checkpoint is None and arguments.min_score is not None:
        raise InputError("--min-score needs --checkpoint, which gives the scores")
    if arguments.checkpoint is None and arguments.refine:
        raise InputError("--refine needs --checkpoint, which finds the words")
    if arguments.checkpoint is None and arguments.romanise:
        raise InputError("--romanise needs --checkpoint, which has the symbols for the letters")
    if arguments.checkpoint is None and execution_of(arguments) != PLAIN:
        raise InputError("--dtype needs --checkpoint, which is computed in it")
    if arguments.min_seconds > arguments.max_seconds:
        raise InputError(
            f"--min-seconds {arguments.min_seconds:g} is above --max-seconds "
            f"{arguments.max_seconds:g}: no segment could be used"
        )
    if arguments.min_score is not None and not arguments.min_score <= 0:
        raise InputError(f"--min-score {arguments.min_score}: scores are at most 0")
    written = [arguments.out / name for name in (SEGMENTS, REJECTED, REPORT)]
    existing = next((path for path in written if path.exists()), None)
    if existing is not None and not arguments.overwrite:
        raise InputError(f"{existing} exists; add --overwrite or choose another --out")
    try_folder(arguments.out, "--out")
    spare_files(arguments, "out", written)


def _check_use(arguments: argparse.Namespace, pairs: list[Pair]) -> None:
    """Raises InputError for an option that would apply to none of the texts."""
    suffixes = {pair.text.suffix.lower() for pair in pairs}
    text = pairs[0].text
    if arguments.tier is not None and ".textgrid" not in suffixes:
        raise InputError(f"--tier is for .TextGrid files, and {text} is none; omit it")
    if arguments.by == "sentence" and suffixes <= {*WITH_TIMES}:
        raise InputError(
            f"--by sentence is for running texts, and {text} has times, at which it is cut; omit it"
        )
    if arguments.refine and not suffixes & {*WITH_TIMES}:
        raise InputError(f"--refine is for texts with times, and {text} has none; omit it")


def _check_text(arguments: argparse.Namespace, pair: Pair) -> None:
    """Raises InputError if the text cannot be read, before a checkpoint is loaded."""
    if timed_text(pair, arguments.tier, Tally()) is None:
        list(lines_or_sentences(pair.text, arguments.by))


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 segment", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--audio", required=True, metavar="FILE|FOLDER", help="long recordings in any format")
    add(
        "--text",
        required=True,
        metavar="FILE|FOLDER",
        help="their texts: .srt, .vtt, .TextGrid or .ctm with times, or a running text; in folders "
        "a recording and its text have the same name",
    )
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help=f"the folder for {SEGMENTS} (for prepare), {REJECTED} and {REPORT}",
    )
    add(
        "--checkpoint",
        metavar="DIR",
        help="a tuned model, which aligns texts without times and scores segments: a workdir, a "
        "step's folder or a Hugging Face folder",
    )
    add(
        "--by",
        choices=("line", "sentence"),
        default="line",
        help="cut a running text into lines or sentences",
    )
    add("--tier", metavar="NAME", help="the tier of TextGrid files with several")
    add(
        "--min-score",
        type=float,
        metavar="S",
        help=f"reject segments with a lower score ({MIN_SCORE:g}); 0 is a perfect fit",
    )
    add(
        "--refine",
        type=read_seconds,
        default=0.0,
        metavar="SECONDS",
        help="search for the words this far around times from a file; 0 keeps the times",
    )
    add(
        "--pad",
        type=read_seconds,
        metavar="SECONDS",
        help=f"pause to keep before and after the words ({PAD:g}; 0 for times from a file)",
    )
    add("--min-seconds", type=read_seconds, default=0.3, help="reject shorter segments")
    add("--max-seconds", type=read_seconds, default=30.0, help="reject longer segments")
    add_romanise(parser)
    add_batch_seconds(parser, 60.0)
    add_dtype(parser)
    add_overwrite(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
