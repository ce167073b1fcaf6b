"""The only reader of configurations: a nested mapping -> an Experiment ready to run.

Each section is the keyword arguments of one constructor, so an unknown key is an error that
names its section. Nothing here needs tensorflow, librosa or ml_collections.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import time
from collections.abc import Callable

import jax
import numpy as np
import optax

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.errors import InputError, listed
from w2v2_jax.experiment.mask_checks import check_masks
from w2v2_jax.experiment.microbatches import divisions, parts_of_validation
from w2v2_jax.experiment.settings import INHERIT, ExperimentSettings, check_given, construct
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.families import model_config
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.optimizer import SCHEDULES, RateTable, adam, rate_table, unmatched, updates_taken
from w2v2_jax.system import compile_cache, cpu_memory
from w2v2_jax.train_step import TrainState, eval_step, init_state, train_step
from w2v2_jax.vocabulary import Vocabulary

STEPS = {"train": "training", "eval": "validation"}  # kinds of compiled steps, in words


def _schedule(values: dict, steps: int):
    name = values.pop("name", None)
    if name not in SCHEDULES:
        raise InputError(f"config.schedule.name={name!r}; use one of {', '.join(SCHEDULES)}")
    takes_total = "total" in inspect.signature(SCHEDULES[name]).parameters
    return construct(
        "schedule", SCHEDULES[name], {**({"total": steps} if takes_total else {}), **values}
    )


def _objective(
    settings: ExperimentSettings, model: ModelConfig, vocabulary: Vocabulary | Classes | None
) -> Objective:
    kind = settings.objective_class
    if kind.needs_vocabulary and vocabulary is None:
        raise ValueError(f"objective {kind.name} needs a vocabulary")
    if model.output_adapter_layers and not kind.needs_vocabulary:
        raise InputError(
            f"config.model.output_adapter_layers={model.output_adapter_layers}: objective "
            f"{kind.name} is of the frames before it; use 0, or fine-tune with it"
        )
    check_masks(model, settings.data, pretraining=not kind.needs_vocabulary)
    values = {k: v for k, v in settings.raw["objective"].items() if k != "name"}
    computed = kind.computed_fields(len(vocabulary or ()))
    return construct(
        "objective", kind, values, model=model, execution=settings.execution, **computed
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a run needs except its data: static values, shardings, compiled steps.

    compile_seconds: the duration of each compilation. tell: receives a line before and after each.
    """

    settings: ExperimentSettings
    model: ModelConfig
    objective: Objective
    vocabulary: Vocabulary | Classes | None
    schedule: Callable
    tx: optax.GradientTransformation
    mesh: jax.sharding.Mesh
    state_shardings: TrainState
    abstract_state: TrainState
    compiled: dict = dataclasses.field(default_factory=dict, compare=False)
    compile_seconds: list = dataclasses.field(default_factory=list, compare=False)
    tell: Callable[[str], None] = dataclasses.field(default=lambda line: None, compare=False)

    @property
    def accumulate(self) -> int:
        """The number of microbatches of an update, once it is chosen."""
        number = self.settings.train.accumulate
        if not isinstance(number, int):
            raise ValueError("train.accumulate='auto' has to be chosen before a step is compiled")
        return number

    def with_accumulate(self, number: int) -> Experiment:
        """The same experiment with this number of microbatches; nothing of it is compiled yet."""
        train = dataclasses.replace(self.settings.train, accumulate=number)
        settings = dataclasses.replace(self.settings, train=train)
        return dataclasses.replace(self, settings=settings, compiled={}, compile_seconds=[])

    def init(self) -> TrainState:
        """Fresh parameters and moments, made on the mesh with their shardings: plain arrays."""
        make = lambda seed: partition.unbox(init_state(self.objective, self.tx, seed))  # noqa: E731
        return jax.jit(make, out_shardings=self.state_shardings)(self.seed)

    @property
    def seed(self) -> np.uint32:
        """The seed in the form that the compiled steps take."""
        return np.uint32(self.settings.seed)

    @property
    def rates(self) -> RateTable:
        """optimizer.rate_by_path, in the form that the step compares."""
        return rate_table(self._said_rates, self.model.num_layers)

    @property
    def _said_rates(self):
        return self.settings.raw.get("optimizer", {}).get("rate_by_path", ())

    def unmatched_rates(self) -> list[str]:
        """A line for each pattern of optimizer.rate_by_path that matches no parameter."""
        return unmatched(self._said_rates, self.abstract_state.params)

    @property
    def ema_decay(self) -> float:
        """optimizer.ema_decay; 0 if the run has no average of its parameters."""
        return self.settings.raw.get("optimizer", {}).get("ema_decay", 0.0)

    def learning_rate(self, state: TrainState) -> jax.Array:
        """The learning rate of the next update by the optimizer's count; computed on the device."""
        return jax.jit(self.schedule)(updates_taken(state.opt_state))

    def check_shapes(self, shapes: list[tuple[int, int]], accumulate: int, what: str) -> None:
        """Raises InputError if a batch's rows cannot be divided over mesh and microbatches."""
        parts = partition.rows_axis(self.mesh) * accumulate
        for rows, samples in shapes:
            group = self.objective.row_multiple(samples)
            if rows % (parts * group):
                remedy = f"make data.row_multiple a multiple of {parts}"
                if group > 1:
                    least = parts * -(-self.settings.data.row_multiple // parts)
                    seconds = least * self.settings.raw["objective"]["diversity_group_seconds"]
                    remedy = (
                        f"--config.data.row_multiple={least} --config.data.batch_seconds="
                        f"{seconds:g} divide (objective.diversity_group_seconds times "
                        f"row_multiple, which may be any multiple of {parts})"
                    )
                raise self._undivided(
                    f" x train.accumulate={accumulate} x rows per diversity group={group}",
                    rows,
                    f"{samples / SAMPLE_RATE:g} s {what}",
                    remedy,
                )

    def validation_parts(self, rows: int, samples: int) -> int:
        """The number of microbatches of a validation batch. If updates use microbatches, those of
        validation hold at most as much audio, as far as the rows divide. No figure changes."""
        if self.accumulate == 1:
            return 1
        shards, multiple = partition.rows_axis(self.mesh), self.objective.row_multiple
        divisors = divisions([(rows, samples)], shards=shards, row_multiple=multiple)
        most = self.settings.data.batch_seconds * SAMPLE_RATE / self.accumulate
        return parts_of_validation(divisors, (rows, samples), most)

    def check_validation_shapes(self, shapes: list[tuple[int, int]]) -> None:
        """The same check for validation, whose last group may have fewer rows. A batch whose rows
        cannot be divided stays whole."""
        parts = partition.rows_axis(self.mesh)
        for rows, samples in shapes:
            if rows % parts:
                remedy = f"make data.row_multiple a multiple of {parts}"
                raise self._undivided("", rows, f"{samples / SAMPLE_RATE:g} s validation", remedy)

    def _undivided(self, factors: str, rows: int, bucket: str, remedy: str) -> InputError:
        mesh = {axis: self.mesh.shape[axis] for axis in ("data", "fsdp")}
        return InputError(
            f"config.mesh {mesh}{factors} does not divide the {rows} rows of the {bucket} bucket; "
            f"{remedy}, or use fewer devices (rows={rows} divides by "
            f"{[n for n in range(1, rows + 1) if rows % n == 0]})"
        )

    def step_function(self, objective: Objective, batch: Batch):
        """The compiled train step for an objective's state and a batch's shape: (state, batch,
        self.seed) -> (state, metrics). It uses up the state that it is given."""
        function = functools.partial(
            train_step,
            objective=objective,
            tx=self.tx,
            accumulate=self.accumulate,
            shards=partition.rows_axis(self.mesh),
            table=self.rates,
        )
        rows = partition.batch_sharding(self.mesh)
        whole = partition.replicated(self.mesh)
        return self._compiled(
            ("train", objective),
            batch,
            function,
            (self.state_shardings, rows, whole),
            (self.state_shardings, whole),
            (self.abstract_state, batch, self.seed),
            donate=(0,),
        )

    def eval_function(self, batch: Batch):
        """The compiled evaluation step for a batch's shape: (`TrainState.weights`, batch, step,
        seed) -> (sums, outputs)."""
        function = functools.partial(
            eval_step,
            objective=self.objective,
            parts=self.validation_parts(*batch.waveforms.shape),
            shards=partition.rows_axis(self.mesh),
        )
        rows, whole = partition.batch_sharding(self.mesh), partition.replicated(self.mesh)
        return self._compiled(
            ("eval", self.objective),
            batch,
            function,
            (self.state_shardings.weights, rows, whole, whole),
            (whole, rows),
            (self.abstract_state.weights, batch, self.abstract_state.step, self.seed),
        )

    def _compiled(self, name, batch, function, in_shardings, out_shardings, arguments, donate=()):
        key = (*name, tuple(None if x is None else x.shape for x in batch))
        if key not in self.compiled:
            start = time.monotonic()
            self.tell(self._compiling(name[0], batch))
            jitted = jax.jit(
                function,
                in_shardings=in_shardings,
                out_shardings=out_shardings,
                donate_argnums=donate,
                compiler_options=partition.COMPILER_OPTIONS.get(self.mesh.devices.flat[0].platform),
            )
            with jax.set_mesh(self.mesh), compile_cache.hits() as taken:
                self.compiled[key] = jitted.lower(*arguments).compile()
            cpu_memory.trim()  # what compiling has taken, too scattered for what the program needs
            self.compile_seconds.append(time.monotonic() - start)
            source = "taken from the cache of compiled programs" if taken else "compiled"
            self.tell(f"{source} in {self.compile_seconds[-1]:.1f} s")
        return self.compiled[key]

    def _compiling(self, kind: str, batch: Batch) -> str:
        rows, samples = batch.waveforms.shape
        parts = self.accumulate if kind == "train" else self.validation_parts(rows, samples)
        size = f"{rows} rows x {samples / SAMPLE_RATE:g} s"
        pieces = f" in {parts} microbatches" if parts > 1 else ""
        return f"compiling the step of {STEPS[kind]} of {size}{pieces}"


def build(
    settings: ExperimentSettings,
    *,
    vocabulary: Vocabulary | Classes | None = None,
    inherited: ModelConfig | None = None,
    devices=None,
) -> Experiment:
    """Assembles an experiment; `inherited` is the network of init_from for family "inherit"."""
    raw = check_given(settings, vocabulary).raw
    values = dict(raw["model"])
    family = values.pop("family")
    if family == INHERIT:
        if inherited is None:
            raise InputError("config.model.family='inherit' needs config.init_from")
        base = {f.name: getattr(inherited, f.name) for f in dataclasses.fields(inherited)}
        unknown = [name for name in values if name not in base]
        if unknown:
            known = listed(unknown[0], base)
            raise InputError(f"config.model.{unknown[0]} is not a setting; {known}")
        model = construct("model", ModelConfig, {**base, **values})
    else:
        try:
            model = model_config(family, **values)
        except InputError as error:
            raise InputError(f"config.{error}") from None
    objective = _objective(settings, model, vocabulary)
    schedule = _schedule(dict(raw["schedule"]), settings.train.steps)
    network = dict(num_layers=model.num_layers, norm_order=model.norm_order)
    tx = construct("optimizer", adam, raw.get("optimizer", {}), schedule=schedule, **network)
    mesh_values = dict(raw.get("mesh", {}))
    rules = mesh_values.pop("rules", None)
    mesh = construct("mesh", partition.make_mesh, mesh_values, devices=devices)
    boxed = jax.eval_shape(lambda: init_state(objective, tx, settings.seed))
    state_shardings = partition.shardings(boxed, mesh, rules)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        partition.unbox(boxed),
        state_shardings,
    )
    return Experiment(
        settings, model, objective, vocabulary, schedule, tx, mesh, state_shardings, abstract
    )
