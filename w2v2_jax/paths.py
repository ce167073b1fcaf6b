"""Paths that may name an object store: "gs://bucket/x" and "s3://bucket/x" beside local ones.

Object stores go through etils.epath: TensorFlow's file layer where TensorFlow is installed, else
fsspec with the store's own package (gcsfs, s3fs). Orbax takes the same paths for checkpoints.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.errors import InputError, disk_reason, nearest

SCHEMES = ("gs", "s3")
MOST_JSON = 64 << 20  # bytes
MOST_LARGE_JSON = 1 << 30  # of what grows with a corpus or a lexicon: about 1 KB per utterance
SPLIT = "corpus.json"  # a folder with this file is a prepared split; it is written last
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


def file_sha256(path: AnyPath) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_empty_folder(path: AnyPath) -> bool:
    """Whether a path is a folder with nothing in it."""
    return path.is_dir() and not any(path.iterdir())


def read_json(path: str | AnyPath, *, most: int = MOST_JSON) -> dict[str, Any]:
    """The object in a JSON file of at most `most` bytes; InputError names the file if it is
    missing, broken, nested too deeply or not an object."""
    path = to_path(path)
    try:
        with path.open("rb") as file:
            text = file.read(most + 1)
        if len(text) > most:
            raise ValueError(f"more than {most >> 20} MiB")
        value = json.loads(text)
    except RecursionError as error:
        raise InputError(f"{path}: cannot be read as JSON: nested too deep") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as JSON: {why}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    return value


POINTER = "a Git LFS pointer instead of the file; run `git lfs pull` where it was cloned"


def is_pointer(start: bytes) -> bool:
    """Whether a file's first bytes are those of a Git LFS pointer, which a clone without LFS has in
    the place of every large file."""
    return start.startswith(b"version https://git-lfs.github.com/spec/")


def meant_beside(folder: AnyPath) -> str:
    """ "; did you mean X?" of the folders that lie where one should that does not exist."""
    above = folder.parent
    if is_remote(folder) or not os.access(above, os.R_OK | os.X_OK):
        return ""
    meant = nearest(folder.name, [path.name for path in above.iterdir() if path.is_dir()])
    return f"; {meant}" if meant else ""


def try_folder(folder: str | AnyPath, option: str) -> None:
    """Makes a folder and tests whether a file can be written there, before the work whose result
    goes there; InputError names the option and the reason."""
    if is_remote(folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        what = "is a file, not a folder"
        if os.path.islink(error.filename) and not os.path.exists(error.filename):
            what = f"is a link to {os.readlink(error.filename)}, which does not exist"
        raise InputError(f"{option} {folder}: {error.filename} {what}") from error
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be written: {error.strerror}") from error


def try_file(path: str | AnyPath, option: str) -> None:
    """`try_folder` for the folder of a file. The file may exist, but may not be a folder."""
    if not is_remote(path) and os.path.isdir(path):
        raise InputError(f"{option} {path} is a folder; name a file")
    if not is_remote(path) and is_special(path):
        return
    try_folder(to_path(path).parent, option)


def is_special(path: str | AnyPath) -> bool:
    """Whether a path is /dev/stdout, a pipe or the like, which a result can be written to."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def refuse_special(path: Path, option: str) -> None:
    """InputError for an output that only a whole file or folder can be renamed to, if it is `/` or
    `is_special`: its name would be lost for what had it, /dev/null for every program."""
    if is_special(path) or not os.path.basename(os.path.realpath(path)):
        raise InputError(f"{option} {path} cannot be replaced; name a file or folder to write")


def finite(value: Any) -> Any:
    """The value for JSON, with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """JSON that every parser reads: numbers that are not finite are null, not NaN or Infinity."""
    return json.dumps(
        finite(value), ensure_ascii=False, allow_nan=False, indent=indent, sort_keys=sort_keys
    )


def print_json(value: Any) -> None:
    """Prints `json_text` of the value on one line, with its letters if standard output is UTF-8.
    Else they are escaped: what is printed for a letter that an encoding lacks is no JSON."""
    text = json_text(value)
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    print(text if encoding == "utf8" else json.dumps(json.loads(text)), flush=True)


def write_json(path: str | AnyPath, value: Any, *, indent: int | None = 1) -> None:
    """Writes `json_text` of the value with `write_text`."""
    write_text(path, json_text(value, indent=indent) + "\n")


def as_bytes(text: str) -> bytes:
    """A text as UTF-8. It may have the name of a file, which may hold any byte."""
    return text.encode("utf-8", "backslashreplace")


def write_text(path: str | AnyPath, text: str) -> None:
    """Writes a text file and makes the folders above it; InputError if that is not possible.

    On a disk the file is renamed into place, so an interruption or a full disk leaves the previous
    file. An object store shows only complete objects. A path that is not a file, such as
    /dev/stdout, is written to directly.
    """
    path = to_path(path)
    content = as_bytes(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            path.write_bytes(content)
        elif path.exists() and not path.is_file():
            with path.open("wb") as file:
                file.write(content)
        else:
            _rename_into_place(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _rename_into_place(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def writing(option: str, path: str | AnyPath) -> Iterator[None]:
    """Names the option and the path if a disk refuses a write. Unlike the error of opening a file,
    the error of a write has no file name."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or (reason := disk_reason(error)) is None:
            raise
        raise InputError(f"{option} {path}: {reason}") from error


def absolute(path: str | AnyPath) -> AnyPath:
    """`to_path`, made independent of the current directory."""
    place = to_path(path)
    return place if is_remote(place) else place.absolute()
