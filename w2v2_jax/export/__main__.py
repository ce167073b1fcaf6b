"""`python -m w2v2_jax.export`, the same as `w2v2 export`."""

import sys

from w2v2_jax.errors import run_command
from w2v2_jax.export.command import main

if __name__ == "__main__":
    sys.exit(run_command(main))
