"""Which checkpoint a run resumes from: the newest complete one, or one from before an alarm."""

from __future__ import annotations

import contextlib
import itertools

import jax
import orbax.checkpoint as ocp

from w2v2_jax.checkpoint.checksum import sums
from w2v2_jax.checkpoint.description import check_format
from w2v2_jax.checkpoint.files import Manager
from w2v2_jax.errors import InputError, disk_reason
from w2v2_jax.paths import AnyPath
from w2v2_jax.system import hosts
from w2v2_jax.train_step import TrainState
from w2v2_jax.trees import name_of

DAMAGED = "damaged_checkpoints"


def restore(checkpoints: Manager, abstract: TrainState) -> TrainState | None:
    """The newest complete state on its mesh, or None if nothing was saved yet.

    A checkpoint that cannot be read, or whose checksum differs, is reported and moved aside, and
    the one before it is used. Raises InputError if none is left (then nothing is moved), or if the
    newest has another configuration or format: a run never starts from the beginning by itself.
    """
    reasons: dict[AnyPath, str] = {}
    steps = sorted(checkpoints.all_steps(), reverse=True)
    hosts.require_same({"list of checkpoints": steps})
    for step in steps:
        folder, state = checkpoints.directory / str(step), None
        try:
            state, checksum = _read(folder, abstract)
        except _Damaged as error:
            reasons[folder] = str(error)[:200]
        if hosts.on_all_hosts(state is not None):
            assert state is not None
            if hosts.on_all_hosts(_is_whole(state, checksum)):
                _move_aside(checkpoints, reasons)
                return state
            reasons[folder] = "its values differ from their checksum"
        reasons.setdefault(folder, "another host could not read it")
    if reasons:
        folder, reason = next(iter(reasons.items()))
        raise InputError(
            f"{folder} is damaged ({reason}) and so are all before it; put one back from a copy, "
            "or use another --workdir"
        )
    return None


def _move_aside(checkpoints: Manager, reasons: dict[AnyPath, str]) -> None:
    """Moves them to WORKDIR/damaged_checkpoints, away from Orbax and later saves."""
    for where, reason in reasons.items():
        folder = where.parent.parent / DAMAGED
        names = (folder / (f"{where.name}.{n}" if n else where.name) for n in itertools.count())

        def move(where=where, folder=folder, names=names):
            folder.mkdir(parents=True, exist_ok=True)
            where.rename(next(name for name in names if not name.exists()))

        hosts.run_on_chief(move)
        hosts.log_on_chief(
            f"warning: {where} is damaged ({reason}); moved to {folder}, taking one before"
        )
    if reasons:
        checkpoints.reload()


class _Damaged(Exception):
    """A checkpoint that cannot be read completely."""


def _read(where: AnyPath, abstract: TrainState) -> tuple[TrainState, dict[str, int] | None]:
    """A step's state and the checksums stored with it.

    It uses Orbax's handlers without a barrier, so a host that fails alone can say so.
    """
    wanted = {"params": abstract.params, "training": abstract.training}
    handler = ocp.StandardCheckpointHandler()
    with contextlib.closing(handler):
        with _reading():
            model = ocp.JsonCheckpointHandler().restore(where / "model")
            trees = {name: handler.metadata(where / name).tree for name in wanted}
        if missing := [name for name, tree in trees.items() if tree is None]:
            raise _Damaged(f"{missing[0]} is gone or cut short")
        check_format(model, str(where))
        _check_fits(where, wanted, trees)
        with _reading():
            params, training = (
                handler.restore(where / name, args=ocp.args.StandardRestore(tree))
                for name, tree in wanted.items()
            )
    state = TrainState(params=params, **training)
    return state, model.get("checksum")


def _check_fits(where: AnyPath, wanted: dict, trees: dict) -> None:
    for name, tree in wanted.items():
        if different := sorted(set(_shapes(tree)) ^ set(_shapes(trees[name]))):
            raise InputError(
                f"{where} does not fit this configuration: {name} differs in {different[0]}; "
                "use another --workdir, or the configuration it was saved with"
            )


def _is_whole(state: TrainState, checksum: dict[str, int] | None) -> bool:
    """Whether the values are those that were saved; all hosts have to call it."""
    checksums = sums(state.params, state.training)
    return checksum is None or checksum == checksums


@contextlib.contextmanager
def _reading():
    """Turns what Orbax and TensorStore raise for an incomplete, missing or corrupt file into
    _Damaged. A disk that refuses to read does not mean that the checkpoint is damaged."""
    try:
        yield
    except Exception as error:
        if disk_reason(error):
            raise
        text = " ".join(str(error).split()).partition(" See full TensorStore")[0]
        raise _Damaged(text or type(error).__name__) from error


def _shapes(tree) -> list[tuple[str, tuple[int, ...]]]:
    return [
        (name_of(path), tuple(x.shape)) for path, x in jax.tree_util.tree_leaves_with_path(tree)
    ]


def forget(checkpoints: Manager, wanted: int, before: int) -> int | None:
    """Deletes the checkpoints after the newest one up to step `wanted`, or else after the newest
    one below `before`; returns its step, or None if there is none (then nothing is deleted)."""
    checkpoints.wait_until_finished()
    steps = sorted(checkpoints.all_steps())
    good = [s for s in steps if s <= wanted] or [s for s in steps if s < before]
    if not good:
        return None
    for step in steps:
        if step > good[-1]:
            checkpoints.delete(step)
    return good[-1]
