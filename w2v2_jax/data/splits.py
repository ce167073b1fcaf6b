"""The splits in the folder of a prepared corpus."""

from __future__ import annotations

import errno
import functools
import os
import sys

from w2v2_jax.paths import SPLIT, AnyPath, is_remote, to_path


def list_splits(directory: str | AnyPath) -> list[str]:
    """Names of the prepared splits under `directory`; unfinished ones are not among them."""
    descriptions = to_path(directory).glob(f"*/{SPLIT}")
    for closed in _closed_folders(to_path(directory)):
        tell_closed(closed)
    return sorted(p.parent.name for p in descriptions if not p.parent.name.startswith("."))


def _closed_folders(directory: AnyPath) -> list[AnyPath]:
    """The folders in a folder that may not be read, which `glob` passes over in silence."""
    if is_remote(directory) or not directory.is_dir():
        return []
    children = (child for child in directory.iterdir() if not child.name.startswith("."))
    return [child for child in children if is_closed(child)]


def is_closed(folder: AnyPath) -> bool:
    """Whether a path is a folder of this machine that may not be read."""
    return not is_remote(folder) and folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


@functools.cache
def tell_closed(folder: AnyPath) -> None:
    """Says once on stderr that what a folder holds does not count."""
    reason = os.strerror(errno.EACCES)
    print(f"note: {folder}: {reason}; a split in it does not count", file=sys.stderr)
