"""What the pickles of torch files become: tensors, plain containers, inert objects.

A pickle is a program that names classes and functions to call. None of them is called here. This
file itself builds what torch's tensors and the plain containers need. It keeps objects of argparse,
omegaconf, fairseq and a few others as `Inert` values with their stored state, and refuses any other
name, such as os.system. `torch_machine` follows the program.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from w2v2_jax.errors import InputError

DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
# Packages whose objects may stand in a file; none of them is imported, none of their code runs.
INERT = {
    "argparse", "omegaconf", "fairseq", "examples", "torch", "numpy", "typing", "enum", "copyreg",
    "collections", "datetime", "pathlib", "_codecs", "_operator", "operator",
}  # fmt: skip
MOST_VALUES = 10**5


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

    __slots__ = ("args", "state", "where")

    def __init__(self, where: str, args: Iterable[Any]):
        self.where, self.args, self.state = where, list(args), None

    def __call__(self, *args):
        return Inert(self.where, args)

    def __setitem__(self, key, value):
        if not isinstance(self.state, dict):
            self.state = {}
        self.state[key] = value

    def append(self, value):
        self.args.append(value)

    def extend(self, values):
        self.args.extend(values)


class Name:
    """The value of a global of a pickle: calling it builds a value; it can do nothing else."""

    __slots__ = ("build", "where")

    def __init__(self, where: str, build: Callable):
        self.where, self.build = where, build

    def __call__(self, *args):
        return self.build(*args)


class Bag(dict):
    """Any of the dict classes: entries alone, no factory and no attributes."""

    def __init__(self, *args):
        super().__init__(_checked(args[0]) if args and isinstance(args[0], (dict, list)) else ())


KEYS = (str, bytes, int, float, bool, type(None), Inert, Name, np.dtype)


def _checked(entries: dict | list) -> dict:
    """Entries or a list of pairs as a dict."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    return {key_of(key): value for key, value in pairs}


def key_of(value: Any) -> Any:
    """A key or member that is cheap to hash: tuples that hold the same tuple twice, forty deep,
    would take a trillion steps."""
    flat = isinstance(value, tuple) and len(value) < 100 and all(type(x) in KEYS for x in value)
    if not flat and type(value) not in KEYS:
        raise ValueError(f"a {type(value).__name__} as a key")
    return value


def _scalar(kind: type) -> Callable:
    """The conversion of one plain value. Containers are refused, because their conversion could
    take forever, and so are numbers for bytes: bytes(n) would be n zeros."""

    def convert(*args):
        value = args[0] if args else kind()
        if type(value) not in (str, bytes, bytearray, int, float, bool):
            raise ValueError(f"{kind.__name__} of a {type(value).__name__}")
        if kind in (bytes, bytearray):
            return kind(value, "latin-1") if isinstance(value, str) else kind(memoryview(value))
        return str(value, "utf-8") if (kind, type(value)) == (str, bytes) else kind(value)

    return convert


def _sequence(kind: type) -> Callable:
    return lambda values=(), *_: kind(_plain_sequence(values))


def _members(kind: type) -> Callable:
    return lambda values=(), *_: kind(key_of(x) for x in _plain_sequence(values))


def _plain_sequence(values: Any) -> Any:
    if type(values) not in (list, tuple, set, frozenset):
        raise ValueError(f"a sequence of a {type(values).__name__}")
    return values


def _tensor(storage: Storage, offset, shape, strides, *_) -> Tensor:
    """torch._utils._rebuild_tensor_v2, checked against its storage."""
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor whose offset, shape and strides in its storage are no numbers")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and (last >= storage.size or math.prod(shape) > storage.size):
        raise ValueError(f"a tensor of shape {list(shape)} reaches outside its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


BUILTINS: dict[str, Callable] = {
    "set": _members(set),
    "frozenset": _members(frozenset),
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "dict": Bag,
    "str": _scalar(str),
    "int": _scalar(int),
    "long": _scalar(int),
    "float": _scalar(float),
    "bool": _scalar(bool),
    "bytes": _scalar(bytes),
    "bytearray": _scalar(bytearray),
    "complex": lambda *parts: parts,
    "slice": lambda *parts: parts,
    "object": lambda *_: Inert("object", ()),
}
BUILDERS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": lambda build, kind, args, state: _again(build, args),
    "torch.Size": _sequence(tuple),
    "torch.serialization._get_layout": lambda *_: None,
    "_codecs.encode": _scalar(bytes),  # how protocol 2 writes bytes
    "collections.OrderedDict": Bag,
    "collections.defaultdict": lambda *_: Bag(),  # its argument is the factory
    "collections.Counter": Bag,
}


def find(module: str, name: str) -> Any:
    """The value that stands for a global of a pickle; InputError names one that is not read."""
    full, package = f"{module}.{name}", module.split(".")[0]
    if package == "torch" and name in DTYPES:
        return np.dtype(DTYPES[name])
    if full in BUILDERS:
        return Name(full, BUILDERS[full])
    if module in ("builtins", "__builtin__") and name in BUILTINS:
        return Name(full, BUILTINS[name])
    if package in INERT:
        return Name(full, lambda *args: Inert(full, args))
    raise InputError(f"its pickle names {full}; only tensors and plain containers are read")


def _again(build: Any, args: Any) -> Any:
    """Builds the tensor inside a tensor subclass."""
    if not isinstance(build, Name) or build.build is not _tensor:
        raise ValueError("a tensor that is built from something else")
    return call(build, args)


def call(build: Any, args: Any) -> Any:
    """The value that a global or an inert object builds from arguments; nothing else is called."""
    if not isinstance(build, (Name, Inert)) or not isinstance(args, tuple):
        raise ValueError(f"a call of a {type(build).__name__}")
    return build(*args)


def plain(value: Any) -> Any:
    """Settings without classes: a Namespace or an omegaconf node becomes dict, list, scalar.

    Raises ValueError if they unfold to more than MOST_VALUES: shared parts stand once in a
    pickle and once for each use here.
    """
    return _plain(value, itertools.count())


def _plain(value: Any, seen: Iterator[int]) -> Any:
    if next(seen) > MOST_VALUES:
        raise ValueError(f"its settings unfold to more than {MOST_VALUES} values")
    if isinstance(value, Inert):
        state: dict = value.state if isinstance(value.state, dict) else {}
        if "_content" in state:
            return _plain(state["_content"], seen)
        if "_val" in state:
            return _plain(state["_val"], seen)
        if value.state is None:
            return _plain(value.args[0], seen) if len(value.args) == 1 else None
        return _plain(state, seen)
    if isinstance(value, Mapping):
        return {key: _plain(x, seen) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(x, seen) for x in value]
    return value
