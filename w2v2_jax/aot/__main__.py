"""`python -m w2v2_jax.aot`, the same as `w2v2 aot`."""

import sys

from w2v2_jax.errors import run_command


def main(argv: list[str] | None = None) -> None:
    from w2v2_jax.aot.command import main as command  # Ctrl-C may come while it imports

    command(argv)


if __name__ == "__main__":
    sys.exit(run_command(main))
