"""Why there is no file at a path. What lies in a folder that may not be entered is not absent, and
`os.path.exists` and `isfile` take it for that."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def is_absent(path: str | Path) -> bool:
    """Whether nothing has this name. False also for a link to nothing, and where it cannot be known
    because a folder above may not be entered or a disk does not answer."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.islink(path)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return False
    return False


def why_absent(path: str | Path, what: str = "file") -> str:
    """Why nothing is found at a path, "no such {what}" or another reason; "" if something is."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else f"no such {what}"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def why_no_file(path: str | Path) -> str:
    """Why a path is not a file that can be read, a pipe among them; "" if it is one."""
    if absent := why_absent(path):
        return absent
    if os.path.isdir(path):
        return "is a folder, not a file"
    return "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)


def why_not_plain(path: str | Path) -> str:
    """Why a path is not a file that can be read several times, as a pipe cannot; "" if it is."""
    return why_no_file(path) or ("" if os.path.isfile(path) else "not a plain file")
