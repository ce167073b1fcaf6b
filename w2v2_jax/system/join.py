"""Joining a run of many hosts: the address, the runtime, and ends that every host notices."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

from w2v2_jax.errors import InputError, exit_status, reason, report
from w2v2_jax.system.hosts import is_chief

LOST = 75  # EX_TEMPFAIL: another host died; the same command on all hosts resumes
HEARTBEAT_SECONDS = 30  # a host that is silent for so long counts as dead
JOIN_SECONDS = 300
LINGER_SECONDS = 3  # the coordinator goes last, so that the others can say why they end
PEER_ERRORS = re.compile(
    r"gloo|nccl|coordination|heartbeat|unavailable|barrier|connection (closed|reset)|socket"
    r"|preempted|peer",
    re.IGNORECASE,
)
SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
WITNESS = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if b"done" not in sys.stdin.buffer.read():
    sys.stderr.write(sys.argv[1])
"""


class Address(NamedTuple):
    """Where this process stands in the job; None: JAX asks the TPU or SLURM runtime itself."""

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """--coordinator, --num-processes and --process-id."""
    parser.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help='process 0 of a run on several hosts, or "auto" on a TPU pod; SLURM steps and '
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID are found without it",
    )
    parser.add_argument(
        "--num-processes", type=int, metavar="N", help="how many processes the run has"
    )
    parser.add_argument(
        "--process-id", type=int, metavar="I", help="which of them this one is, from 0"
    )


def find(flags: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Address | None:
    """The job this process belongs to, from flags, then the environment; None when it is alone.

    Raises InputError if a part is missing or does not fit the others.
    """
    if flags.coordinator == "auto":
        return Address()
    values: tuple = (flags.coordinator, flags.num_processes, flags.process_id)
    names = "--coordinator HOST:PORT, --num-processes N and --process-id I"
    if all(value is None for value in values):
        variables = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        values = tuple(environ.get(name) or None for name in variables)
        if all(value is None for value in values):
            on_slurm = int(environ.get("SLURM_NTASKS") or 1) > 1
            return Address() if on_slurm and all(name in environ for name in SLURM_STEP) else None
        names = ", ".join(variables)
    if None in values:
        raise InputError(f"a run on several hosts needs all of {names}; got {values}")
    return _checked(values, names)


def _checked(values: tuple, names: str) -> Address | None:
    try:
        coordinator, count, number = values[0], int(values[1]), int(values[2])
    except ValueError:
        raise InputError(f"{names}: N and I must be whole numbers, got {values[1:]}") from None
    host, colon, port = coordinator.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise InputError(f"{names}: the coordinator {coordinator!r} is not HOST:PORT")
    if not 0 <= number < count:
        raise InputError(f"{names}: process {number} is outside 0..{count - 1}")
    return Address(coordinator, count, number) if count > 1 else None


@contextlib.contextmanager
def joined(address: Address | None) -> Iterator[None]:
    """A context in which this process is part of the job; if it is alone (None), nothing happens.

    An exception inside ends the process at once, with one line and without waiting for the
    others: status 2 for bad input, LOST for a lost host, 1 for anything else. A witness process
    reports every other end (the runtime aborts a process whose coordinator is gone).
    """
    if address is None:
        yield
        return
    with _witness(address) as witness:
        try:
            _initialize(address)
            yield
            jax.distributed.shutdown()
        except BaseException as error:  # cleaning up would wait for hosts that are gone
            sys.stdout.flush()
            status = explain(error)
            _dismiss(witness)
            sys.stderr.flush()
            if jax.distributed.is_initialized() and is_chief():
                time.sleep(LINGER_SECONDS)
            os._exit(status)


def _initialize(address: Address) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    explicit = {} if address.coordinator is None else address._asdict()
    if explicit:
        explicit["coordinator_address"] = explicit.pop("coordinator")
        explicit["cluster_detection_method"] = "deactivate"
    try:
        jax.distributed.initialize(
            **explicit,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        coordinator = address.coordinator or "the runtime's own coordinator"
        raise InputError(f"could not join the run at {coordinator}: {error}") from error


@contextlib.contextmanager
def _witness(address: Address) -> Iterator[subprocess.Popen]:
    """A child that outlives this process and prints one line unless told that it ended normally."""
    who = "" if address.process_id is None else f" {address.process_id} of {address.num_processes}"
    line = (
        f"error: process{who} of this run ended before its time: another host died, or this one "
        "was killed (see above); the same command on all hosts resumes from the newest checkpoint\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", WITNESS, line],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield child
        _dismiss(child)
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.wait()


def _dismiss(child: subprocess.Popen) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.write(b"done")
        child.stdin.flush()


def explain(error: BaseException) -> int:
    """Prints why a process of a larger job ends; returns its exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    text = " ".join(str(error).split())
    ours = isinstance(error, InputError) or not isinstance(error, (RuntimeError, ValueError))
    if not ours and PEER_ERRORS.search(text):
        print(
            "error: another host of this run died; the same command on all hosts resumes from the "
            f"newest checkpoint ({text[:200]})",
            file=sys.stderr,
        )
        return LOST
    if reason(error) is not None:
        report(error)
        return exit_status(error)
    traceback.print_exception(error)
    return 1
