"""Standard input, output and error of a command: closed, full, without a reader, or with what
libraries print."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

LATE = "Event loop is closed"
_CHATTER = threading.RLock()  # two threads that exchange the descriptor would lose the real one


@contextlib.contextmanager
def without_chatter() -> Iterator[BinaryIO]:
    """Keeps what C libraries write to the process's standard error from it, in the file that it
    gives. Use it around short calls, or in a process that does one thing at a time."""
    with _CHATTER, tempfile.TemporaryFile() as kept:
        if sys.stderr is not None:
            sys.stderr.flush()
        stderr_copy = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            yield kept
        finally:
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)


class _Stream(io.FileIO):
    """Standard output or error whose reader may end (`| head -1`) or whose disk may be full: what
    cannot be written is dropped, and the work continues."""

    lost: OSError | None = None

    def write(self, data) -> int:
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
        return len(data)


def unwritten(stream) -> OSError | None:
    """Why output to a stream under `run_command` was lost; None if nothing was lost."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, _Stream) else None


def fill_closed() -> None:
    """Gives a process that was started without standard input, output or error (`2>&-`) an empty
    one. Else the first files that it opens get those numbers, with what libraries print in them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "w" if number else "r"
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)  # which workers inherit
            if nothing != number:
                os.close(nothing)
            os.set_inheritable(number, True)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def drop_late_callbacks() -> None:
    """Keeps a traceback from standard error that tells nothing: after a save or a read that failed,
    threads of TensorStore find Orbax's event loop closed, up to the end of the process. What failed
    is raised elsewhere. Nothing else that cannot be raised is dropped."""
    before = sys.unraisablehook
    if getattr(before, "drops_late_callbacks", False):
        return

    def hook(unraisable) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == LATE):
            before(unraisable)

    hook.drops_late_callbacks = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


@contextlib.contextmanager
def tolerant_streams() -> Iterator[list[io.TextIOWrapper]]:
    """Makes standard output and error raise neither for a reader that has ended nor for a letter
    that their encoding lacks (it is printed as \\xe9). Streams of a test or notebook stay."""
    before, streams = (sys.stdout, sys.stderr), list[io.TextIOWrapper]()
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        if old is None or old is not getattr(sys, f"__{name}__"):
            continue
        with contextlib.suppress(OSError, ValueError):
            old.flush()
            raw = _Stream(old.fileno(), "w", closefd=False)
            errors = old.errors if old.errors in ("replace", "ignore") else "backslashreplace"
            new = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=old.encoding,
                errors=errors,
                # Under PYTHONUNBUFFERED, which containers set, a stream is not line buffered but
                # writes everything at once.
                line_buffering=old.line_buffering or old.write_through,
            )
            setattr(sys, name, new)
            streams.append(new)
    try:
        yield streams
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before
