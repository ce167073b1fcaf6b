"""A configuration with all defaults of its constructors: what a run's mathematics depends on."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from w2v2_jax.experiment.build import Experiment
from w2v2_jax.optimizer import OF_NETWORK, SCHEDULES, adam

FOLLOWS_STEPS = "train.steps"  # a schedule's total, if the recipe does not set it


def resolved(experiment: Experiment) -> dict[str, Any]:
    """The sections of a recipe as plain JSON values. A schedule that ends with the run has
    FOLLOWS_STEPS as its total."""
    settings, raw = experiment.settings, experiment.settings.raw
    schedule = dict(raw["schedule"])
    shape = SCHEDULES[schedule["name"]]
    if "total" in inspect.signature(shape).parameters:
        schedule.setdefault("total", FOLLOWS_STEPS)
    sections: dict[str, Any] = {
        "seed": settings.seed,
        "init_from": settings.init_from,
        "model": {
            "family": raw["model"]["family"],
            **dataclasses.asdict(experiment.model),
        },
        "objective": {"name": settings.kind, **_objective(experiment)},
        "schedule": _with_defaults(shape, schedule),
        "optimizer": {
            name: value
            for name, value in _with_defaults(adam, raw.get("optimizer", {})).items()
            if name not in OF_NETWORK
        },
        "mesh": {**raw.get("mesh", {}), **experiment.mesh.shape},
        **{
            name: dataclasses.asdict(getattr(settings, name))
            for name in ("execution", "data", "vocabulary", "train", "health")
        },
    }
    # The network itself, wherever it came from: a resumed run has it in its own checkpoint.
    sections["data"]["normalise_epsilon"] = settings.data.epsilon
    return json.loads(json.dumps(sections, default=list))


def _objective(experiment: Experiment) -> dict[str, Any]:
    """The objective's own fields, without other sections and values that follow from others."""
    objective = experiment.objective
    others = {"model", "execution", *objective.computed_fields(0)}
    fields = [field.name for field in dataclasses.fields(objective)]  # type: ignore[arg-type]
    return {name: getattr(objective, name) for name in fields if name not in others}


def _with_defaults(constructor: Callable, values: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return {**defaults, **values}
