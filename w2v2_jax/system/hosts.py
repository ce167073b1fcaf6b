"""Many hosts, one run: joining it, who writes, what must agree, and ends that everybody notices."""

from __future__ import annotations

import hashlib
import json
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
    """Prints to stderr, on the chief alone."""
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
    """Whether the fact holds on all hosts; every one of them must ask."""
    if jax.process_count() == 1:
        return fact
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array([fact])).all())


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
    """Whether the condition comes true in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


class Preemption:
    """Whether to save and stop now: a SIGTERM to this process, or to any process of the job.

    JAX's runtime carries the notice to all hosts and picks a step that none has passed.
    """

    def __init__(self):
        self._asked = False

    def __enter__(self) -> Preemption:
        self._alone = jax.process_count() == 1
        if self._alone:  # else JAX's own handler is in place, and has to stay
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, *_) -> None:
        self._asked = True

    def __exit__(self, *_) -> None:
        if self._alone:
            signal.signal(signal.SIGTERM, self._before)

    def reached(self, step: int) -> bool:
        """Every process must ask this at every step."""
        if self._alone:
            return self._asked
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)
