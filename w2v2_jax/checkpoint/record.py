"""The record of the run that a checkpoint is of: run.json, which `train/run_record.py` writes."""

from __future__ import annotations

from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, read_json

FILE = "run.json"


def read_record(path: AnyPath) -> dict[str, Any]:
    """The content of a run.json; InputError if it lacks the objects that are compared when a run
    resumes, or has starts to which none can be added."""
    content = read_json(path)
    facts, starts = content.get("facts"), content.get("starts", [])
    tables = [facts]
    if isinstance(facts, dict):
        data = facts.get("data", {})
        tables += [facts.get("config"), data]
        if isinstance(data, dict):
            tables.append(data.get("train", {}))
    known = isinstance(starts, list) and all(isinstance(one, dict) for one in (*tables, *starts))
    if not known:
        raise InputError(f"{path}: no record of a run")
    return content


def record_of(path: AnyPath) -> dict[str, Any]:
    """run.json of the run that a step's folder belongs to; empty where there is none."""
    for place in (path, *list(path.parents)[:2]):
        if (place / FILE).is_file():
            return read_record(place / FILE)
    return {}
