"""The line protocol of a peer's process: one JSON object per line, over its own stdin and stdout.

Imports nothing heavy. A side first says {"ready": facts}; for every line "run" it answers
{"seconds": s}; at "end" it answers {"peak_memory_bytes": n} and ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from w2v2_jax.errors import InputError


def resident_peak_bytes() -> int:
    """The largest resident size of this process so far. On Linux that of its own memory: getrusage
    also counts what the process that started it had."""
    import resource

    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(prepare: Callable[[], tuple[dict, Callable, Callable]]) -> None:
    """Runs a side. prepare() -> (facts, run, peak): run takes one step and waits for its result,
    peak gives bytes. Whatever libraries print goes to stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def say(**value):
            answers.write(json.dumps(value) + "\n")
            answers.flush()

        try:
            facts, run, peak = prepare()
        except InputError as error:
            say(error=str(error))
            return
        say(ready=facts)
        for line in sys.stdin:
            if line.strip() == "end":
                say(peak_memory_bytes=peak())
                return
            start = time.perf_counter()
            run()
            say(seconds=time.perf_counter() - start)


class Side:
    """A process that runs one side of a comparison, from the parent's point of view."""

    def __init__(self, name: str, module: str, folder: Path, *options: str, stderr=None):
        self.name = name
        command = [sys.executable, "-m", module, str(folder), *options]
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # torch uses one GPU
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": first},
        )
        self.facts: dict = {}

    def wait_ready(self) -> dict:
        """What the side says of itself, once it can run."""
        self.facts = self._answer()["ready"]
        return self.facts

    def run(self) -> float:
        """Seconds of one step."""
        self._tell("run")
        return self._answer()["seconds"]

    def end(self) -> int:
        """Ends the side; its peak memory in bytes."""
        self._tell("end")
        peak = self._answer()["peak_memory_bytes"]
        self._process.wait()
        return peak

    def kill(self) -> None:
        """Ends the process if it still runs, and closes the pipes to it."""
        with self._process:
            if self._process.poll() is None:
                self._process.kill()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # it was started with pipes
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended early; see above"}
        if "error" in answer:
            raise InputError(f"--peer: {self.name}: {answer['error']}")
        return answer
