"""Paths that may name an object store: "gs://bucket/x" and "s3://bucket/x" beside local ones.

Object stores go through etils.epath: TensorFlow's file layer where TensorFlow is installed, else
fsspec with the store's own package (gcsfs, s3fs). Orbax takes the same paths for checkpoints.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError

SCHEMES = ("gs", "s3")
MOST_JSON = 64 << 20
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


def read_json(path: str | AnyPath) -> dict[str, Any]:
    """The object in a JSON file, of at most MOST_JSON bytes; InputError names the file when it is
    absent, broken, nested too deep or something else."""
    path = to_path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_JSON + 1)
        if len(text) > MOST_JSON:
            raise ValueError(f"more than {MOST_JSON >> 20} MiB")
        value = json.loads(text)
    except RecursionError as error:
        raise InputError(f"{path}: cannot be read as JSON: nested too deep") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    return value


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that every parser reads: what is no finite number (a rate of nothing, a loss that is
    NaN) becomes null, as JSON has no word for it."""
    return json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def absolute(path: str | AnyPath) -> AnyPath:
    """`to_path`, made independent of the current directory."""
    found = to_path(path)
    return found if is_remote(found) else found.absolute()
