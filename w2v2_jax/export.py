"""Command line: a checkpoint becomes another framework's files.

python -m w2v2_jax.export --checkpoint DIR --to hf|safetensors|onnx|stablehlo|savedmodel --out PATH
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import load_any
from w2v2_jax.interop import (
    hugging_face,
    names,
    onnx_file,
    safetensors_file,
    saved_model,
    stablehlo,
)
from w2v2_jax.interop.files import new_output, print_written

EXPORTERS = {
    "hf": hugging_face.save,
    "safetensors": safetensors_file.save,
    "onnx": onnx_file.save,
    "stablehlo": stablehlo.save,
    "savedmodel": saved_model.save,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 export", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, metavar="DIR")
    parser.add_argument("--to", required=True, metavar="|".join(EXPORTERS))
    parser.add_argument("--out", required=True, type=Path, metavar="PATH")
    parser.add_argument(
        "--legacy-weight-norm",
        action="store_true",
        help="hf: name the positional convolution's weights weight_g and weight_v",
    )
    parser.add_argument("--int8", action="store_true", help="onnx: 8-bit weights")
    arguments = parser.parse_args(argv)
    if arguments.to not in EXPORTERS:
        raise InputError(f"--to {arguments.to} is not known; use one of {', '.join(EXPORTERS)}")
    export = EXPORTERS[arguments.to]
    if arguments.legacy_weight_norm:
        if arguments.to != "hf":
            raise InputError("--legacy-weight-norm goes with --to hf")
        export = functools.partial(hugging_face.save, legacy_weight_norm=True)
    if arguments.int8:
        if arguments.to != "onnx":
            raise InputError("--int8 goes with --to onnx")
        export = functools.partial(onnx_file.save, int8=True)
    with new_output(arguments.out) as partial:
        loaded = load_any(arguments.checkpoint)
        export(loaded, partial)
    print(f"read {loaded.path}")
    print(f"{len(names.flatten(loaded.params))} parameters matched, 0 left over")
    print_written(arguments.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
