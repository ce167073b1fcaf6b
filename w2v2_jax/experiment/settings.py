"""The sections of a configuration, checked before any data or device is touched."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from w2v2_jax import partition
from w2v2_jax.data.augment import AugmentConfig
from w2v2_jax.data.config import DataConfig
from w2v2_jax.errors import InputError, listed
from w2v2_jax.errors.values import check_least
from w2v2_jax.experiment.typed import WHOLE, check, types_of
from w2v2_jax.health.config import HealthConfig
from w2v2_jax.health.monitor import check_names
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import FIELDS as EXECUTION_FIELDS
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.families import FAMILIES
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.optimizer import OF_NETWORK, SCHEDULES, adam
from w2v2_jax.vocabulary import LIBRISPEECH, Vocabulary

INHERIT = "inherit"  # model.family: take the network of init_from
MOST_SEED = 2**32 - 1  # JAX takes 32 bits: two seeds that differ above them would give one network
AUTO: Literal["auto"] = "auto"  # train.accumulate: as few microbatches as fit into the device


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The length of a run, and when it logs, validates and saves, in updates.

    steps: number of updates of the whole run.
    accumulate: number of microbatches per update; more of them need less memory. "auto": the
        smallest number that fits into the device's memory (`experiment.auto_accumulate`).
    log_every: number of updates between two logged lines.
    eval_every: number of updates between two validations; 0 means only at the end.
    checkpoint_every: number of updates between two checkpoints; 0 means only at the end.
    keep_last: how many of the newest checkpoints are kept.
    keep_best: how many of the best checkpoints are kept in addition.
    keep_every: checkpoints at its multiples are saved and kept for good; 0 means none.
    best_metric: the validation metric that ranks checkpoints.
    best_mode: "min" if a lower best_metric is better, "max" if a higher one is.
    """

    steps: int
    accumulate: int | Literal["auto"] = 1
    log_every: int = 10
    eval_every: int = 0
    checkpoint_every: int = 0
    keep_last: int = 2
    keep_best: int = 1
    keep_every: int = 0
    best_metric: str = "loss"
    best_mode: str = "min"

    def __post_init__(self):
        check_least("train", self, steps=1, log_every=1, keep_last=1)
        if self.accumulate != AUTO:
            check_least("train", self, accumulate=1)
        check_least("train", self, eval_every=0, checkpoint_every=0, keep_best=0, keep_every=0)
        if self.best_mode not in ("min", "max"):
            raise InputError(f"train.best_mode={self.best_mode!r}; use 'min' or 'max'")


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """The symbols of a CTC head.

    name: "librispeech", "from_transcripts", "phonemes" (separated by spaces in the transcripts),
        "sentencepiece:FILE.model", "pronunciations:FILE" (phonemes, which a lexicon has for the
        words of the transcripts), "extend" (the symbols of init_from, and further ones from the
        transcripts), a JSON file or a run's folder.
    case: "lower", "upper" or "keep", with a language if its rules differ ("lower:tr"); used with
        "from_transcripts".
    min_count: characters that occur fewer times in the transcripts get no symbol.
    """

    name: str = "librispeech"
    case: str | None = None
    min_count: int = 1

    def __post_init__(self):
        check_least("vocabulary", self, min_count=1)


SECTIONS = (
    "seed",
    "init_from",
    "model",
    "execution",
    "objective",
    "schedule",
    "optimizer",
    "data",
    "vocabulary",
    "train",
    "mesh",
    "health",
)
OPTIONAL = ("execution", "optimizer", "vocabulary", "mesh", "health")


@dataclasses.dataclass(frozen=True)
class ExperimentSettings:
    """A configuration whose sections have been checked, before any data or device is touched."""

    raw: dict[str, Any]
    seed: int
    init_from: str
    kind: str  # a name in OBJECTIVES
    execution: Execution
    data: DataConfig
    vocabulary: VocabularyConfig
    train: TrainConfig
    health: HealthConfig

    @property
    def objective_class(self) -> type[Objective]:
        return OBJECTIVES[self.kind]

    def usual_vocabulary(self) -> Vocabulary | Classes | None:
        """LibriSpeech's where the objective needs one (ten classes where it needs those): what
        stands in `head_symbols` for those of a corpus."""
        if self.objective_class.class_labels:
            return Classes(tuple("0123456789"))
        return LIBRISPEECH if self.objective_class.needs_vocabulary else None


