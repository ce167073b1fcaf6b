"""Checkpoints through Orbax: save in the background, keep the best and the last, find, load.

A step's directory holds `params`, `training` (step, optimizer state, teacher, in float16 the loss
scale) and `model`, a JSON description from which the network can be rebuilt without the
configuration. If a run averages its parameters, `params` are the averages, and the trained
parameters are in the optimizer state.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from w2v2_jax.checkpoint.checksum import sum_on_host, sums
from w2v2_jax.checkpoint.description import Description, Loaded, describe
from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, absolute, is_remote, meant_beside
from w2v2_jax.train_step import TrainState

# Orbax warns about its own defaults, and logs its exceptions in a hundred lines.
logging.getLogger("absl").setLevel(logging.CRITICAL)
# So does asyncio those of the parts of a save that failed, each after the one that is raised.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)

FOLDER = "checkpoints"
SMALL, MOST_INFLATED = 1 << 30, 1000  # bytes; weights hardly compress at all


class Manager(ocp.CheckpointManager):
    """Orbax's manager, except that it never asks JAX's runtime whether a host was told to stop.

    The loop asks, with a count that never goes back. Orbax would ask with the step, which a
    rollback sets back, and the runtime would then choose a count that the loop has passed.
    """

    def reached_preemption(self, step: int) -> bool:
        del step
        return False

    def metrics(self, step: int) -> dict[str, float] | None:
        """A step's rank as `save` wrote it; InputError if its file is damaged, because a step
        without a rank may be deleted."""
        found = self._rank(step)
        if found is None or (isinstance(found, dict) and type(found.get("rank")) in (int, float)):
            return found
        self._damaged(self.directory / str(step) / "metrics")
        return None

    def _rank(self, step: int) -> Any:
        try:
            return super().metrics(step)
        except (ValueError, RecursionError):
            return "not JSON"

    def _damaged(self, metrics: AnyPath) -> None:
        raise InputError(
            f"{metrics} is damaged; put it back from a copy, or remove it, and the step counts as "
            "not validated"
        )


class Reader(Manager):
    """A manager that deletes nothing. It tells of a damaged rank and goes on without it: the
    weights, and those of the other steps, are as good as before."""

    def __init__(self, folder: AnyPath):
        super().__init__(folder, options=ocp.CheckpointManagerOptions(read_only=True))

    def _damaged(self, metrics: AnyPath) -> None:
        _tell_damaged(metrics)


@functools.cache
def _tell_damaged(metrics: AnyPath) -> None:
    print(f"warning: {metrics} is damaged: the step counts as not validated", file=sys.stderr)


@contextlib.contextmanager
def manager(
    workdir: AnyPath, *, keep_last: int, keep_best: int, keep_every: int = 0
) -> Iterator[Manager]:
    """Keeps the `keep_last` newest steps, the `keep_best` with lowest rank (see `save`) and every
    multiple of `keep_every`.

    Closing waits for a save in progress. After an exception on one of several hosts it does not,
    because the other hosts may have died.
    """
    checkpoints = _manager(workdir, keep_last, keep_best, keep_every)
    try:
        yield checkpoints
    except BaseException:
        if jax.process_count() == 1:
            checkpoints.close()
        raise
    checkpoints.close()


def _manager(workdir: AnyPath, keep_last: int, keep_best: int, keep_every: int) -> Manager:
    keep = [policies.LatestN(keep_last)]
    if keep_every:
        keep.append(policies.EveryNSteps(keep_every))
    if keep_best:
        keep.append(
            policies.BestN(
                get_metric_fn=_order,
                reverse=True,
                n=keep_best,
                keep_checkpoints_without_metrics=False,
            )
        )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(keep),
        best_fn=_order,
        best_mode="min",
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
    )
    return Manager(absolute(workdir) / FOLDER, options=options)


def _order(metrics: dict[str, float]) -> float:
    """A saved step's rank for sorting; NaN comes after all numbers."""
    rank = metrics.get("rank", math.inf)
    return rank if math.isfinite(rank) else math.inf


class NoCheckpoint(InputError):
    """A path without a checkpoint of this package, whatever else is there."""


def save(
    checkpoints: Manager,
    state: TrainState,
    description: Description,
    rank: float | None = None,
) -> None:
    """Saves in the background under the state's step; arrays are copied before this returns.

    rank: the validation metric that decides which checkpoint is best; lower is better. If it is not
    finite, the step counts as not validated.
    """
    step = int(state.step)
    if step in checkpoints.all_steps():
        return
    model = {**description.to_json(), "checksum": sums(state.params, state.training)}
    checkpoints.save(
        step,
        args=ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            training=ocp.args.StandardSave(state.training),
            model=ocp.args.JsonSave(model),
        ),
        metrics={"rank": rank} if rank is not None and math.isfinite(rank) else None,
    )


