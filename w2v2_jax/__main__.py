"""`w2v2 COMMAND ...`: the same as `python -m w2v2_jax.COMMAND ...`."""

from __future__ import annotations

import importlib
import sys

from w2v2_jax.errors import run_command

COMMANDS = (
    "prepare",
    "train",
    "evaluate",
    "compare",
    "transcribe",
    "align",
    "export",
    "convert",
    "aot",
    "bench",
    "bench_long",
    "codebook",
    "lm",
    "emit",
    "decode",
    "sweep",
    "units",
    "extract",
    "report",
    "report_cells",
)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: w2v2 {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 0 if argv in (["-h"], ["--help"]) else 2
    return run_command(importlib.import_module(f"w2v2_jax.{argv[0]}").main, argv[1:])


if __name__ == "__main__":
    sys.exit(main())