def check_given(settings: Any, vocabulary: Any) -> ExperimentSettings:
    """The settings; InputError for what `build` cannot take in the place of either. Of a text as
    vocabulary, such as its name, a head would get as many classes as letters."""
    if not isinstance(settings, ExperimentSettings):
        raise InputError(f"{type(settings).__name__} is no settings; give read_settings(config)")
    if not isinstance(vocabulary, Vocabulary | Classes | None):
        shown = str(vocabulary)[:40]
        raise InputError(f"vocabulary={shown!r} must be a Vocabulary, as LIBRISPEECH, or Classes")
    return settings


# Settings of earlier versions -> what became of them.
RENAMED = {
    "objective.diversity_group_rows": (
        "is now diversity_group_seconds, so that rows of all lengths make groups of as much audio: "
        "rows times their seconds (6 rows of 15.625 s: 93.75)"
    ),
}


def construct(section: str, constructor: Callable, values: Mapping[str, Any], **supplied) -> Any:
    """Calls a constructor with a section's values; unknown or missing keys, and values that are
    not of their annotated type, are InputErrors."""
    parameters = inspect.signature(constructor).parameters
    known = [name for name in parameters if name not in supplied]
    for name in values:
        _refuse_unknown(section, name, known)
    for name in known:
        if name not in values and parameters[name].default is inspect.Parameter.empty:
            raise InputError(f"config.{section}.{name} is missing")
    types = types_of(constructor)
    values = {name: check(f"{section}.{name}", v, types[name]) for name, v in values.items()}
    try:
        return constructor(**values, **supplied)
    except InputError as error:
        raise InputError(f"config.{error}") from None
    except TypeError as error:
        raise InputError(f"config.{section}: {error}") from None


def read_settings(config: Mapping[str, Any]) -> ExperimentSettings:
    """Checks a configuration's sections; raises InputError with the path of what is wrong."""
    if not hasattr(config, "to_dict") and not isinstance(config, Mapping):
        raise InputError(
            f"{str(config)[:40]!r} is no configuration; give a ConfigDict or a nested dict, as "
            "w2v2_jax.experiment.recipe.load_config makes of a recipe's name"
        )
    raw = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    for name in raw:
        refuse_unknown([name], {}, raw)
    for name in ("model", "objective", "schedule", "data", "train"):
        if name not in raw:
            raise InputError(f"config.{name} is missing")
    types = field_types(raw)
    for section, values in raw.items():
        for name in values if isinstance(values, Mapping) else ():
            refuse_unknown([section, name], types, raw)
    raw = _typed(raw, types)
    kind = raw["objective"].get("name")
    if kind not in OBJECTIVES or not OBJECTIVES[kind].trains:
        known = ", ".join(name for name, objective in OBJECTIVES.items() if objective.trains)
        raise InputError(f"config.objective.name={kind!r} is not known; use one of {known}")
    if raw["model"].get("family") not in (*FAMILIES, INHERIT):
        known = ", ".join((*FAMILIES, INHERIT))
        family = raw["model"].get("family")
        raise InputError(f"config.model.family={family!r} is not known; use one of {known}")
    if not 0 <= raw.get("seed", 0) <= MOST_SEED:
        raise InputError(
            f"config.seed={raw['seed']} must be 0 to {MOST_SEED}, of which JAX takes every bit"
        )
    return ExperimentSettings(
        raw=raw,
        seed=raw.get("seed", 0),
        init_from=raw.get("init_from", "") or "",
        kind=kind,
        execution=construct("execution", Execution, raw.get("execution") or {}),
        data=_data(raw["data"]),
        vocabulary=construct("vocabulary", VocabularyConfig, raw.get("vocabulary", {})),
        train=construct("train", TrainConfig, raw["train"]),
        health=_health(raw.get("health") or {}),
    )


