"""Pickles of torch files without running them: tensors, plain containers, inert objects.

A pickle is a program that names classes and functions to call. This reader finds none of them: it
builds what torch's tensors and the plain containers need itself, keeps objects of argparse,
omegaconf, fairseq and a few others as `Inert` values that hold what was stored about them, and
refuses every other name (os.system, say).
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Mapping
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


class Unpickler(pickle.Unpickler):
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
