"""The only reader of configurations: a nested mapping -> an Experiment ready to run.

Each section is the keyword arguments of one constructor, so an unknown key is an error that
names its section. Nothing here needs tensorflow, librosa or ml_collections.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

from w2v2_jax import partition
from w2v2_jax.batch import Batch
from w2v2_jax.data.feed import DataConfig
from w2v2_jax.data.vocabulary import Vocabulary
from w2v2_jax.errors import InputError
from w2v2_jax.health.config import HealthConfig
from w2v2_jax.health.monitor import check_names
from w2v2_jax.models.config import FAMILIES, ModelConfig, model_config
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import SCHEDULES, adam
from w2v2_jax.train_step import TrainState, eval_step, init_state, train_step

INHERIT = "inherit"  # model.family: take the network of init_from


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length and rhythm of a run, in updates. best_metric is minimised over validations unless
    best_mode is "max"; eval_every and checkpoint_every 0 mean only at the end."""

    steps: int
    accumulate: int = 1
    log_every: int = 10
    eval_every: int = 0
    checkpoint_every: int = 0
    keep_last: int = 2
    keep_best: int = 1
    best_metric: str = "loss"
    best_mode: str = "min"

    def __post_init__(self):
        for name in ("steps", "accumulate", "log_every", "keep_last"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name}={getattr(self, name)} must be at least 1")
        if self.best_mode not in ("min", "max"):
            raise InputError(f"train.best_mode={self.best_mode!r}; use 'min' or 'max'")


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """name: "librispeech", "from_transcripts" (case and min_count decide), "extend" (init_from's
    and the transcripts' further characters) or a JSON file."""

    name: str = "librispeech"
    case: str | None = None
    min_count: int = 1


