"""Command line: another framework's checkpoint becomes a native one.

python -m w2v2_jax.convert --from hf|safetensors --input PATH --out DIR
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import hugging_face, native, safetensors_file
from w2v2_jax.interop.files import new_output, print_written

IMPORTERS = {"hf": hugging_face.read, "safetensors": safetensors_file.read}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 convert", description=__doc__.splitlines()[0])
    parser.add_argument("--from", required=True, dest="source", metavar="|".join(IMPORTERS))
    parser.add_argument("--input", required=True, type=Path, metavar="PATH")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--language", help="hf: whose adapters and head to take (MMS), as `fra`")
    arguments = parser.parse_args(argv)
    if arguments.source not in IMPORTERS:
        raise InputError(
            f"--from {arguments.source} is not known; use one of {', '.join(IMPORTERS)}"
        )
    read = IMPORTERS[arguments.source]
    if arguments.language is not None:
        if arguments.source != "hf":
            raise InputError("--language goes with --from hf")
        read = functools.partial(hugging_face.read, language=arguments.language)
    with new_output(arguments.out) as partial:
        imported = read(arguments.input)
        native.write_initial(partial, imported.loaded)
    print(f"read {arguments.input}: {imported.loaded.description.objective} checkpoint")
    print(
        f"{len(imported.matched)} names matched, {len(imported.left)} left over"
        + (f": {', '.join(imported.left)}" if imported.left else "")
    )
    for note in imported.notes:
        print(f"note: {note}")
    print_written(arguments.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
