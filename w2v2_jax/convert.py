"""Converts another framework's checkpoint to a native one.

w2v2 convert --from hf|fairseq|fairseq2|torchaudio|safetensors --input PATH --out DIR
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from w2v2_jax.checkpoint.description import require_finite
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import (
    fairseq,
    fairseq2,
    hub,
    hugging_face,
    lora,
    native,
    safetensors_file,
    torchaudio_file,
    verify,
)
from w2v2_jax.interop.dictionary import read_symbols
from w2v2_jax.interop.files import Imported, print_check, print_written
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.system.arguments import CommandParser, add_overwrite
from w2v2_jax.system.new_output import new_output
from w2v2_jax.system.outputs import spare_inputs

IMPORTERS: dict[str, Callable[..., Imported]] = {
    "hf": hugging_face.read,
    "fairseq": fairseq.read,
    "fairseq2": fairseq2.read,
    "torchaudio": torchaudio_file.read,
    "safetensors": safetensors_file.read,
}
# Formats whose files do not describe their network completely: their readers take FileHints.
TAKE_GIVEN = {"fairseq", "fairseq2", "torchaudio"}


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 convert", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--from", required=True, dest="source", metavar="|".join(IMPORTERS), help="whose weights"
    )
    parser.add_argument(
        "--input", required=True, type=Path, metavar="PATH", help="the file or folder to read"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the native checkpoint to write"
    )
    add_overwrite(parser)
    parser.add_argument("--language", help="hf: language of the adapters and head (MMS): fra")
    parser.add_argument(
        "--lora", type=Path, metavar="DIR", help="a PEFT folder: low-rank updates of the network"
    )
    _add_hints(parser)
    verify.add_argument(parser)
    arguments = parser.parse_args(argv)
    if arguments.source not in IMPORTERS:
        raise InputError(
            f"--from {arguments.source} is not known; use one of {', '.join(IMPORTERS)}"
        )
    spare_inputs(arguments, ["out"], ["input", "lora", "dictionary"])
    read, hints = IMPORTERS[arguments.source], _hints(arguments)
    if arguments.source in TAKE_GIVEN:
        read = functools.partial(read, hints=hints)
    elif hints != FileHints():
        raise InputError(
            "--norm-order, --heads, --strides, --normalise and --dictionary go with "
            f"--from {', '.join(sorted(TAKE_GIVEN))}; {arguments.source} files contain them"
        )
    if arguments.language is not None:
        if arguments.source != "hf":
            raise InputError("--language goes with --from hf")
        read = functools.partial(read, language=arguments.language)
    verify.refuse_unable(arguments.verify, arguments.source)
    if arguments.lora is not None and arguments.verify is not None:
        raise InputError("--verify runs the other framework without --lora; use one of the two")
    source = arguments.input
    if arguments.source == "hf":
        source = Path(hub.folder(str(source)))
    if not source.exists():
        raise InputError(f"--input {source} does not exist; give {_wanted(arguments.source)}")
    if arguments.lora is not None:
        lora.read_config(arguments.lora)
    if arguments.dictionary is not None and Path(arguments.dictionary).suffix != ".model":
        read_symbols(arguments.dictionary)
    elif arguments.dictionary is not None and not Path(arguments.dictionary).is_file():
        raise InputError(f"--dictionary {arguments.dictionary}: no such file")
    with new_output(arguments.out, overwrite=arguments.overwrite) as partial:
        imported = read(source)
        if arguments.lora is not None:
            imported = lora.with_updates(imported, arguments.lora)
        require_finite(imported.loaded)
        verified = verify.report(imported.loaded, arguments.source, source, arguments.verify)
        native.write_initial(partial, imported.loaded)
    print(f"read {arguments.input}: {imported.loaded.description.objective} checkpoint")
    print_check(f"{len(imported.matched)} names", imported.left, imported.notes + verified)
    print_written(arguments.out)


def _wanted(source: str) -> str:
    """What --input may be."""
    if source == "hf":
        return (
            "a Hugging Face folder, or a model of its hub by its whole name, as "
            "facebook/wav2vec2-base-960h"
        )
    return f"a file of {source}"


def _add_hints(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "settings that a fairseq, fairseq2 or torchaudio file may lack"
    ).add_argument
    add("--norm-order", choices=("post", "pre"), help="layer norms after or before each block")
    add("--heads", type=int, metavar="N", help="attention heads")
    add("--strides", metavar="5,2,...", help="strides of the convolutions")
    add("--normalise", choices=("yes", "no"), help="whether it expects normalised input")
    add(
        "--dictionary",
        metavar="FILE",
        help="symbols of the CTC head: dict.ltr.txt, vocabulary.json or tokenizer.model",
    )


def _hints(arguments: argparse.Namespace) -> FileHints:
    strides = None
    if arguments.strides is not None:
        parts = arguments.strides.split(",")
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            raise InputError(f"--strides {arguments.strides}: give numbers, as in 5,2,2,2,2,2,2")
        strides = tuple(map(int, parts))
    normalise = None if arguments.normalise is None else arguments.normalise == "yes"
    return FileHints(
        arguments.norm_order, arguments.heads, strides, normalise, arguments.dictionary
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
