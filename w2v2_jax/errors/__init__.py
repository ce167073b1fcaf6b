"""How commands report errors and use standard output: everything that the user or the state of the
machine can cause ends with one clear line and exit status 2; a bug keeps its traceback."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import importlib.util
import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable
from types import TracebackType

from w2v2_jax.errors.streams import drop_late_callbacks, fill_closed, tolerant_streams, unwritten

DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
    errno.ESTALE,
    errno.EACCES,
)
# Unicode's Bidi_Control: a terminal shows a name with one of them as another name.
_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # numpy's words, without a number
BAD_INPUT, TRY_AGAIN, INTERRUPTED = 2, 75, 130
BUG = (
    "This is a bug in w2v2_jax, not in what you gave it. Please report it with the lines above, "
    "the command and the output of `pip freeze`."
)

OURS = __name__.partition(".")[0]
# Module -> what pip calls it, where the names differ.
DISTRIBUTIONS = {"flashlight": "flashlight-text", "google": "protobuf", "hydra": "hydra-core"}
DISTRIBUTIONS |= {"absl": "absl-py", "kenlm": "ufal.kenlm", "orbax": "orbax-checkpoint"}
FITTING = "install versions that fit together, for example those of requirements.txt"


class InputError(ValueError):
    """Bad input from the user. It names the file or config path, the value, and what would work."""


def counted(number: int, noun: str) -> str:
    """ "1 utterance", "3 utterances", "0 batches": a number and what there are so many of."""
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"


def nearest(name: str, known: Iterable[str], ending: str = "", *, likeness: float = 0.6) -> str:
    """ "did you mean X?" of the known name most like `name`; "" where none is so much like it.
    ending: what follows the name."""
    close = likest(name, known, likeness=likeness)
    return f"did you mean {close[0]}{ending}?" if close else ""


def likest(name: str, known: Iterable[str], *, most: int = 1, likeness: float = 0.6) -> list[str]:
    """The known names most like `name`, the likest first; none that is less like it, 0 to 1."""
    return difflib.get_close_matches(name, list(known), n=most, cutoff=likeness)


def listed(name: str, known: Iterable[str]) -> str:
    """The known names instead of one that is not: "did you mean X? Known: X, Y", "known: X, Y"."""
    names = list(known)
    meant = nearest(name, names)
    return f"{meant + ' Known' if meant else 'known'}: {', '.join(names)}"


def one_field(text: str) -> str:
    """A text as a field of a line: tabs, line breaks and other control characters as \\t, \\n,
    \\x1b, those of the writing direction among them; all else, spaces among it, as it is."""
    control = ("Cc", "Zl", "Zp")
    return "".join(
        ascii(c)[1:-1] if c in _DIRECTION or unicodedata.category(c) in control else c for c in text
    )


def printable(text: str) -> str:
    """One line without control characters: a file's name or content must not steer a terminal."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def report(error: BaseException) -> None:
    """Prints an error as one line, in a command that then continues without the named input."""
    print(f"error: {printable(reason(error) or str(error))}", file=sys.stderr)


