"""Writes a file that torch.load opens, with numpy alone: plain containers, arrays, inert objects.

The format is torch's zip archive: `archive/data.pkl`, a pickle that names each storage, and one
aligned, uncompressed record per storage. The pickle is emitted here (a few opcodes of protocol 2),
because Python's pickler only names classes that it can import.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
ALIGNMENT = 64
FOLDER = "archive"


class Instance(NamedTuple):
    """An object of the reader's class `module.name` (without arguments) with its attributes."""

    module: str
    name: str
    state: dict[str, Any]


def save(value: Any, path: str | Path, *, records: Mapping[str, bytes] | None = None) -> None:
    """Writes `value` (dicts, lists, tuples, scalars, numpy arrays, Instance) for torch.load.

    records: further records by name, which torch.load ignores. The bytes depend on the content
    alone. Raises TypeError for a value of another type.
    """
    arrays: list[np.ndarray] = []
    pickled = b"\x80\x02" + _emit(value, arrays) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _record(archive, "data.pkl", pickled)
        _record(archive, "byteorder", b"little")
        for key, array in enumerate(arrays):
            _record(archive, f"data/{key}", np.ascontiguousarray(array).tobytes())
        for name, content in (records or {}).items():
            _record(archive, name, content)
        _record(archive, "version", b"3\n")


def _record(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """One stored record whose content starts at a multiple of 64 bytes, as torch's do."""
    info = zipfile.ZipInfo(f"{FOLDER}/{name}")  # its date is 1980, whenever it is written
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(info.filename.encode()) + 4
    padding = -start % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, content)


def _emit(value: Any, arrays: list[np.ndarray]) -> bytes:
    """The opcodes that leave `value` on the reader's stack."""
    if value is None:
        return b"N"
    if isinstance(value, (bool, np.bool_)):
        return b"\x88" if value else b"\x89"
    if isinstance(value, (int, np.integer)):
        return _integer(int(value))
    if isinstance(value, (float, np.floating)):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode("utf-8")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, np.ndarray):
        return _tensor(value, arrays)
    if isinstance(value, Instance):
        return _global(value.module, value.name) + b")R" + _emit(value.state, arrays) + b"b"
    if isinstance(value, Mapping):
        items = b"".join(_emit(k, arrays) + _emit(x, arrays) for k, x in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(_emit(x, arrays) for x in value) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(_emit(x, arrays) for x in value) + b"t"
    raise TypeError(f"torch files hold no {type(value).__name__} here")


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _global(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _tensor(array: np.ndarray, arrays: list[np.ndarray]) -> bytes:
    """A call of torch._utils._rebuild_tensor_v2 on a storage of its own."""
    key, kind = str(len(arrays)), STORAGES[array.dtype.name]
    arrays.append(array)
    strides = [int(np.prod(array.shape[i + 1 :], dtype=np.int64)) for i in range(array.ndim)]
    storage = b"(" + _emit("storage", arrays) + _global("torch", kind)
    storage += b"".join(_emit(x, arrays) for x in (key, "cpu", array.size)) + b"tQ"
    hooks = _global("collections", "OrderedDict") + b")R"
    rest = (0, tuple(array.shape), tuple(strides), False)
    arguments = b"(" + storage + b"".join(_emit(x, arrays) for x in rest) + hooks + b"t"
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"
