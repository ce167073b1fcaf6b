"""A run's folder: one run at a time, and one configuration for its whole life."""

from __future__ import annotations

import contextlib
import fcntl
import json

import jax

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import EXECUTION_OF_FORMAT_1
from w2v2_jax.errors import InputError, disk_reason
from w2v2_jax.experiment.settings import INHERIT
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.diversity import group_rows
from w2v2_jax.paths import AnyPath, is_remote
from w2v2_jax.system import hosts

VISIBLE_SECONDS = 60  # a network file system may show another host's file this late


@contextlib.contextmanager
def lock(workdir: AnyPath):
    """Holds the workdir for this run; a second run in it is an InputError.

    The chief holds it for all hosts. An object store knows no locks: there nothing is held.
    """
    with contextlib.ExitStack() as held:
        if not is_remote(workdir):
            hosts.run_on_chief(lambda: _acquire(workdir, held))
        yield


def _acquire(workdir: AnyPath, held: contextlib.ExitStack) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = held.enter_context((workdir / ".lock").open("w"))
    except OSError as error:
        raise InputError(f"--workdir {workdir}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"--workdir {workdir} is in use by another run") from None


def save_config(workdir: AnyPath, config: dict) -> None:
    """Writes the resolved configuration; a resumed run's must be the same but for its length.

    Raises InputError on every host where the workdir is not one that all of them see.
    """
    path = workdir / "config.json"
    text = json.dumps(config, indent=1, sort_keys=True, default=list) + "\n"

    def write():
        if path.exists():
            _check_same(json.loads(path.read_text("utf-8")), json.loads(text), workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    hosts.run_on_chief(write)

    def visible():
        return path.exists() and path.read_text("utf-8") == text

    if not hosts.wait_until(visible, seconds=VISIBLE_SECONDS):
        raise InputError(
            f"--workdir {workdir} is not the same folder on all hosts; use a shared file system "
            "or an object store (gs://..., s3://...)"
        )


def _check_same(old: dict, new: dict, workdir: AnyPath) -> None:
    """Data order, network, objective and dtype must not change under a run; rhythm, mesh and how
    else it is computed may."""
    old_model, old_execution = _apart(old)
    old = {**old, "model": old_model}
    inherits = old_model.get("family") == INHERIT and "execution" not in old
    before = old_execution.get("dtype", Execution.dtype)
    now = (new.get("execution") or {}).get("dtype", Execution.dtype)
    if before != now and not (inherits and "dtype" not in old_execution):
        raise InputError(
            f"--workdir {workdir} was started with config.execution.dtype={before}, now {now}; "
            "use a new --workdir"
        )
    if _lengths(old) == _lengths(new):
        old, new = _in_rows(old), _in_rows(new)
    for section in ("seed", "model", "objective", "vocabulary", "optimizer"):
        if old.get(section) != new.get(section):
            raise InputError(
                f"--workdir {workdir} was started with another config.{section}: "
                f"{old.get(section)} there, {new.get(section)} now; use a new --workdir"
            )
    for key in ("train", "mode", "bucket_seconds", "batch_seconds", "row_multiple", "min_seconds"):
        if old["data"].get(key) != new["data"].get(key):
            raise InputError(
                f"--workdir {workdir} was started with config.data.{key}={old['data'].get(key)}, "
                f"now {new['data'].get(key)}; use a new --workdir"
            )


def _lengths(config: dict) -> list[float]:
    return sorted(config["data"].get("bucket_seconds", ()))


def _in_rows(config: dict) -> dict:
    """A configuration with a diversity group's rows in each bucket, which once were a setting, in
    the place of its seconds, and with the shortest crop that there is as the least length."""
    objective, data, lengths = dict(config["objective"]), dict(config["data"]), _lengths(config)
    rows = [objective.pop("diversity_group_rows", None)] * len(lengths)
    seconds = objective.pop("diversity_group_seconds", None)
    if seconds is not None:
        rows = [group_rows(seconds, round(length * SAMPLE_RATE)) for length in lengths]
    if lengths and data.get("mode") == "crop":
        data["min_seconds"] = max(data.get("min_seconds", 0), lengths[0])
    return {**config, "objective": {**objective, "rows of a diversity group": rows}, "data": data}


def _apart(config: dict) -> tuple[dict, dict]:
    """The sections model and execution of a stored configuration: once the first held both, and
    a network inherited from a checkpoint came with the checkpoint's dtype."""
    model, execution = dict(config.get("model", {})), dict(config.get("execution") or {})
    once = {name: model.pop(name) for name in EXECUTION_OF_FORMAT_1 if name in model}
    return model, once | execution


@contextlib.contextmanager
def disk_errors(workdir: AnyPath):
    """Turns what a full, read-only or vanished disk raises into an InputError of one line.

    Checkpoints reach the disk by Orbax and TensorStore, which raise errors of their own types.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = disk_reason(error)
        if isinstance(error, TimeoutError) and jax.process_count() == 1:  # else a host is gone
            reason = f"writing took too long, or the clock jumped ({str(error)[:100]})"
        if reason is None:
            raise
        raise InputError(
            f"--workdir {workdir}: {reason}; the checkpoints before are whole: the same command "
            "goes on from there once this is mended"
        ) from error
