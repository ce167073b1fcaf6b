"""Writes tests/golden/programs.json: a hash of every recipe's lowered steps, at toy size.

Run by hand where a commit is meant to change what a recipe computes, with the versions of
requirements.txt; the commit says why it changes.

    python -m tests.golden.make_programs [RECIPE ...]

With recipes' names these alone are made anew, as for one that is added.
"""

import json
import sys
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

from tests.helpers.program_cases import CASES, programs, versions  # noqa: E402

if __name__ == "__main__":
    path = Path(__file__).with_name("programs.json")
    wanted = sys.argv[1:] or list(CASES)
    stored = json.loads(path.read_text()) if sys.argv[1:] else {"versions": versions()}
    if stored["versions"] != versions() or not set(wanted) <= set(CASES):
        sys.exit(f"{path}: made under {stored['versions']}; recipes are {', '.join(CASES)}")
    made = {name: programs(*CASES[name]) for name in wanted}
    held = stored.get("programs", {}) | made
    lines = [f"{json.dumps(n)}: {json.dumps(held[n])}" for n in CASES if n in held]
    body = ",\n".join(lines)
    path.write_text(f'{{"versions": {json.dumps(versions())},\n"programs": {{\n{body}\n}}}}\n')
    print(f"wrote {path}: {len(lines)} recipes")
