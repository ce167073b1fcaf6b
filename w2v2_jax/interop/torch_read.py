"""Reads what torch.save wrote, both of its file formats, with numpy alone and without running it.

A torch file is a pickle beside raw storages. Pickles are programs; this reader executes none of
what they name. Tensors, dicts, lists, tuples and scalars are built; argparse's and omegaconf's
settings and fairseq's own objects become inert `Inert` values that hold what was stored about
them; every other name (os.system, say) is refused.

Formats read: the zip archive of torch >= 1.6 (data.pkl and one record a storage) and the older
sequence of pickles followed by the storages, in which fairseq's files of 2020 are. Storages are
read when a tensor is asked for, so that an optimizer state costs nothing.
"""

from __future__ import annotations

import collections
import contextlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from w2v2_jax.errors import InputError

DTYPES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32,
    "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}  # fmt: skip
# Packages whose objects may stand in a file; none of them is imported, none of their code runs.
INERT = {
    "argparse", "omegaconf", "fairseq", "examples", "torch", "numpy", "typing", "enum", "copyreg",
    "collections", "datetime", "pathlib", "_codecs", "_operator", "operator",
}  # fmt: skip
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
DAMAGE = (
    OSError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError,
    NotImplementedError, RecursionError, MemoryError, OverflowError, struct.error,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


class Storage(NamedTuple):
    """A run of `size` numbers under a key of the file."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A tensor that is not read yet: a strided view of a storage, in numbers (not bytes)."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """An object of a class that is not built: its class's name, arguments and stored state."""

    where = ""
    args: tuple = ()
    state: Any = None

    def __new__(cls, *args, **kwargs):
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        self.state = state

    def __call__(self, *args, **kwargs):
        return Inert(*args)

    def __setitem__(self, key, value):
        self.state = (self.state or {}) | {key: value}

    def append(self, value):
        self.args = (*self.args, value)

    def extend(self, values):
        self.args = (*self.args, *values)


class Bag(dict):
    """Any of the dict classes: entries alone, no factory and no attributes."""

    def __init__(self, *args):
        super().__init__(*(a for a in args[:1] if isinstance(a, (dict, list, tuple))))

    def __setstate__(self, state):
        pass


def _tensor(storage: Storage, offset, shape, strides, *_) -> Tensor:
    """torch._utils._rebuild_tensor_v2, checked against its storage."""
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min(numbers) < 0 or (0 not in shape and last >= storage.size):
        raise ValueError(f"a tensor of shape {list(shape)} reaches outside its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


BUILTINS = {
    "set": set, "frozenset": frozenset, "list": list, "dict": dict, "tuple": tuple, "str": str,
    "int": int, "float": float, "bool": bool, "complex": complex, "bytes": bytes,
    "bytearray": bytearray, "slice": slice, "long": int, "object": Inert,
}  # fmt: skip
BUILDERS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": lambda build, kind, args, state: build(*args),
    "torch.Size": tuple,
    "torch.serialization._get_layout": lambda *_: None,
    "collections.OrderedDict": Bag,
    "collections.defaultdict": Bag,
    "collections.Counter": Bag,
}


class _Unpickler(pickle.Unpickler):
    """Finds nothing but the names above."""

    def __init__(self, file):
        super().__init__(file, encoding="utf-8")  # the files of Python 2 hold text alone
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str):
        full, package = f"{module}.{name}", module.split(".")[0]
        if package == "torch" and name in DTYPES:
            return np.dtype(DTYPES[name])
        if full in BUILDERS:
            return BUILDERS[full]
        if module in ("builtins", "__builtin__") and name in BUILTINS:
            return BUILTINS[name]
        if package in INERT:
            return type(name, (Inert,), {"where": full})
        raise InputError(f"its pickle names {full}; only tensors and plain containers are read")

    def persistent_load(self, pid):
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"a storage of a kind that is not read: {pid[:2]}")
        storage = Storage(str(key), dtype, int(size))
        self.storages[storage.key] = storage
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("views of storages are not read; save the file again with new torch")
        return storage


class TorchFile(NamedTuple):
    """value: what was saved, with Tensor where a tensor was; record: other records of the zip."""

    path: Path
    value: Any
    load: Callable[[Storage], np.ndarray]
    record: Callable[[str], bytes | None]

    def arrays(self, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The tensors of a state dict as arrays; what is not a tensor is left out."""
        return {k: self.array(x) for k, x in tensors.items() if isinstance(x, Tensor)}

    def array(self, tensor: Tensor) -> np.ndarray:
        """Reads one tensor; InputError where its storage is damaged or absent."""
        with damage(self.path):
            data = self.load(tensor.storage)
            if 0 in tensor.shape:
                return np.zeros(tensor.shape, data.dtype)
            bytes_apart = [step * data.itemsize for step in tensor.strides]
            return np.lib.stride_tricks.as_strided(
                data[tensor.offset :], tensor.shape, bytes_apart, writeable=False
            )


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Whatever a broken file does to its reader becomes one InputError that names the file."""
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
            file = stack.enter_context(open(path, "rb"))
            start = file.read(len(LEGACY_MAGIC))
            if start[:4] == b"PK\x03\x04":
                found = _archive(path, stack.enter_context(zipfile.ZipFile(path)))
            elif start == LEGACY_MAGIC:
                found = _legacy(path, file)
            else:
                raise InputError("not a torch file")
        yield found


def _bytes_to_array(data: bytes, storage: Storage) -> np.ndarray:
    if len(data) < storage.size * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} is cut short")
    return np.frombuffer(data, storage.dtype, storage.size)


def _archive(path: Path, archive: zipfile.ZipFile) -> TorchFile:
    """The zip format: <name>/data.pkl, <name>/data/<key>, all under one folder."""
    names = set(archive.namelist())
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
        value = _Unpickler(pickled).load()
    return TorchFile(path, value, load, record)


def _legacy(path: Path, file) -> TorchFile:
    """The old format: pickles (version, machine, value, keys), then each storage with its size."""
    _Unpickler(file).load()
    _Unpickler(file).load()
    reader = _Unpickler(file)
    value, storages = reader.load(), reader.storages
    places = {}
    for key in _Unpickler(file).load():
        storage = storages[str(key)]
        (size,) = struct.unpack("<q", file.read(8))
        if size != storage.size:
            raise ValueError(f"storage {key} has {size} numbers, not {storage.size}")
        places[storage.key] = file.tell()
        file.seek(size * storage.dtype.itemsize, 1)

    def load(storage: Storage) -> np.ndarray:
        file.seek(places[storage.key])
        return _bytes_to_array(file.read(storage.size * storage.dtype.itemsize), storage)

    return TorchFile(path, value, load, lambda name: None)


def plain(value: Any) -> Any:
    """Settings without classes: a Namespace or an omegaconf node becomes dict, list, scalar."""
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        if "_content" in state:
            return plain(state["_content"])
        if "_val" in state:
            return plain(state["_val"])
        if value.state is None:
            return plain(value.args[0]) if len(value.args) == 1 else None
        return plain(state)
    if isinstance(value, Mapping):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple, collections.deque)):
        return [plain(x) for x in value]
    return value