def run_command(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> int:
    """Runs a command line and returns its exit status: 0; or that of `exit_status`, with one line
    on stderr and no traceback, if `reason` knows the error; or 130 if it was interrupted. Other
    exceptions are bugs and are raised."""
    status = 0
    fill_closed()
    drop_late_callbacks()
    with tolerant_streams() as streams:
        try:
            main(argv)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            if reason(error) is None:
                error.add_note(BUG)
                raise
            report(error)
            status = exit_status(error)
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.flush()
            if (lost := unwritten(stream)) and not isinstance(lost, BrokenPipeError):
                print(f"error: standard output: {lost.strerror}", file=sys.stderr)
                status = BAD_INPUT
    return status


def run_module(module: str) -> int:
    """`run_command` of a module's `main`; Ctrl-C may come while the module is imported."""
    return run_command(lambda argv: importlib.import_module(module).main(argv))


def exit_status(error: BaseException) -> int:
    """The status for an error that has a `reason`: 2, after which launchers do not try again, or 75
    for a broken connection, after which the same command may succeed."""
    lost = isinstance(error, (ConnectionError, TimeoutError)) and not isinstance(
        error, BrokenPipeError
    )
    return TRY_AGAIN if lost else BAD_INPUT


def reason(error: BaseException) -> str | None:
    """One line about an exception that input or the state of a machine causes; None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"out of memory{detail}; give smaller batches or use a machine with more"
    if (broken := broken_import(error)) is not None:
        return broken
    if "RESOURCE_EXHAUSTED" in str(error):
        first = str(error).splitlines()[0]
        return (
            f"the device has too little memory: {first}; give smaller batches, or in training "
            "a larger train.accumulate"
        )
    return disk_reason(error) or _system_reason(error) or _no_device(error)


def lacking(error: ImportError, needed: str, install: str) -> str:
    """One line about an optional package, from what its import raised in the function that asks.

    needed: what needs it, as "--romanise needs uroman". install: the command that installs it.
    """
    bare = error.__traceback__ is None or error.__traceback__.tb_next is None
    if isinstance(error, ModuleNotFoundError) and bare:
        return f"{needed}: {install}"
    return f"{needed}, which is installed but cannot be imported: {_told(error)}"


def broken_import(error: BaseException) -> str | None:
    """One line about an exception that the import of somebody else's module raised, whatever its
    kind: shared libraries that are missing, versions that do not fit. None for any other."""
    module = _imported(error)
    if module is None:
        return None
    if (absent := _absent(error)) is not None:
        return f"this needs the package {absent}"
    name = DISTRIBUTIONS.get(module, module)
    return f"the package {name} is installed but cannot be imported: {_told(error)}"


def _imported(error: BaseException) -> str | None:
    """The top-level module whose import raised an exception; None if none did, or one of ours."""
    module, entry = None, error.__traceback__
    while entry is not None:
        if _module(entry).partition(".")[0] == OURS:
            module = None
        elif module is None and entry.tb_frame.f_code.co_name == "<module>":
            module = _module(entry).partition(".")[0]
        entry = entry.tb_next
    if module is None and isinstance(error, ImportError) and error.name:
        module = error.name.partition(".")[0]
    return None if module in (OURS, "__main__") else module


def _module(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__", ""))


def _told(error: BaseException) -> str:
    """The reason and the remedy."""
    if (absent := _absent(error)) is not None:
        return f"it needs {absent}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
    reason = lines[0][:200].rstrip(".") if lines else type(error).__name__
    return f"{kind}{reason}; {FITTING}"


def _absent(error: BaseException | None) -> str | None:
    """The package that is not installed, and how to install it; None if the import failed for
    another reason. An ImportError may be raised from that of a package that it needs."""
    while isinstance(error, ImportError):
        top, dot, _ = (error.name or "").partition(".")
        if isinstance(error, ModuleNotFoundError) and top:
            if dot and importlib.util.find_spec(top) is not None:
                return None  # only this part of the package is not there
            return f"{top}, which is not installed: pip install {DISTRIBUTIONS.get(top, top)}"
        error = error.__cause__ or error.__context__
    return None


def _system_reason(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    text = error.strerror or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError) and not _has_place():
        text += "; the current directory has been removed: change to one that exists"
    return f"{error.filename}: {text}" if error.filename is not None else text


def _has_place() -> bool:
    """Whether the current directory is still there."""
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _no_device(error: BaseException) -> str | None:
    """JAX has no single exception for a backend that does not start; where it was raised tells."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not frames[-1].filename.endswith("xla_bridge.py"):
        return None
    detail = str(error).partition(" (set JAX_PLATFORMS")[0] or "no such device is usable"
    platforms = os.environ.get("JAX_PLATFORMS", "")
    return (
        f"JAX_PLATFORMS={platforms}: {detail}; unset it to use what this machine has, or install "
        "JAX for that device (jax[cuda13], jax[tpu])"
    )


def disk_reason(error: BaseException | None) -> str | None:
    """Why a disk refused a write, from an exception and its causes; None for any other error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return f"{error.strerror}" + (f" ({error.filename})" if error.filename else "")
        if isinstance(error, OSError) and _CUT_SHORT.fullmatch(str(error)):
            return os.strerror(errno.ENOSPC)
        text = next((os.strerror(n) for n in DISK_ERRORS if os.strerror(n) in str(error)), None)
        if text:
            return text
        error = error.__cause__ or error.__context__
    return None
