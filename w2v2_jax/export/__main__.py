"""`python -m w2v2_jax.export`, the same as `w2v2 export`."""

import sys

from w2v2_jax.errors import run_module

if __name__ == "__main__":
    sys.exit(run_module("w2v2_jax.export.command"))
