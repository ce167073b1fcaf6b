"""A configuration with the defaults of every constructor: all that a run's mathematics rests on."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from w2v2_jax.experiment.build import Experiment
from w2v2_jax.optimizer import SCHEDULES, adam

FOLLOWS_STEPS = "train.steps"  # a schedule's total that the recipe does not give


def resolved(experiment: Experiment) -> dict[str, Any]:
    """The sections of a recipe, as plain values of JSON. A schedule that ends with the run has
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
        "optimizer": _with_defaults(adam, raw.get("optimizer", {})),
        "mesh": {**raw.get("mesh", {}), **experiment.mesh.shape},
        **{
            name: dataclasses.asdict(getattr(settings, name))
            for name in ("execution", "data", "vocabulary", "train", "health")
        },
    }
    # What it is, wherever it came from: a run that goes on has it from its own checkpoint.
    sections["data"]["normalise_epsilon"] = settings.data.epsilon
    return json.loads(json.dumps(sections, default=list))


def _objective(experiment: Experiment) -> dict[str, Any]:
    """Its own fields: not what is a section of its own, nor what follows from others."""
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
