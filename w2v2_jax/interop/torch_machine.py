"""Follows the pickles of torch files, step by step, without running them.

Nothing is imported, nothing is called except what `torch_pickle` builds, and the size of what is
built is in proportion to the file.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import IO, Any, ClassVar

import numpy as np

from w2v2_jax.interop.torch_pickle import Bag, Inert, Storage, call, find, key_of

MOST_BYTES = 32 << 20  # of a pickle; a network of 2 billion parameters needs less than one MiB


class _Window:
    """A file of which a pickle may read so many bytes and no more."""

    def __init__(self, file: IO[bytes]):
        self._file, self._left = file, MOST_BYTES

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"a pickle of more than {MOST_BYTES >> 20} MiB")
        return data


class Unpickler(pickle._Unpickler):
    """Knows only the names above, and calls only what builds their values.

    It uses Python's own reader and not the compiled one, because its steps can be replaced. The
    compiled one hashes any key, sets any attribute, and allocates memory for any memo number.
    """

    # Attributes that Python's unpickler has but its type stubs omit.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes]):
        # The files of Python 2 contain only text.
        super().__init__(_Window(file), encoding="utf-8")
        self.storages: dict[str, Storage] = {}
        self._copied = 0

    def call(self, build: Any, args: Any) -> Any:
        """Builds a value. A limit on copies keeps a small file from filling the memory."""
        sizes = (len(part) for part in (args, *args) if hasattr(part, "__len__"))
        self._copied += sum(sizes)
        if self._copied > MOST_BYTES:
            raise ValueError("a pickle that copies its parts without end")
        return call(build, args)

    def find_class(self, module: str, name: str):
        return find(module, name)

    def persistent_load(self, pid):
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"a storage of a kind that is not read: {pid[:2]}")
        if type(key) not in (str, int) or type(size) is not int or size < 0:
            raise ValueError("a storage without a name or size")
        storage = Storage(str(key), dtype, size)
        self.storages[storage.key] = storage
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("views of storages are not read; save the file again with new torch")
        return storage


def _reduce(self: Unpickler) -> None:
    args = self.stack.pop()
    self.stack[-1] = self.call(self.stack[-1], args)


def _new_object(self: Unpickler) -> None:
    args = self.stack.pop()
    self.append(self.call(self.stack.pop(), args))


def _new_object_with_names(self: Unpickler) -> None:
    named = self.stack.pop()
    _new_object(self)
    if isinstance(self.stack[-1], Inert):
        self.stack[-1].state = named


def _build(self: Unpickler) -> None:
    state = self.stack.pop()
    if isinstance(self.stack[-1], Inert):
        self.stack[-1].state = state
    elif not isinstance(self.stack[-1], Bag):  # whose attributes nobody needs
        raise ValueError(f"a state for a {type(self.stack[-1]).__name__}")


def _set_item(self: Unpickler) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    _fill(self.stack[-1], [key, value])


def _set_items(self: Unpickler) -> None:
    items = self.pop_mark()
    _fill(self.stack[-1], items)


def _fill(target: Any, items: list) -> None:
    if not isinstance(target, (dict, Inert)):
        raise ValueError(f"entries for a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[key_of(key)] = value


def _dict(self: Unpickler) -> None:
    items, made = self.pop_mark(), dict[Any, Any]()
    _fill(made, items)
    self.append(made)


def _append(self: Unpickler) -> None:
    value = self.stack.pop()
    _extend(self.stack[-1], [value])


def _appends(self: Unpickler) -> None:
    values = self.pop_mark()
    _extend(self.stack[-1], values)


def _extend(target: Any, values: list) -> None:
    if not isinstance(target, (list, Inert)):
        raise ValueError(f"members for a {type(target).__name__}")
    target.extend(values)


def _add_items(self: Unpickler) -> None:
    items = self.pop_mark()
    if not isinstance(self.stack[-1], set):
        raise ValueError(f"members for a {type(self.stack[-1]).__name__}")
    self.stack[-1].update(key_of(item) for item in items)


def _frozen_set(self: Unpickler) -> None:
    items = self.pop_mark()
    self.append(frozenset(key_of(item) for item in items))


def _instance(self: Unpickler) -> None:  # of a class named in the stream
    module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
    args = tuple(self.pop_mark())
    self.append(self.call(self.find_class(module, name), args))


def _object(self: Unpickler) -> None:  # of a class on the stack
    kind, *args = self.pop_mark()
    self.append(self.call(kind, tuple(args)))


def _byte_array(self: Unpickler) -> None:  # pickle's own sets memory aside before it reads
    self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))


def _refused(self: Unpickler) -> None:
    raise ValueError("an opcode that torch does not write")


for _opcode, _step in {
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _new_object,
    pickle.NEWOBJ_EX: _new_object_with_names,
    pickle.BUILD: _build,
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: _set_items,
    pickle.DICT: _dict,
    pickle.APPEND: _append,
    pickle.APPENDS: _appends,
    pickle.ADDITEMS: _add_items,
    pickle.FROZENSET: _frozen_set,
    pickle.INST: _instance,
    pickle.OBJ: _object,
    pickle.EXT1: _refused,
    pickle.EXT2: _refused,
    pickle.EXT4: _refused,
    pickle.NEXT_BUFFER: _refused,
    pickle.READONLY_BUFFER: _refused,
    pickle.BYTEARRAY8: _byte_array,
}.items():
    Unpickler.dispatch[_opcode[0]] = _step
