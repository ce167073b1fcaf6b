"""Paths that may name an object store: "gs://bucket/x" and "s3://bucket/x" beside local ones.

Object stores go through etils.epath: TensorFlow's file layer where TensorFlow is installed, else
fsspec with the store's own package (gcsfs, s3fs). Orbax takes the same paths for checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError

SCHEMES = ("gs", "s3")
AnyPath = Any  # pathlib.Path, or etils.epath.Path of the same methods


def is_remote(path: str | AnyPath) -> bool:
    """Whether the path names an object store."""
    return "://" in str(path)


def to_path(path: str | AnyPath) -> AnyPath:
    """A path object for a local name or "scheme://..."; InputError for an unknown scheme.

    (pathlib alone would fold the two slashes of "gs://" into one.)
    """
    if not is_remote(path):
        return Path(path)
    scheme = str(path).partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://..." for name in SCHEMES)
        raise InputError(f"{path}: {scheme}:// is not a known file layer; use {known} or a folder")
    from etils import epath

    return epath.Path(path)


def size_of(path: AnyPath) -> int:
    """Bytes of a file."""
    status = path.stat()
    return status.length if is_remote(path) else status.st_size


def absolute(path: str | AnyPath) -> AnyPath:
    """`to_path`, made independent of the current directory."""
    found = to_path(path)
    return found if is_remote(found) else found.absolute()
