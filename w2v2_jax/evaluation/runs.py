"""The metrics that a run logged: WORKDIR/metrics.jsonl, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import is_number


class Run(NamedTuple):
    """One workdir and its records, each with step, split and metrics."""

    workdir: Path
    records: list[dict[str, Any]]


def read_run(workdir: Path) -> Run:
    """Reads WORKDIR/metrics.jsonl; a last line cut off by a killed run is left out."""
    path = workdir / "metrics.jsonl"
    records = []
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a training workdir") from error
    for number, line in enumerate(lines, 1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise InputError(f"{path} line {number} is not a record: {error}") from error
    if not records:
        raise InputError(f"{path} has no records: train first")
    return Run(workdir, records)


def _record(value: Any) -> dict[str, Any]:
    """A logged line: step, split and numbers, or an alarm, whose fields are texts; ValueError for
    anything else."""
    if not (isinstance(value, dict) and {"step", "split"} <= value.keys()):
        raise ValueError("no step or no split")
    alarm = value["split"] == "health"
    for name, figure in value.items():
        number = is_number(figure)
        if name == "split":
            number = isinstance(figure, str)
        elif alarm and name != "step":
            number = number or isinstance(figure, str)
        elif name == "step":
            number = number and 0 <= figure < 2**53
        if not number and not (figure is None and name not in ("step", "split")):
            raise ValueError(f"{name}={str(figure)[:40]!r}")
    return value


def series(run: Run, split: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric where it was a number, empty if the run has none."""
    rows = [r for r in run.records if r.get("split") == split and r.get(metric) is not None]
    return np.array([r["step"] for r in rows]), np.array([r[metric] for r in rows], float)