SECTIONS = (
    "seed", "init_from", "model", "objective", "schedule", "optimizer", "data", "vocabulary",
    "train", "mesh", "health",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """A configuration whose sections have been checked, before any data or device is touched."""

    raw: dict[str, Any]
    seed: int
    init_from: str
    kind: str  # "contrastive" or "ctc"
    data: DataConfig
    vocabulary: VocabularyConfig
    train: TrainConfig
    health: HealthConfig


def construct(section: str, constructor: Callable, values: Mapping[str, Any], **given) -> Any:
    """Calls a constructor with a section's values; unknown or missing keys are InputErrors."""
    parameters = inspect.signature(constructor).parameters
    known = [name for name in parameters if name not in given]
    for name in values:
        if name not in known:
            raise InputError(f"config.{section}.{name} is not a setting; known: {', '.join(known)}")
    for name in known:
        if name not in values and parameters[name].default is inspect.Parameter.empty:
            raise InputError(f"config.{section}.{name} is missing")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return constructor(**values, **given)
    except InputError as error:
        raise InputError(f"config.{error}") from None
    except TypeError as error:
        raise InputError(f"config.{section}: {error}") from None


def read(config: Mapping[str, Any]) -> Settings:
    """Checks a configuration's sections; raises InputError with the path of what is wrong."""
    raw = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    for name in raw:
        if name not in SECTIONS:
            raise InputError(f"config.{name} is not a section; known: {', '.join(SECTIONS)}")
    for name in ("model", "objective", "schedule", "data", "train"):
        if name not in raw:
            raise InputError(f"config.{name} is missing")
    kind = raw["objective"].get("name")
    if kind not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise InputError(f"config.objective.name={kind!r} is not known; use one of {known}")
    if raw["model"].get("family") not in (*FAMILIES, INHERIT):
        known = ", ".join((*FAMILIES, INHERIT))
        family = raw["model"].get("family")
        raise InputError(f"config.model.family={family!r} is not known; use one of {known}")
    return Settings(
        raw=raw,
        seed=int(raw.get("seed", 0)),
        init_from=raw.get("init_from", "") or "",
        kind=kind,
        data=construct("data", DataConfig, raw["data"]),
        vocabulary=construct("vocabulary", VocabularyConfig, raw.get("vocabulary", {})),
        train=construct("train", TrainConfig, raw["train"]),
        health=_health(raw.get("health") or {}),
    )


def _health(values: Mapping[str, Any]) -> HealthConfig:
    config = construct("health", HealthConfig, values)
    try:
        check_names(config)
    except InputError as error:
        raise InputError(f"config.{error}") from None
    return config


def _contrastive(model: ModelConfig, values: dict, vocabulary: Vocabulary | None) -> Contrastive:
    return construct("objective", Contrastive, values, model=model)


def _ctc(model: ModelConfig, values: dict, vocabulary: Vocabulary | None) -> CTC:
    values = {"freeze_updates": 0, **values}
    return construct(
        "objective", CTC, values, model=model, num_classes=len(vocabulary), frozen=False
    )


OBJECTIVES = {"contrastive": _contrastive, "ctc": _ctc}


def _schedule(values: dict, steps: int):
    name = values.pop("name", None)
    if name not in SCHEDULES:
        raise InputError(f"config.schedule.name={name!r}; use one of {', '.join(SCHEDULES)}")
    takes_total = "total" in inspect.signature(SCHEDULES[name]).parameters
    return construct(
        "schedule", SCHEDULES[name], {**({"total": steps} if takes_total else {}), **values}
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run needs but its data: static values, shardings and compiled steps."""

    settings: Settings
    model: ModelConfig
    objective: Objective
    vocabulary: Vocabulary | None
    schedule: Callable
    tx: optax.GradientTransformation
    mesh: jax.sharding.Mesh
    state_shardings: TrainState
    abstract_state: TrainState
    compiled: dict = dataclasses.field(default_factory=dict, compare=False)
    compile_seconds: list = dataclasses.field(default_factory=list, compare=False)

    def init(self) -> TrainState:
        """Fresh parameters and moments, made on the mesh with their shardings."""
        make = lambda seed: partition.unbox(init_state(self.objective, self.tx, seed))  # noqa: E731
        return jax.jit(make, out_shardings=self.state_shardings)(self.seed)

    @property
    def seed(self) -> np.uint32:
        """What the compiled steps take as their seed."""
        return np.uint32(self.settings.seed % 2**32)

    def check_shapes(self, shapes: list[tuple[int, int]], accumulate: int, what: str) -> None:
        """Raises InputError where a batch's rows do not divide over mesh and microbatches."""
        shards = partition.rows_axis(self.mesh)
        need = shards * accumulate * self.objective.row_multiple()
        for rows, samples in shapes:
            if rows % need:
                mesh = {axis: self.mesh.shape[axis] for axis in ("data", "fsdp")}
                raise InputError(
                    f"config.mesh {mesh} x train.accumulate={accumulate} x rows a diversity group"
                    f"={self.objective.row_multiple()} does not divide the {rows} rows of the "
                    f"{samples / 16000:g} s {what} bucket; make data.row_multiple a multiple of "
                    f"{need}, or use fewer devices (rows={rows} divides by "
                    f"{[n for n in range(1, rows + 1) if rows % n == 0]})"
                )

    def step_function(self, objective: Objective, batch: Batch):
        """The compiled train step for an objective's state and a batch's shape: (state, batch,
        seed) -> (state, metrics)."""
        accumulate = self.settings.train.accumulate
        function = functools.partial(
            train_step, objective=objective, tx=self.tx, accumulate=accumulate,
            shards=partition.rows_axis(self.mesh),
        )  # fmt: skip
        rows = partition.batch_sharding(self.mesh)
        whole = partition.replicated(self.mesh)
        return self._compiled(
            ("train", objective), batch, function, (self.state_shardings, rows, whole),
            (self.state_shardings, whole), (self.abstract_state, batch, self.seed), donate=(0,),
        )  # fmt: skip

    def eval_function(self, batch: Batch):
        """The compiled evaluation step for a batch's shape: (params, batch, step, seed) -> (sums,
        outputs)."""
        function = functools.partial(eval_step, objective=self.objective)
        rows, whole = partition.batch_sharding(self.mesh), partition.replicated(self.mesh)
        return self._compiled(
            ("eval", self.objective), batch, function,
            (self.state_shardings.params, rows, whole, whole), (whole, rows),
            (self.abstract_state.params, batch, self.abstract_state.step, self.seed),
        )  # fmt: skip

    def _compiled(self, name, batch, function, in_shardings, out_shardings, arguments, donate=()):
        key = (*name, tuple(None if x is None else x.shape for x in batch))
        if key not in self.compiled:
            start = time.monotonic()
            jitted = jax.jit(
                function, in_shardings=in_shardings, out_shardings=out_shardings,
                donate_argnums=donate,
                compiler_options=partition.COMPILER_OPTIONS.get(self.mesh.devices.flat[0].platform),
            )  # fmt: skip
            with jax.set_mesh(self.mesh):
                self.compiled[key] = jitted.lower(*arguments).compile()
            self.compile_seconds.append(time.monotonic() - start)
        return self.compiled[key]


def build(
    settings: Settings, *, vocabulary: Vocabulary | None = None,
    inherited: ModelConfig | None = None, devices=None,
) -> Experiment:  # fmt: skip
    """Assembles an experiment; `inherited` is the network of init_from for family "inherit"."""
    raw = settings.raw
    values = dict(raw["model"])
    family = values.pop("family")
    if family == INHERIT:
        if inherited is None:
            raise InputError("config.model.family='inherit' needs config.init_from")
        base = {f.name: getattr(inherited, f.name) for f in dataclasses.fields(inherited)}
        unknown = [name for name in values if name not in base]
        if unknown:
            raise InputError(f"config.model.{unknown[0]} is not a setting; known: {list(base)}")
        model = construct("model", ModelConfig, {**base, **values})
    else:
        try:
            model = model_config(family, **values)
        except InputError as error:
            raise InputError(f"config.{error}") from None
    objective_values = {k: v for k, v in raw["objective"].items() if k != "name"}
    objective = OBJECTIVES[settings.kind](model, objective_values, vocabulary)
    schedule = _schedule(dict(raw["schedule"]), settings.train.steps)
    tx = construct("optimizer", adam, raw.get("optimizer", {}), schedule=schedule)
    mesh_values = dict(raw.get("mesh", {}))
    rules = mesh_values.pop("rules", None)
    mesh = construct("mesh", partition.make_mesh, mesh_values, devices=devices)
    boxed = jax.eval_shape(lambda: init_state(objective, tx, settings.seed))
    state_shardings = partition.shardings(boxed, mesh, rules)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        partition.unbox(boxed), state_shardings,
    )  # fmt: skip
    return Experiment(
        settings, model, objective, vocabulary, schedule, tx, mesh, state_shardings, abstract
    )


def axis_names(objective: Objective):
    """Parameter path -> logical axis names, for documentation and tests."""
    boxed = jax.eval_shape(objective.init, jax.random.key(0))
    is_box = lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)  # noqa: E731
    leaves = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box)
    return {"/".join(k.key for k in path): leaf.names for path, leaf in leaves}
