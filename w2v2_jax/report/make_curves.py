"""Stores the curves of finished runs as a reference: one workdir for each seed.

python -m w2v2_jax.report.make_curves --out FILE.json --about TEXT WORKDIR...
"""

from __future__ import annotations

import sys
from pathlib import Path

from w2v2_jax.errors import run_command
from w2v2_jax.evaluation.reference_curves import decisive
from w2v2_jax.evaluation.runs import read_run
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.system.arguments import CommandParser
from w2v2_jax.system.outputs import try_outputs

LEFT_OUT = ("split", "audio_seconds_per_second", "epoch", "compilations")
DIGITS = 4


def curves(runs: list[list[dict]], split: str) -> dict[str, list]:
    """step [N] of the records that all runs have, and every metric as [runs, N]."""
    tables = [{r["step"]: r for r in records if r["split"] == split} for records in runs]
    steps = sorted(set.intersection(*map(set, tables)))
    names = sorted({name for table in tables for r in table.values() for name in r})
    columns = {
        name: [[_short(table[step].get(name)) for step in steps] for table in tables]
        for name in names
        if name not in (*LEFT_OUT, "step")
    }
    return {"step": steps, **columns}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--about", required=True)
    parser.add_argument("workdirs", nargs="+", type=Path)
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "out")
    runs = [read_run(workdir).records for workdir in arguments.workdirs]
    config = read_json(arguments.workdirs[0] / "config.json")
    content = {
        "about": arguments.about,
        "config": decisive(config),
        "splits": {split: curves(runs, split) for split in ("train", "valid")},
    }
    write_json(arguments.out, content, indent=None)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
