"""The one exception a command line turns into a single clear line and exit status 2."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE, errno.EACCES,
)  # fmt: skip


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
    except OSError as error:
        if disk_reason(error) is None:
            raise
        print(f"error: {disk_reason(error)}", file=sys.stderr)
        return 2
    return 0


def disk_reason(error: BaseException) -> str | None:
    """Why a disk refused, told from an exception and its causes; None for any other error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return f"{error.strerror}" + (f" ({error.filename})" if error.filename else "")
        found = next((os.strerror(n) for n in DISK_ERRORS if os.strerror(n) in str(error)), None)
        if found:
            return found
        error = error.__cause__ or error.__context__
    return None
