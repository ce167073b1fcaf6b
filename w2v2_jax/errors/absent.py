"""Why there is no file at a path. What lies in a folder that may not be entered is not absent, and
`os.path.exists` and `isfile` take it for that."""

from __future__ import annotations

import os
from pathlib import Path


def why_absent(path: str | Path, what: str = "file") -> str:
    """Why nothing is found at a path, "no such {what}" or another reason; "" if something is."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else f"no such {what}"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return getattr(error, "strerror", None) or str(error)
    return ""


def why_not_plain(path: str | Path) -> str:
    """Why a path is no file that can be read several times; "" if it is one."""
    if os.path.isfile(path):
        return ""
    folder = "is a folder, not a file" if os.path.isdir(path) else ""
    return why_absent(path) or folder or "not a plain file"
