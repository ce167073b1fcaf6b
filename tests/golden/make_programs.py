"""Writes tests/golden/programs.json: a hash of every recipe's lowered steps, at toy size.

Run by hand where a commit is meant to change what a recipe computes, with the versions of
requirements.txt; the commit says why it changes.

    python -m tests.golden.make_programs
"""

import json
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

from tests.helpers.program_cases import CASES, programs, versions  # noqa: E402

if __name__ == "__main__":
    lines = [f"{json.dumps(n)}: {json.dumps(programs(*case))}" for n, case in CASES.items()]
    path = Path(__file__).with_name("programs.json")
    body = ",\n".join(lines)
    path.write_text(f'{{"versions": {json.dumps(versions())},\n"programs": {{\n{body}\n}}}}\n')
    print(f"wrote {path}: {len(lines)} recipes")
