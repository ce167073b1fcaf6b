"""`python -m w2v2_jax.aot`, the same as `w2v2 aot`."""

import sys

from w2v2_jax.errors import run_module

if __name__ == "__main__":
    sys.exit(run_module("w2v2_jax.aot.command"))
