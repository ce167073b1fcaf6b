"""What the report is made of: the runs and evaluations of one comparison, and one clip's codes."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.runs import Run

# What numpy raises for a file that is no whole archive of arrays.
NO_ARRAYS = (
    OSError, EOFError, KeyError, TypeError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Units(NamedTuple):
    """One clip with its mask, and how often each codebook entry was chosen."""

    waveform: np.ndarray  # [S]
    mask: np.ndarray  # [T] bool
    code_counts: np.ndarray  # [G, V]


class Results(NamedTuple):
    """Everything the table and the figure are made of."""

    pretrain: Run
    scratch: Run
    finetuned: Run
    scratch_eval: dict[str, Any]
    finetuned_eval: dict[str, Any]
    units: Units | None
    num_negatives: int
    num_codes: int
    lm_evals: tuple[dict[str, Any], ...] | None = None  # the same two, with a model


def read_units(path: Path) -> Units:
    """Reads an npz with waveform [S], mask [T] and code_counts [G, V]."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # TypeError: one array alone
            units = Units(*(np.asarray(arrays[name]) for name in Units._fields))
        ranks = tuple(x.ndim if x.size and x.dtype.kind in "biuf" else 0 for x in units)
        if ranks != (1, 1, 2):
            raise ValueError("arrays of another shape or type")
    except NO_ARRAYS as error:
        raise InputError(f"{path}: {error}; needs {', '.join(Units._fields)}") from error
    return units