def find(path: str | AnyPath) -> AnyPath:
    """A workdir (best step by validation, else newest) or one step's directory -> that step's
    directory. Raises NoCheckpoint, an InputError, if there is none."""
    path = absolute(path)
    if (path / "model").is_dir() and (path / "params").is_dir():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not any((step / "model").is_dir() for step in _steps(folder)):
        what = (
            "holds no checkpoint (a run has none before its first)"
            if path.exists()
            else f"does not exist{meant_beside(path)}"
        )
        raise NoCheckpoint(
            f"{path} {what}; give a training workdir, one step's directory, an exported Hugging "
            "Face directory, or a model of the hub by its whole name, as "
            "facebook/wav2vec2-base-960h"
        )
    with Reader(folder) as checkpoints:
        scores = {step: _score(checkpoints, step) for step in checkpoints.all_steps()}
    scored = {step: score for step, score in scores.items() if score is not None}
    step = min(scored, key=lambda s: (scored[s], -s)) if scored else max(scores)
    return folder / str(step)


def _steps(folder: AnyPath) -> list[AnyPath]:
    """The directories of the finished steps, newest first."""
    steps = [path for path in folder.glob("[0-9]*") if path.name.isdigit()]
    return sorted(steps, key=lambda path: int(path.name), reverse=True)


def has_saved(workdir: AnyPath) -> bool:
    """Whether a run saved any checkpoint there, readable or not."""
    return bool(_steps(absolute(workdir) / FOLDER))


def newest_steps(workdir: str | AnyPath, count: int) -> list[AnyPath]:
    """The directories of a workdir's `count` newest steps, newest first. Raises InputError where it
    has fewer."""
    folder = absolute(workdir) / FOLDER
    steps = [step for step in _steps(folder) if (step / "model").is_dir()]
    if len(steps) < count:
        known = f"{len(steps)} steps ({', '.join(step.name for step in steps)})"
        raise InputError(
            f"{workdir} has {known if steps else 'no steps'}, {count} are asked for; "
            "train.keep_last says how many a run keeps"
        )
    return steps[:count]


def describe_newest(workdir: AnyPath) -> Description | None:
    """The description of the newest readable checkpoint; None if nothing was saved.

    Raises InputError if none can be read, or the newest that can is of another format.
    """
    steps = _steps(absolute(workdir) / FOLDER)
    for step in steps:
        try:
            model = ocp.JsonCheckpointHandler().restore(step / "model")
        except (OSError, ValueError):
            continue
        return describe(model, str(step))
    if steps:
        raise InputError(
            f"{steps[0]} is damaged (no description can be read) and so are all before it; put "
            "one back from a copy, or use another --workdir"
        )
    return None


def _score(checkpoints: Manager, step: int) -> float | None:
    rank = _order(checkpoints.metrics(step) or {})
    return rank if math.isfinite(rank) else None


def load(path: str | AnyPath) -> Loaded:
    """Reads the description and parameters of a native checkpoint onto the host."""
    step = find(path)
    with Reader(step.parent) as checkpoints:
        try:
            items = checkpoints.restore(
                int(step.name),
                args=ocp.args.Composite(
                    params=ocp.args.StandardRestore(_on_host(step / "params")),
                    model=ocp.args.JsonRestore(),
                ),
            )
        except (
            ValueError,
            LookupError,
            OSError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise InputError(f"{_damage(step, error)}; use another step or a copy") from error
    _check_sum(items, str(step))
    return Loaded(step, describe(items["model"], str(step)), jax.device_get(items["params"]))


def _damage(step: AnyPath, error: Exception) -> str:
    """Which file of a step cannot be read, and why: Orbax's own errors do not name it."""
    for file in (step / "model" / "metadata", step / "params" / "_METADATA"):
        try:
            described = isinstance(json.loads(file.read_bytes()), dict)
        except (OSError, ValueError, RecursionError) as odd:
            return f"{file}: cannot be read: {getattr(odd, 'strerror', None) or str(odd)[:200]}"
        if not described:
            return f"{file}: cannot be read: it is no JSON object"
    if isinstance(error, (ValueError, OSError)):
        return f"{step}: cannot be read: {str(error)[:200]}"
    return f"{step / 'params'}: cannot be read: its list of tensors is damaged"


def _check_sum(items: dict[str, Any], where: str) -> None:
    """Raises InputError if a checkpoint's values are not those that were saved."""
    stored = items["model"].get("checksum") if isinstance(items["model"], dict) else None
    if stored is None:  # of an imported checkpoint
        return
    if not isinstance(stored, dict) or stored.get("params") != sum_on_host(items["params"]):
        raise InputError(f"{where} is damaged: its values differ from their checksum; use another")


def _on_host(params: AnyPath):
    """Empty numpy arrays with a checkpoint's shapes: without a target, Orbax restores only onto the
    number of devices that saved it."""
    with ocp.StandardCheckpointer() as checkpointer:
        shapes = checkpointer.metadata(params).item_metadata.tree
    claimed = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(shapes))
    if claimed > SMALL and not is_remote(params):  # chunks that are absent read as zeros
        held = sum(file.stat().st_size for file in params.rglob("*") if file.is_file())
        if claimed > MOST_INFLATED * held:
            raise ValueError(f"{held} bytes of files claim to hold {claimed}")
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
