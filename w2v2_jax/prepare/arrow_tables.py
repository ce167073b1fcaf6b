"""Parquet and arrow files as tables whose audio is read row by row (pyarrow, an extra)."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from w2v2_jax.errors import InputError, lacking

BATCH = 1024  # rows
PATH = "path"  # the field of a row's audio, and what `each_row` calls it


def import_pyarrow(place: str):
    """The pyarrow module; InputError when it is not installed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        needed = f"{place}: parquet and arrow are read by pyarrow"
        raise InputError(lacking(error, needed, 'pip install "w2v2_jax[parquet]"')) from error
    return pyarrow


@contextlib.contextmanager
def _errors_of(path: str) -> Iterator[None]:
    pyarrow = import_pyarrow(path)
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: cannot be read as a table: {said}") from error


def open_table(path: str) -> ParquetTable | ArrowTable:
    """The table in a file, open until another one is asked for; InputError for damage."""
    return _open(path, os.stat(path).st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open(path: str, changed: int) -> ParquetTable | ArrowTable:
    del changed  # a file that was written again is opened anew
    with _errors_of(path):
        return ParquetTable(path) if path.endswith(".parquet") else ArrowTable(path)


class ParquetTable:
    """schema: of its columns. A group of rows is in memory at a time."""

    def __init__(self, path: str):
        self._path = path
        self._file = import_pyarrow(path).parquet.ParquetFile(path)
        self.schema = self._file.schema_arrow
        groups = range(self._file.num_row_groups)
        counts = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._ends = np.cumsum([0, *counts])
        self._read: tuple[int, str, Any] = (-1, "", None)

    def cell(self, number: int, column: str) -> Any:
        """The value of a row, numbered from 0, as Python has it."""
        group = int(np.searchsorted(self._ends, number, side="right")) - 1
        if self._read[:2] != (group, column):
            with _errors_of(self._path):
                read = self._file.read_row_group(group, columns=[column]).column(0)
            self._read = (group, column, read)
        return self._read[2][number - int(self._ends[group])].as_py()

    def each_row(self, names: list[str], *, path_of: str | None) -> Iterator[dict[str, Any]]:
        """Rows of these columns; `path` is the path in the column of audio `path_of`."""
        nested = [f"{path_of}.{PATH}"] if path_of else []
        with _errors_of(self._path):
            for batch in self._file.iter_batches(BATCH, columns=[*names, *nested]):
                yield from _rows(batch, path_of)


class ArrowTable:
    """The same of an arrow file, which is mapped."""

    def __init__(self, path: str):
        self._path, pyarrow = path, import_pyarrow(path)
        mapped = pyarrow.memory_map(path)
        try:
            self._table = pyarrow.ipc.open_stream(mapped).read_all()
        except pyarrow.ArrowInvalid:
            mapped.seek(0)
            self._table = pyarrow.ipc.open_file(mapped).read_all()
        self.schema = self._table.schema

    def cell(self, number: int, column: str) -> Any:
        return self._table.column(column)[number].as_py()

    def each_row(self, names: list[str], *, path_of: str | None) -> Iterator[dict[str, Any]]:
        pyarrow = import_pyarrow(self._path)
        chosen = self._table.select([*names, *([path_of] if path_of else [])])
        for batch in chosen.to_batches(BATCH):
            if path_of:
                place = batch.schema.get_field_index(path_of)
                paths = pyarrow.compute.struct_field(batch.column(place), PATH)
                batch = batch.set_column(
                    place, path_of, pyarrow.StructArray.from_arrays([paths], [PATH])
                )
            yield from _rows(batch, path_of)


def _rows(batch: Any, path_of: str | None) -> Iterator[dict[str, Any]]:
    for row in batch.to_pylist():
        audio = row.pop(path_of, None) if path_of else None
        yield row | {PATH: (audio or {}).get(PATH)}