def field_types(config: Mapping[str, Any]) -> dict[str, Any]:
    """Section -> setting -> type, and the types of what stands beside the sections. An objective or
    schedule whose name is not known has no settings here."""
    objective = OBJECTIVES.get(_name(config, "objective"))
    schedule = SCHEDULES.get(_name(config, "schedule"))
    return {
        "seed": WHOLE,
        "init_from": str | None,
        "model": {"family": str, **types_of(ModelConfig)},
        "execution": types_of(Execution),
        "objective": {"name": str, **(_of_objective(objective) if objective else {})},
        "schedule": {"name": str, **(types_of(schedule) if schedule else {})},
        "optimizer": _without(types_of(adam), "schedule", *OF_NETWORK),
        "data": {**types_of(DataConfig), "augment": types_of(AugmentConfig)},
        "vocabulary": types_of(VocabularyConfig),
        "train": types_of(TrainConfig),
        "mesh": {
            **_without(types_of(partition.make_mesh), "devices"),
            "rules": dict[str, str | None] | None,
        },
        "health": types_of(HealthConfig),
    }


def _of_objective(objective: type[Objective]) -> dict[str, Any]:
    return _without(types_of(objective), "model", "execution", *objective.computed_fields(0))


def _without(types: dict[str, Any], *names: str) -> dict[str, Any]:
    """The types of what a configuration sets, without those of `names`, which the program gives."""
    return {name: kind for name, kind in types.items() if name not in names}


def _name(config: Mapping[str, Any], section: str) -> str:
    """The name in a section, as text whatever it is."""
    values = config.get(section)
    return str(values.get("name")) if isinstance(values, Mapping) else ""


def refuse_unknown(
    path: Sequence[str], types: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """InputError for a section or setting that does not exist; config tells which constructor a
    name chooses. path: ("train", "steps"). types: `field_types`."""
    if path[0] not in SECTIONS:
        raise InputError(f"config.{path[0]} is not a section; {listed(path[0], SECTIONS)}")
    *sections, name = path
    known: Any = types
    for section in sections:
        known = known.get(section) if isinstance(known, Mapping) else None
    tables: dict[str, Mapping[str, Any]] = {"objective": OBJECTIVES, "schedule": SCHEDULES}
    if not isinstance(known, Mapping) or (
        path[0] in tables and _name(config, path[0]) not in tables[path[0]]
    ):
        return  # of a table that has any names, or of a constructor that is to be named first
    if name in EXECUTION_FIELDS and sections == ["model"]:
        raise InputError(
            f"config.model.{name} is not a setting of the network; use config.execution.{name}"
        )
    if sections:
        _refuse_unknown(".".join(sections), name, known)


def _refuse_unknown(section: str, name: str, known: Iterable[str]) -> None:
    if f"{section}.{name}" in RENAMED:
        raise InputError(f"config.{section}.{name} {RENAMED[f'{section}.{name}']}")
    if name not in known:
        raise InputError(f"config.{section}.{name} is not a setting; {listed(name, known)}")


def _typed(raw: dict[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with every known setting as its type."""
    return {
        section: check(
            section, {} if value is None and section in OPTIONAL else value, types[section]
        )
        for section, value in raw.items()
    }


def _data(values: Mapping[str, Any]) -> DataConfig:
    """The section with its own section `augment`, which may be absent."""
    augment = construct("data.augment", AugmentConfig, values.get("augment") or {})
    others = {name: value for name, value in values.items() if name != "augment"}
    return construct("data", DataConfig, others, augment=augment)


def _health(values: Mapping[str, Any]) -> HealthConfig:
    config = construct("health", HealthConfig, values)
    try:
        check_names(config)
    except InputError as error:
        raise InputError(f"config.{error}") from None
    return config
