"""The one exception a command line turns into a single clear line and exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input from a person: names the file or config path, the value, and what would work."""


def printable(text: str) -> str:
    """One line without control characters: a file's name or content must not steer a terminal."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def run_command(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> int:
    """Runs a command line: 0 on success, 2 with one line on stderr (no traceback) on bad input."""
    try:
        main(argv)
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0
