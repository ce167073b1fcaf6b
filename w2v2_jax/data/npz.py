"""Arrays from an untrusted .npz file: nothing is unpickled or decompressed, and the header does not
decide how much memory is used."""

from __future__ import annotations

import contextlib
import math
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath

DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, NotImplementedError,
    RuntimeError, OverflowError, MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


def read_array(
    path: AnyPath, name: str, *, dtype: Any = None, rows: int | None = None, rising: bool = False
) -> np.ndarray:
    """One array [N] of plain numbers or texts as `np.savez` stores it; integers are counts and
    positions, so never below 0. dtype, rows: what it must have; rising: it must never fall.

    Raises InputError that names the file if it is damaged, compressed (which `np.savez` never
    does), or not the expected array.
    """
    with _opened(path) as archive:
        record = archive.getinfo(f"{name}.npy")
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        with archive.open(record) as content:
            array = _read(content, record.file_size)
        if dtype not in (None, array.dtype) or rows not in (None, len(array)):
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
        signed = array.dtype.kind == "i"
        if (signed and (array < 0).any()) or (rising and (np.diff(array) < 0).any()):
            raise ValueError(f"{name} has values that cannot be")
        return array


def array_names(path: AnyPath) -> frozenset[str]:
    """Names of the arrays in an .npz file; InputError if it is damaged."""
    with _opened(path) as archive:
        return frozenset(name.removesuffix(".npy") for name in archive.namelist())


@contextlib.contextmanager
def _opened(path: AnyPath) -> Iterator[zipfile.ZipFile]:
    """The archive; all that the block raises is told as damage of it."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except PermissionError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: damaged index ({reason}); copy or make it again") from error


def _read(content: Any, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(content)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = readers[version](content)
    if dtype.kind not in "biufU" or fortran or len(shape) != 1 or shape[0] < 0:
        raise ValueError(f"an array of {dtype} {shape}")
    left = size - content.tell()
    if math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"an array of {dtype} {shape} in {left} bytes")
    array = np.frombuffer(content.read(), dtype)
    if dtype.kind == "U":  # numpy finds out at the first use, with a SystemError
        characters = array.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if characters.size and characters.max() > sys.maxunicode:
            raise ValueError("a text of no characters")
    return array
