"""Finds the time of each line of a transcript in a recording of any length.

w2v2 align --checkpoint DIR AUDIO TEXT [--out DIR --formats textgrid,ctm]
stdout: start<TAB>end<TAB>score<TAB>line, in seconds; low scores mark lines that do not fit.
"""

from __future__ import annotations

import sys
from pathlib import Path

from w2v2_jax.decode.lines import Line
from w2v2_jax.decode.spelling import Spelled
from w2v2_jax.errors import InputError, one_field, printable, run_command
from w2v2_jax.errors.absent import why_no_file
from w2v2_jax.inference import load
from w2v2_jax.paths import file_sha256, print_json
from w2v2_jax.recognition import transcript_files, transcript_record
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.recognition.network import origin
from w2v2_jax.recognition.options import make_options
from w2v2_jax.recognition.recognise import align
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_overwrite,
    add_romanise,
)
from w2v2_jax.system.progress import audio_bar, total_seconds
from w2v2_jax.texts import text_lines
from w2v2_jax.texts.romanise import romaniser


def as_result(path: str, lines: list[Line], duration: float) -> Result:
    """Aligned lines as one transcript."""
    return Result(
        path,
        " ".join(line.text for line in lines),
        [w for line in lines for w in line.words],
        [c for line in lines for c in line.characters],
        duration,
    )


def _tell(spelled: Spelled) -> None:
    """What of the text has no symbol."""
    if spelled.replaced:
        shown = ", ".join(f"{what} ({n} times)" for what, n in spelled.replaced.most_common(8))
        print(f"characters without a symbol were taken: {printable(shown)}", file=sys.stderr)
    if spelled.left_out:
        shown = ", ".join(map(str, spelled.left_out[:8]))
        print(f"lines of punctuation alone were left out: {shown}", file=sys.stderr)


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 align", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument("audio", metavar="AUDIO", help="an audio file of any format")
    parser.add_argument("text", type=Path, metavar="TEXT", help="the text, one sentence per line")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line, with words"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write files to this folder")
    parser.add_argument("--formats", help="for --out: txt,json,srt,vtt,ctm,textgrid (textgrid,ctm)")
    add_romanise(parser)
    add_overwrite(parser)
    add_batch_seconds(parser, 60.0)
    add_dtype(parser)
    parser.add_argument("--quiet", action="store_true", help="print no progress on stderr")
    arguments = parser.parse_args(argv)
    if why := why_no_file(arguments.audio):
        raise InputError(f"{arguments.audio}: {why}")
    lines = list(text_lines(arguments.text))
    formats = transcript_files.chosen_formats(arguments, "textgrid,ctm")
    planned: transcript_files.Planned = {}
    if arguments.out is not None:
        planned = transcript_files.plan(
            [arguments.audio], arguments.out, formats, overwrite=arguments.overwrite
        )
        transcript_files.spare(arguments, planned)
    if arguments.romanise:
        romaniser()  # whether it is installed
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    total = total_seconds([arguments.audio])
    with audio_bar(total, disable=arguments.quiet) as bar:
        values = {
            "batch_seconds": arguments.batch_seconds,
            "progress": bar.update,
            "romanise": arguments.romanise,
            "on_spelled": _tell,
        }
        where = str(arguments.text)
        aligned = align(
            model, arguments.audio, lines, make_options(values, call="align"), where=where
        )
    files = planned.get(arguments.audio, {})
    if files:
        text = file_sha256(arguments.text)
        made_by = {"command": "align", "text": text, "romanise": arguments.romanise}
        by = transcript_record.begin(arguments.out, {**made_by, **origin(model)})
        result = as_result(arguments.audio, aligned, total or 0.0)
        transcript_files.write(result, files, arguments.out, by, overwrite=arguments.overwrite)
    for line in aligned:
        if arguments.json:
            plain = line._asdict() | {
                "words": [w._asdict() for w in line.words],
                "characters": [c._asdict() for c in line.characters],
            }
            print_json(plain)
        else:
            print(f"{line.start:.3f}\t{line.end:.3f}\t{line.score:.3f}\t{one_field(line.text)}")
    for path in files.values():
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command(main))
