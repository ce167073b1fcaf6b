"""Configurations that version 0.1 left in a workdir, as today's record of a run has them."""

from __future__ import annotations

import dataclasses
from typing import Any

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import EXECUTION_OF_FORMAT_1
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import is_number
from w2v2_jax.experiment.settings import INHERIT
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.diversity import group_rows
from w2v2_jax.paths import AnyPath, read_json

TABLES = ("model", "execution", "objective", "schedule", "optimizer", "data", "train")


def without_record(path: AnyPath) -> dict[str, Any]:
    """The configuration in a config.json of version 0.1, whose section model had the settings that
    are now in execution; a network inherited from a checkpoint had those of the checkpoint."""
    config = read_json(path)
    if not all(isinstance(config.get(name) or {}, dict) for name in TABLES):
        raise InputError(f"{path}: no configuration of a run")
    model, execution = (dict(config.get(name) or {}) for name in ("model", "execution"))
    once = {name: model.pop(name) for name in EXECUTION_OF_FORMAT_1 if name in model}
    inherits = model.get("family") == INHERIT and "execution" not in config
    defaults = {} if inherits else dataclasses.asdict(Execution())
    return {**config, "model": model, "execution": {**defaults, **once, **execution}}


def in_rows(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the number of rows of a diversity group in each bucket, which was a
    setting in version 0.1, instead of its seconds, and with the shortest crop as least length."""
    sections = [config.get(name) or {} for name in ("objective", "data")]
    if not all(isinstance(section, dict) for section in sections):
        return config
    objective, data = map(dict, sections)
    stored = data.get("bucket_seconds") or ()
    if not (isinstance(stored, (list, tuple)) and stored and all(map(is_duration, stored))):
        return config
    lengths = sorted(stored)
    rows = [objective.pop("diversity_group_rows", None)] * len(lengths)
    seconds = objective.pop("diversity_group_seconds", None)
    if is_duration(seconds):
        rows = [group_rows(seconds, round(length * SAMPLE_RATE)) for length in lengths]
    if data.get("mode") == "crop" and is_duration(data.get("min_seconds", 0)):
        data["min_seconds"] = max(data.get("min_seconds", 0), lengths[0])
    return {**config, "objective": {**objective, "rows of a diversity group": rows}, "data": data}


def is_duration(value: Any) -> bool:
    """Seconds; old records were not checked when they were written."""
    return is_number(value) and value >= 0
