"""The record of the run that a checkpoint is of: run.json, which `train/run_record.py` writes."""

from __future__ import annotations

from typing import Any

from w2v2_jax.paths import AnyPath, read_json

FILE = "run.json"


def record_of(path: AnyPath) -> dict[str, Any]:
    """run.json of the run that a step's folder belongs to; empty where there is none."""
    for place in (path, *list(path.parents)[:2]):
        if (place / FILE).is_file():
            return read_json(place / FILE)
    return {}
