"""A run's folder: one run at a time, one configuration for the whole run, and its disk errors."""

from __future__ import annotations

import contextlib
import fcntl

import jax

from w2v2_jax.checkpoint.files import FOLDER, has_saved
from w2v2_jax.errors import InputError, disk_reason
from w2v2_jax.paths import AnyPath, is_remote, json_text, try_folder, write_json, write_text
from w2v2_jax.system import hosts
from w2v2_jax.train import run_record

VISIBLE_SECONDS = 60  # a network file system may show another host's file this late


@contextlib.contextmanager
def lock(workdir: AnyPath):
    """Holds the workdir for this run; a second run in it is an InputError.

    Process 0 holds it for all hosts. An object store has no locks, so nothing is held there.
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
    try_folder(workdir / FOLDER, "--workdir")  # else the first checkpoint would tell, after hours


def save_record(workdir: AnyPath, config: dict, facts: dict) -> None:
    """Writes config.json, the configuration as it was given, and run.json (see `run_record`), and
    reports what changed since the run began. A run that saved no checkpoint has nothing to resume:
    it may start again with any configuration.

    Raises InputError if a change is refused, and on every host if not all hosts see the same
    workdir.
    """
    path = workdir / "config.json"
    text = json_text(config, indent=1, sort_keys=True) + "\n"

    def write():
        if has_saved(workdir):
            if unknown := run_record.not_compared(workdir):
                hosts.log_on_chief(f"warning: {workdir}: {unknown}")
            for line in run_record.check_facts(workdir, facts):
                hosts.log_on_chief(f"warning: resuming with another {line}")
        elif changed := run_record.changes(workdir, facts).refused:
            hosts.log_on_chief(
                f"{workdir} has no checkpoint: it starts again with another {'; '.join(changed)}"
            )
            (workdir / run_record.FILE).unlink(missing_ok=True)  # the starts are another run's
        write_json(workdir / run_record.FILE, run_record.with_start(workdir, facts))
        write_text(path, text)

    hosts.run_on_chief(write)

    def visible():
        return path.exists() and path.read_text("utf-8") == text

    if not hosts.wait_until(visible, seconds=VISIBLE_SECONDS):
        raise InputError(
            f"--workdir {workdir} is not the same folder on all hosts; use a shared file system "
            "or an object store (gs://..., s3://...)"
        )


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
        if isinstance(error, TimeoutError) and jax.process_count() == 1:  # else a host has died
            reason = f"writing took too long, or the clock jumped ({str(error)[:100]})"
        if reason is None:
            raise
        saved = True
        with contextlib.suppress(OSError):  # the disk may be gone
            saved = has_saved(workdir)
        kept, goes_on = "the earlier checkpoints are complete", "resumes from there"
        if not saved:
            kept, goes_on = "no checkpoint was saved yet", "starts from the beginning"
        raise InputError(
            f"--workdir {workdir}: {reason}; {kept}: once this is corrected, the same command "
            f"{goes_on}"
        ) from error
