"""Reads what torch.save wrote, in both of its file formats, with only numpy.

A torch file is a pickle (see torch_machine) with raw storages. The formats are the zip archive of
torch >= 1.6 (data.pkl and one record per storage), and the older sequence of pickles followed by
the storages, as in fairseq's files of 2020. A storage is read only when its tensor is used, so an
optimizer state takes no time.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_not_plain
from w2v2_jax.interop.torch_machine import Unpickler
from w2v2_jax.interop.torch_pickle import Storage, Tensor
from w2v2_jax.paths import POINTER, is_pointer

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
DAMAGE = (
    OSError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError,
    NotImplementedError, RecursionError, MemoryError, OverflowError, struct.error,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


class TorchFile(NamedTuple):
    """value: what was saved, with Tensor where a tensor was; record: other records of the zip."""

    path: Path
    value: Any
    load: Callable[[Storage], np.ndarray]
    record: Callable[[str], bytes | None]

    def arrays(self, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The tensors of a state dict as arrays; what is not a tensor is left out."""
        with damage(self.path):
            by_name = {k: x for k, x in tensors.items() if isinstance(x, Tensor) and type(k) is str}
            # Many tensors may lie in one storage: it is read once.
            data = {x.storage: self.load(x.storage) for x in by_name.values()}
            return {k: self._view(x, data[x.storage]) for k, x in by_name.items()}

    def _view(self, tensor: Tensor, data: np.ndarray) -> np.ndarray:
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, data.dtype)
        bytes_apart = [step * data.itemsize for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(
            data[tensor.offset :], tensor.shape, bytes_apart, writeable=False
        )


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turns any exception that a broken file causes into an InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not a whole torch file: {reason}") from error


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[TorchFile]:
    """Opens a torch file; InputError that names it when it is damaged or something else."""
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with damage(path):
            if reason := why_not_plain(path):
                raise InputError(reason)
            file = stack.enter_context(open(path, "rb"))
            start = file.read(len(LEGACY_MAGIC))
            if start[:4] == b"PK\x03\x04":
                content = _archive(path, stack.enter_context(zipfile.ZipFile(path)))
            elif start == LEGACY_MAGIC:
                content = _legacy(path, file)
            else:
                pointer = is_pointer(start + file.read(64))
                raise InputError(POINTER if pointer else "not a torch file")
        yield content


def _bytes_to_array(data: bytes, storage: Storage) -> np.ndarray:
    if len(data) < storage.size * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} is cut short")
    return np.frombuffer(data, storage.dtype, storage.size)


def _archive(path: Path, archive: zipfile.ZipFile) -> TorchFile:
    """The zip format: <name>/data.pkl, <name>/data/<key>, all under one folder."""
    _refuse_bombs(path, archive)
    names = archive.namelist()
    folder = next((n.removesuffix("data.pkl") for n in names if n.endswith("/data.pkl")), None)
    if folder is None:
        raise InputError("a zip archive, but not one that torch.save wrote")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise InputError("written on a big-endian machine, which is not read")

    def record(name: str) -> bytes | None:
        return archive.read(folder + name) if folder + name in names else None

    def load(storage: Storage) -> np.ndarray:
        return _bytes_to_array(archive.read(f"{folder}data/{storage.key}"), storage)

    with archive.open(f"{folder}data.pkl") as pickled:
        value = Unpickler(pickled).load()
    return TorchFile(path, value, load, record)


def _refuse_bombs(path: Path, archive: zipfile.ZipFile) -> None:
    """torch.save stores its records one after the other: none is compressed, none shared."""
    records = archive.infolist()
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise InputError(f"its record {record.filename!r} is compressed; torch.save's are not")
    if sum(record.file_size for record in records) > path.stat().st_size:
        raise InputError("its records overlap")


def _legacy(path: Path, file) -> TorchFile:
    """The old format: pickles (version, machine, value, keys), then each storage with its size."""
    Unpickler(file).load()
    Unpickler(file).load()
    reader = Unpickler(file)
    value, storages = reader.load(), reader.storages
    places, whole = {}, path.stat().st_size
    for key in Unpickler(file).load():
        storage = storages[str(key)]
        (size,) = struct.unpack("<q", file.read(8))
        if size != storage.size:
            raise ValueError(f"storage {key} has {size} numbers, not {storage.size}")
        if size * storage.dtype.itemsize > whole - file.tell():
            raise ValueError(f"storage {key} is cut short")
        places[storage.key] = file.tell()
        file.seek(size * storage.dtype.itemsize, 1)

    def load(storage: Storage) -> np.ndarray:
        file.seek(places[storage.key])
        return _bytes_to_array(file.read(storage.size * storage.dtype.itemsize), storage)

    return TorchFile(path, value, load, lambda name: None)
