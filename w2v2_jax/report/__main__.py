"""`python -m w2v2_jax.report`, the same as `w2v2 report`."""

import sys

from w2v2_jax.errors import run_command
from w2v2_jax.report.command import main

if __name__ == "__main__":
    sys.exit(run_command(main))
