"""Paths that may name an object store: "gs://bucket/x" and "s3://bucket/x" beside local ones.

Object stores go through etils.epath: TensorFlow's file layer where TensorFlow is installed, else
fsspec with the store's own package (gcsfs, s3fs). Orbax takes the same paths for checkpoints.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import tempfile
from argparse import Namespace
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


def why_no_file(path: str | Path) -> str:
    """Why a path is not a file that can be read, "" where it is."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    return "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)


def try_folder(folder: str | AnyPath, option: str) -> None:
    """Makes a folder and tries whether a file can be written there, before the work whose result
    goes into it; InputError names the option and the reason."""
    if is_remote(folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise InputError(f"{option} {folder}: {error.filename} is a file, not a folder") from error
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be written: {error.strerror}") from error


def try_file(path: str | AnyPath, option: str) -> None:
    """`try_folder` of the folder that a file will be in; the file may be there, a folder not."""
    if not is_remote(path) and os.path.isdir(path):
        raise InputError(f"{option} {path} is a folder; name a file")
    if not is_remote(path) and os.path.exists(path) and not os.path.isfile(path):
        return  # /dev/stdout, a pipe
    try_folder(to_path(path).parent, option)


def try_outputs(arguments: Namespace, *names: str) -> None:
    """`try_file` of those options of a command line that are given, before its work."""
    for name in names:
        if (path := getattr(arguments, name)) is not None:
            try_file(path, f"--{name}")


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
