"""Keeps compiled programs between runs, so that a command that ran before starts at once.

A cached program is machine code that is loaded and run, so `place` refuses unsafe folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from w2v2_jax.errors import InputError

SWITCH = "W2V2_COMPILATION_CACHE"
OFF = ("0", "false", "off", "no")
ON = ("", "1", "true", "on", "yes")
HIT = "/jax/compilation_cache/cache_hits"  # JAX's event


def enable(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Turns JAX's persistent cache on; returns its folder, or None if nothing was changed.

    The folder is that of JAX ($JAX_COMPILATION_CACHE_DIR) if it is set, else
    ~/.cache/w2v2_jax/xla/MACHINE. W2V2_COMPILATION_CACHE=0 leaves JAX unchanged. The cache is off
    for jobs of several processes on CPU, whose programs contain addresses of one job, and, with a
    line on stderr, if `place` refuses the folder.
    """
    if not switched_on(SWITCH, environ):
        return None
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        return None
    home = environ.get("HOME") or os.path.expanduser("~")
    try:
        folder = place(Path(home) / ".cache" / "w2v2_jax" / "xla" / machine())
    except OSError as error:
        print(
            f"note: compiled programs are not kept between runs ({error}); {SWITCH}=0 or "
            "JAX_COMPILATION_CACHE_DIR=FOLDER ends this note",
            file=sys.stderr,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


@contextlib.contextmanager
def hits() -> Iterator[list[str]]:
    """The programs that JAX's persistent cache gave within the block, one item each."""
    taken: list[str] = []

    def listen(event: str, **_) -> None:
        if event == HIT:
            taken.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield taken
    finally:
        jax.monitoring.unregister_event_listener(listen)


def switched_on(name: str, environ: Mapping[str, str]) -> bool:
    """Whether an environment variable is on: 1, true, on, yes or unset. InputError for a value that
    means neither yes nor no."""
    value = environ.get(name, "").lower()
    if value not in (*OFF, *ON):
        folder = "; a folder is JAX_COMPILATION_CACHE_DIR" if name == SWITCH else ""
        raise InputError(f"{name}={value!r}; use 0 or 1{folder}")
    return value in ON


def place(folder: Path) -> Path:
    """Makes a folder that nobody else can write to; OSError if that is not possible."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} can be written by others")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written")
    return folder


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A name for the kind of processor: different machines may share a home folder, and a program
    compiled on one may have instructions that another lacks."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    told = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")
    facts = sorted({line for line in lines if line.startswith(told)})
    facts = facts or [platform.processor(), platform.version()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    return f"{platform.machine() or 'unknown'}-{digest}"
