"""Command line: transcripts of audio files, one line each: path<TAB>text.

python -m w2v2_jax.transcribe --checkpoint DIR FILE... [--json] [--lm FILE.arpa|.bin]
"""

from __future__ import annotations

import argparse
import json
import sys

from w2v2_jax.decode import options
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import SAMPLE_RATE, load


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 transcribe", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="workdir, step or Hugging Face folder")
    parser.add_argument("files", nargs="+", metavar="FILE", help="wav, flac, ogg or mp3, any rate")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with words")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    options.add_arguments(parser)
    arguments = parser.parse_args(argv)
    model = load(arguments.checkpoint)
    if model.description.objective != "ctc":
        raise InputError(
            f"--checkpoint {arguments.checkpoint} is a pretraining checkpoint; fine-tune it first"
        )
    seconds = model.description.model.stride / SAMPLE_RATE
    decoder = options.make_decoder(
        arguments, model.description.vocabulary, seconds_per_frame=seconds
    )
    for result in model.transcribe(
        arguments.files, batch_seconds=arguments.batch_seconds, decoder=decoder
    ):
        if arguments.json:
            words = [word._asdict() for word in result.words]
            print(json.dumps({"path": result.path, "text": result.text, "words": words}))
        else:
            print(f"{result.path}\t{result.text}")


if __name__ == "__main__":
    sys.exit(run_command(main))
