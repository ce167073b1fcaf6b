"""`python -m w2v2_jax.decode`, the same as `w2v2 decode`."""

import sys

from w2v2_jax.errors import run_module

if __name__ == "__main__":
    sys.exit(run_module("w2v2_jax.decode.command"))
