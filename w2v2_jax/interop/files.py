"""Reading tensor files safely, and what a conversion prints."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_not_plain
from w2v2_jax.interop import torch_read
from w2v2_jax.paths import POINTER, is_pointer


class Imported(NamedTuple):
    """What was read: the checkpoint, names that were used and not used, and notes to print.

    head_rows: the row of the file's CTC head behind each symbol (None: no such row), if the file
    may have another order than the vocabulary; else None."""

    loaded: Loaded
    matched: list[str]
    left: list[str]
    notes: list[str]
    head_rows: tuple[int | None, ...] | None = None


class Exported(NamedTuple):
    """The result of an export: parameters that the other format cannot store, notes to print."""

    left: list[str]
    notes: list[str]


# Exceptions that unexpected values in a foreign file can cause in code that reads them.
ODD = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    OSError,
)


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turns an exception that unexpected values in the files at `path` cause into an InputError."""
    try:
        yield
    except InputError:
        raise
    except ODD as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise InputError(f"{path}: contains something that cannot be read: {reason}") from error


def left_over(tensors: Iterable[str], used: Iterable[str], *, where: str | Path) -> list[str]:
    """The names of a file's tensors that were not used. InputError if one is of a layer like those
    that were, or the bias of one: the configuration is not that of the weights."""
    used = set(used)
    left = sorted(set(tensors) - used)
    layers = {_any_layer(name) for name in used if _any_layer(name) != name}
    for name in left:
        stem, _, kind = name.rpartition(".")
        if _any_layer(name) in layers or (kind == "bias" and f"{stem}.weight" in used):
            raise InputError(
                f"{where}: the weights have {name}, for which the configuration has no place; it "
                "is not theirs, or was edited"
            )
    return left


def _any_layer(name: str) -> str:
    """A tensor's name with # for every number."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", name)


# Names that wrappers around a module leave in the names of its tensors.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
OUTER = "module."  # DataParallel's, before every name


def unwrapped(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors under the names of the module itself, if torch.compile, FSDP, checkpointing or
    DataParallel wrapped it when it was saved."""
    plain = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): x
        for name, x in tensors.items()
    }
    while plain and all(name.startswith(OUTER) for name in plain):
        plain = {name.removeprefix(OUTER): x for name, x in plain.items()}
    return plain


def present(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a JSON file that have a value: null there means the default."""
    return {name: value for name, value in settings.items() if value is not None}


def switch(settings: Mapping[str, Any], name: str, default: bool, *, where: str) -> bool:
    """A setting that is true or false. Raises InputError for other values, because Python would
    take the text "false" for true."""
    value = settings.get(name, default)
    if value not in (False, True):  # 0 and 1 are equal to them
        raise InputError(f"{where}: {name}={value!r} must be true or false")
    return bool(value)


def plain_name(name: Any, where: Path) -> str:
    """A file's name inside the folder of `where`; InputError for a path that may lead elsewhere."""
    if not isinstance(name, str) or Path(name).name != name or name == "..":
        raise InputError(f"{where}: {name!r} is not the name of a file beside it")
    return name


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """One safetensors file -> {name: array} and its metadata; InputError when it is damaged."""
    if unfit := why_not_plain(path):
        raise InputError(f"{path}: {unfit}")
    try:
        with open(path, "rb") as content:
            if is_pointer(content.read(64)):
                raise InputError(f"{path}: {POINTER}")
        with safe_open(path, framework="numpy") as file:
            plain = _float32_tensors(path)
            tensors = {
                name: _read_plain(path, *plain[name]) if name in plain else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118
            }
            return tensors, file.metadata() or {}
    except InputError:
        raise
    except AttributeError as error:  # numpy has no such type
        raise InputError(
            f"{path}: a tensor's type is not read ({error}); give a copy in floating point"
        ) from error
    except (OSError, SafetensorError, ValueError, TypeError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a whole safetensors file: {reason}") from error


def _float32_tensors(path: Path) -> dict[str, tuple[list[int], int]]:
    """{name: (shape, offset in the file)} of a safetensors file's float32 tensors."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        name: (entry["shape"], 8 + size + entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def _read_plain(path: Path, shape: list[int], offset: int) -> np.ndarray:
    """Reads rather than maps: mapped pages would stay in memory beside the copy."""
    return np.fromfile(path, "<f4", math.prod(shape), offset=offset).reshape(shape)


def read_bin(path: Path) -> dict[str, np.ndarray]:
    """One state dict that torch saved -> {name: array}; InputError when it is damaged."""
    with torch_read.opened(path) as file:
        if not isinstance(file.value, Mapping):
            raise InputError(f"{path}: holds no state dict")
        return file.arrays(file.value)


def epsilon_notes(description: Description, program: str, theirs: float) -> list[str]:
    """What follows where a program normalises waveforms with another epsilon, which its format
    cannot store."""
    if not description.normalise or description.normalise_epsilon == theirs:
        return []
    return [
        f"{program} adds {theirs:g} to a waveform's variance, this checkpoint "
        f"{description.normalise_epsilon:g}: speech of usual loudness needs nothing; recordings "
        "below an RMS of about 0.03 give slightly different outputs there, so make them louder, "
        f"or train with --config.data.normalise_epsilon={theirs:g} (docs/parity.md)"
    ]


def print_check(matched: str, left: list[str], notes: list[str]) -> None:
    """Prints the check at the end of a conversion: what matched, what is left over, and notes."""
    print(f"{matched} matched, {len(left)} left over" + (f": {', '.join(left)}" if left else ""))
    for note in notes:
        print(f"note: {note}")


def print_written(out: Path) -> None:
    """Prints what a conversion wrote, with the files of a folder."""
    files = sorted(path for path in out.iterdir() if path.is_file()) if out.is_dir() else [out]
    print(
        f"wrote {out}" + (f": {', '.join(f.name for f in files)}" if out.is_dir() and files else "")
    )
