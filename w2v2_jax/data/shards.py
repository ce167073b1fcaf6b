"""The files of a prepared corpus that hold its samples, plain or FLAC."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.flac_shard import CutShort, open_flac_shard
from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, is_remote, size_of


def shard_name(k: int) -> str:
    return f"shard-{k:05d}.i16"


def flac_name(k: int) -> str:
    return f"shard-{k:05d}.flac"


def open_shard(directory: AnyPath, k: int, *, codec: str | None) -> Any:
    """Shard k of a split: slices of it are int16 samples. Raises InputError that names the file."""
    if codec == "flac":
        return open_flac_shard(directory / flac_name(k))
    path = directory / shard_name(k)
    if is_remote(path):
        return RemoteShard(path)
    try:
        return np.memmap(path, dtype="<i2", mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot map the samples: {error}") from error


def check_shard(directory: AnyPath, k: int, *, codec: str | None, samples: int) -> None:
    """InputError that names a shard that is gone, or has fewer than so many samples by its size."""
    path = directory / shard_name(k)
    if codec == "flac":
        path = directory / flac_name(k)
        there = open_flac_shard(path).samples
    else:
        try:
            there = size_of(path) // 2
        except OSError as error:
            raise InputError(f"{path}: cannot read the samples: {error}") from error
    if there < samples:
        raise CutShort(f"{path}: {there} of {samples} samples; copy or prepare it again")


class RemoteShard(NamedTuple):
    """A shard in an object store: a slice of it is one ranged read."""

    path: AnyPath

    def __getitem__(self, part: slice) -> np.ndarray:  # type: ignore[override]
        with self.path.open("rb") as file:
            file.seek(2 * part.start)
            return np.frombuffer(file.read(2 * (part.stop - part.start)), "<i2")
