"""One run on several hosts: which process writes, what must agree, and how all hosts stop."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from w2v2_jax.errors import InputError

MESSAGE_BYTES = 1024


def is_chief() -> bool:
    """Whether this process writes the run's files and lines."""
    return jax.process_index() == 0


def log_on_chief(line: str) -> None:
    """Prints to stderr, on process 0 only."""
    if is_chief():
        print(line, file=sys.stderr)


def require_same(facts: Mapping[str, Any]) -> None:
    """Raises InputError that names the first fact in which a host differs from the chief; hosts
    that differ in shapes or order would otherwise hang in their next collective."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    texts = [json.dumps(value, sort_keys=True, default=str) for value in facts.values()]
    digests = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]
    local = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 8)
    everyone = multihost_utils.process_allgather(local)  # [processes, facts, 8]
    for place, name in enumerate(facts):
        other = (everyone[:, place] != everyone[0, place]).any(-1)
        if other.any():
            raise InputError(
                f"process {int(np.argmax(other))} has another {name} than process 0; give all "
                "hosts the same configuration, code and data"
            )


def on_all_hosts(fact: bool) -> bool:
    """Whether the fact holds on all hosts; every host has to call it."""
    if jax.process_count() == 1:
        return fact
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array([fact])).all())


def largest(number: int) -> int:
    """The largest of the hosts' whole numbers (64 bits); every host must call this."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    # As bytes: JAX would cut 64 bits to 32.
    local = np.frombuffer(np.int64(number).tobytes(), np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(local), np.uint8)
    return int(everyone.reshape(-1, 8).copy().view(np.int64).max())


def run_on_chief(action: Callable[[], None]) -> None:
    """Runs the action on the chief while the others wait; its InputError is raised on all."""
    message = ""
    if is_chief():
        try:
            action()
        except InputError as error:
            message = str(error)
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        packed = np.frombuffer(message.encode()[:MESSAGE_BYTES].ljust(MESSAGE_BYTES), np.uint8)
        packed = np.asarray(multihost_utils.broadcast_one_to_all(packed), np.uint8)
        message = packed.tobytes().decode(errors="replace").strip()
    if message:
        raise InputError(message)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Waits until the condition holds, at most for that time; returns whether it holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


SIGTERM, CTRL_C = "SIGTERM", "Ctrl-C"


class Preemption:
    """Whether to save and stop now: SIGTERM or Ctrl-C reached a process of this job.

    JAX's runtime passes SIGTERM to all hosts and picks a call of `reached` that none has made yet.
    A second Ctrl-C ends the process at once.
    """

    def __init__(self):
        self._asked, self._stop, self._calls, self._before = "", "", 0, {}

    def __enter__(self) -> Preemption:
        self._alone = jax.process_count() == 1
        if self._alone:  # else JAX's own handler is in place, and has to stay
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._ask)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell's background job
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, _) -> None:
        if number == signal.SIGTERM:
            self._asked = self._asked or SIGTERM
            return
        self._asked = self._asked or CTRL_C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Not print: the signal may have interrupted another print.
        os.write(2, b"saving, then stopping; Ctrl-C again ends at once\n")
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self) -> str:
        """The signal that asks to stop ("SIGTERM", "Ctrl-C"), or "" if there was none; later calls
        return it again. Every process must call this equally often."""
        if not self._stop:
            self._stop = self._asked if self._alone else self._met()
        return self._stop

    def _met(self) -> str:
        from jax.experimental import multihost_utils

        # A separate count that is never reset: the runtime stops all hosts at one more than the
        # highest count that it saw, and reports the stop only in that one call.
        self._calls += 1
        met = multihost_utils.reached_preemption_sync_point(self._calls)
        return (self._asked or SIGTERM) if met else ""
