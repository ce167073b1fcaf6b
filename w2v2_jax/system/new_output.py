"""Output that appears whole or not at all, and what a killed run left of it."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError, disk_reason, reason
from w2v2_jax.paths import is_empty_folder, refuse_special, try_folder

PARTIAL, REPLACED = "partial", "replaced"  # what is made, and what it takes the place of
ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def new_output(
    out: str | Path, option: str = "--out", *, overwrite: bool = False
) -> Iterator[Path]:
    """A temporary path beside `out` that becomes `out` if the block succeeds, and else is removed.

    overwrite: whether an output that exists is then replaced.
    Raises InputError when `out` exists, is not empty and may not be replaced, before the block or
    after it, or cannot be written.
    """
    with ended_cleanly(), _new_output(Path(out), option, overwrite=overwrite) as partial:
        yield partial


@contextlib.contextmanager
def _new_output(given: Path, option: str, *, overwrite: bool) -> Iterator[Path]:
    out = given.absolute()
    refuse_special(out, option)
    tell_leftovers(out)
    if _is_filled(out) and not overwrite:
        raise InputError(
            f"{option} {out} exists and is not empty; add --overwrite or choose another {option}"
        )
    out = Path(os.path.realpath(out))  # a link stays, and what it leads to is replaced
    try_folder(out.parent, option)
    partial = _beside(out, PARTIAL)
    try:
        with named_as(partial, given):
            yield partial
        _make_ordinary(partial)
        if not overwrite and _is_filled(out):
            raise InputError(
                f"{option} {out} exists: another command wrote it while this one ran; add "
                f"--overwrite or choose another {option}"
            )
        _put_in_place(partial, out, option)
    except OSError as error:
        raise InputError(f"{option} {out} cannot be written: {reason(error)}") from error
    except Exception as error:  # TensorFlow and safetensors have exceptions of their own
        if (why := disk_reason(error)) is None or isinstance(error, InputError):
            raise
        raise InputError(f"{option} {out} cannot be written: {why}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(out: str | Path) -> Iterator[Path]:
    """`new_output` for a file that may be replaced and whose path was tried already."""
    tell_leftovers(Path(out))
    out = Path(os.path.realpath(out))  # a link stays
    partial = _beside(out, PARTIAL)
    with ended_cleanly():
        try:
            yield partial
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def ended_cleanly() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it has made is removed.
    The process then ends by the signal."""
    got: list[int] = []

    def end(number: int, frame: object) -> None:
        for each in before:  # `timeout` and a terminal that closes send them twice
            signal.signal(each, signal.SIG_IGN)
        got.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = (n for n in ENDING if signal.getsignal(n) is signal.SIG_DFL)
        before = {number: signal.signal(number, end) for number in usual}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if got:
            sys.stdout.flush()
            os.kill(os.getpid(), got[0])


@contextlib.contextmanager
def named_as(partial: Path, out: Path) -> Iterator[None]:
    """An error that names what is being made, which nobody asked for and which is then removed,
    names the output instead."""
    try:
        yield
    except OSError as error:
        if str(error.filename or "").startswith(str(partial)):
            error.filename = str(error.filename).replace(str(partial), str(out))
        raise
    except InputError as error:
        if str(partial) not in str(error):
            raise
        raise InputError(str(error).replace(str(partial), str(out))) from error


def _beside(out: Path, kind: str) -> Path:
    """A name beside an output that nothing has yet. In containers all runs may have one number."""
    first = f".{out.name}.{kind}-{os.getpid()}"
    names = itertools.chain([first], (f"{first}-{count}" for count in itertools.count(1)))
    return next(path for path in map(out.with_name, names) if not os.path.lexists(path))


def tell_leftovers(out: Path) -> None:
    """Says on stderr what killed runs left beside an output. If one was killed while it replaced
    the output, the former output is put back. Nothing is deleted: another machine may be at it."""
    out = Path(os.path.realpath(out))
    for kind in (REPLACED, PARTIAL):
        for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.{kind}-*")):
            if _is_running(left):
                continue
            if kind == REPLACED and not os.path.lexists(out):
                left.rename(out)
                said = f"{out}: a run was killed while it replaced this; it is back as it was"
            elif kind == REPLACED:
                said = f"{left}: {out.name} as it was before a killed run replaced it; delete it"
            else:
                said = f"{left}: of an unfinished run; delete it if none is running"
            print(said, file=sys.stderr)


def _is_running(left: Path) -> bool:
    """Whether the process that made a leftover runs on this machine, and is not this one."""
    number = re.search(r"-(\d+)(-\d+)?$", left.name)
    if number is None or int(number[1]) == os.getpid():
        return False
    try:
        os.kill(int(number[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # of somebody else
    return True


def _is_filled(path: Path) -> bool:
    if path.is_dir():
        return not is_empty_folder(path)
    return path.is_file() and path.stat().st_size > 0


def _put_in_place(partial: Path, out: Path, option: str) -> None:
    """Renames `partial` to `out`. What `out` was is gone only when the new one is there; it is
    refused if it is more than a former output, by the names in it."""
    if out.is_file() and partial.is_file():
        partial.replace(out)  # at once
        return
    if not _is_filled(out):
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
        return
    if lost := sorted(_names(out) - _names(partial)):
        others = f" and {len(lost) - 1} more" if lost[1:] else ""
        raise InputError(
            f"{option} {out} would lose {lost[0]}{others}, which the new output does not have; "
            f"move it away or choose another {option}"
        )
    replaced = _beside(out, REPLACED)
    swap(partial, out, replaced)
    # Under another name: a run that is killed here leaves a part, which nobody may put back.
    rest = replaced.rename(_beside(out, PARTIAL))
    shutil.rmtree(rest, ignore_errors=True)


def swap(new: Path, out: Path, aside: Path) -> None:
    """Renames `out` to `aside` and `new` to `out`, or nothing."""
    try:
        out.rename(aside)
        new.rename(out)
    except BaseException:
        if not os.path.lexists(out) and os.path.lexists(aside):
            aside.rename(out)
        raise


def _names(path: Path) -> set[str]:
    """The files and folders in a folder and in its folders, as a/b; of a file, a name that no
    folder contains."""
    if not path.is_dir():
        return {"the file"}
    found = (child for pattern in ("*", "*/*") for child in path.glob(pattern))
    return {child.relative_to(path).as_posix() for child in found}


def _make_ordinary(path: Path) -> None:
    """Gives files the permissions of any new file: safetensors makes them for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    files = path.rglob("*") if path.is_dir() else [path]
    for file in files:
        if file.is_file() and not file.is_symlink():
            file.chmod(0o666 & ~mask)
