"""Curves of healthy runs, stored with the package, to compare a run with.

quickstart_*.json: three seeds of experiments/quickstart.py, on the sample speech, made by
`python -m w2v2_jax.report.make_curves`. base.json: published figures of BASE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "curves"
RECIPES = {  # the curves' name -> the recipe that their runs are of
    "quickstart_pretrain": "quickstart:pretrain",
    "quickstart_scratch": "quickstart:finetune",
    "quickstart_finetuned": "quickstart:finetune",
    "base": "pretrain_base",
}


class Reference(NamedTuple):
    """about: where the runs come from. config: the settings that decide the curves, by path.
    splits: split -> {"step": [N] updates, metric: [seeds, N], nan where a seed has none}."""

    name: str
    about: str
    config: dict[str, Any]
    splits: dict[str, dict[str, np.ndarray]]


def load(name: str) -> Reference:
    """The curves of one of RECIPES."""
    content = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    splits = {
        split: {metric: np.array(values, float) for metric, values in curves.items()}
        for split, curves in content["splits"].items()
    }
    return Reference(name, content["about"], content["config"], splits)


DECISIVE = (
    "objective.name",
    "model.family",
    "model.norm_order",
    "model.mask_length",
    "model.mask_start_prob",
    "objective.diversity_weight",
    "objective.diversity_group_seconds",
    "schedule.name",
    "schedule.peak",
    "data.mode",
    "data.bucket_seconds",
    "data.batch_seconds",
    "train.steps",
)


def decisive(config: dict) -> dict[str, Any]:
    """The settings that decide a run's curves, by path; those it does not name are left out."""
    values = {path: _setting(config, *path.split(".")) for path in DECISIVE}
    return {path: value for path, value in values.items() if value is not None}


SECTIONS = ("model", "objective", "schedule", "optimizer", "vocabulary", "data")
BESIDE = ("train.steps", "execution.dtype")
READING = ("reader", "workers", "prefetch_mib", "verify")  # of data; they change no batch


def deciding(config: dict) -> dict[str, Any]:
    """All settings that may change a run's curves, by path; those of validation and logging, which
    change none, are left out."""
    values: dict[str, Any] = {}
    for section in SECTIONS:
        settings = config.get(section)
        for name, value in settings.items() if isinstance(settings, dict) else ():
            if section != "data" or not (name.startswith("valid") or name in READING):
                values[f"{section}.{name}"] = value
    values |= {path: _setting(config, *path.split(".")) for path in BESIDE}
    return {path: value for path, value in values.items() if value not in (None, {})}


def _setting(config: dict, section: str, name: str) -> Any:
    settings = config.get(section)
    return settings.get(name) if isinstance(settings, dict) else None
