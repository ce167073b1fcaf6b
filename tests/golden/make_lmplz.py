"""Stores models that KenLM's lmplz estimates from the text of helpers/decode_cases.py.

Run with lmplz (https://github.com/kpu/kenlm, commit 4cb443e of 2025-03-30, g++ 12.2, Boost 1.74) on
PATH:  python -m tests.golden.make_lmplz
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.helpers.decode_cases import LMPLZ_MODELS, lmplz_text

HERE = Path(__file__).parent

if __name__ == "__main__":
    held = {}
    for name, (order, prune) in LMPLZ_MODELS.items():
        command = ["lmplz", "-o", str(order), "-S", "100M", "--prune", *map(str, prune)]
        done = subprocess.run(command, input=lmplz_text(), capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
        held[f"{name}_grams"] = np.array("\n".join(row[1] for row in rows))
        held[f"{name}_probability"] = np.array([float(row[0]) for row in rows], np.float32)
        backoffs = [float(row[2]) if len(row) > 2 else 0.0 for row in rows]
        held[f"{name}_backoff"] = np.array(backoffs, np.float32)
    np.savez_compressed(HERE / "lmplz.npz", **held)
