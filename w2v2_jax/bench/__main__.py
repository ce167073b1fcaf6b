"""`python -m w2v2_jax.bench`."""

import sys

from w2v2_jax.bench import main
from w2v2_jax.errors import run_command

if __name__ == "__main__":
    sys.exit(run_command(main))
