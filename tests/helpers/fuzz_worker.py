"""One reader against damaged files for so many seconds.

python -m tests.helpers.fuzz_worker CASE SECONDS SEED FOLDER

Prints one JSON line: examples, how many were read, findings. A finding is another exception than
InputError, a reader that takes more than HANG seconds of CPU (or waits STUCK), or one that makes
the process grow by more than GROWTH bytes; its files are kept in FOLDER/finding-N. FOLDER/now holds
the files being read, so that they are known when the process itself dies. The address space is
limited.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

HANG = 5.0  # seconds of CPU, so that a busy machine makes no findings
STUCK = 60.0  # seconds of waiting
GROWTH = 512 << 20
ROOM = 4 << 30  # of address space beyond what the libraries take


class Hang(BaseException):
    """Nothing catches it."""


class Finding(Exception):
    """What must not happen, with a signature that tells one from another."""


class Done(KeyboardInterrupt):
    """The time is up; hypothesis lets this one through."""


def _alarm(*_):
    raise Hang


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Fuzz:
    """A case, its seeds, and what was found so far."""

    def __init__(self, name: str, folder: Path):
        from tests.helpers.fuzz_cases import CASES

        self.folder, self.now = folder, folder / "now"
        self.case = CASES[name]
        (folder / "seeds").mkdir(parents=True)
        self.seeds = self.case.seeds(folder / "seeds")
        self.known: dict[str, str] = {}
        self.examples = self.accepted = 0

    def read(self, files: dict[str, bytes]) -> None:
        """Raises Finding where the reader does what it must not."""
        from tests.helpers.fuzz_cases import write
        from w2v2_jax.errors import InputError

        shutil.rmtree(self.now, ignore_errors=True)
        self.now.mkdir()
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            write(files, self.now)
        self.examples += 1
        before, start = peak(), time.process_time()
        try:
            signal.setitimer(signal.ITIMER_PROF, HANG)
            signal.setitimer(signal.ITIMER_REAL, STUCK)
            try:
                self.case.read(self.now)
                self.accepted += 1
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
        except InputError:
            pass
        except Hang:
            raise Finding("a hang") from None
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "w2v2_jax" in f.filename] or frames
            place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            raise Finding(f"{type(error).__name__} at {place}: {str(error)[:200]}") from error
        if time.process_time() - start > HANG:
            raise Finding(f"took {time.process_time() - start:.1f} s")
        if peak() - before > GROWTH:
            raise Finding(f"took {(peak() - before) >> 20} MiB")

    def attempt(self, files: dict[str, bytes]) -> None:
        """`read`, once for each kind of finding; hangs and growth are kept and not shrunk."""
        try:
            self.read(files)
        except Finding as found:
            signature = str(found).partition(": ")[0]
            if signature in self.known:
                return
            if signature.startswith(("a hang", "took")):
                self.keep(str(found))
                return
            raise

    def keep(self, found: str) -> None:
        signature = found.partition(": ")[0]
        target = self.folder / f"finding-{len(self.known)}"
        shutil.copytree(self.now, target)
        self.known[signature] = found
        print(f"{found} -> {target}", file=sys.stderr, flush=True)


def search(fuzz: Fuzz, seconds: float, seed: int) -> None:
    import hypothesis
    from hypothesis import strategies as st

    from tests.helpers.fuzz_mutations import damaged

    end = time.monotonic() + seconds

    class Drawn:
        def __init__(self, data):
            self.data = data

        def number(self, low, high):
            return self.data.draw(st.integers(low, high))

    def example(data):
        if time.monotonic() > end:
            raise Done
        choose = Drawn(data)
        fuzz.attempt(damaged(fuzz.seeds[choose.number(0, len(fuzz.seeds) - 1)], choose))

    for number, files in enumerate(fuzz.seeds, 1):  # whole files must be read without a word
        fuzz.read(files)
        assert fuzz.accepted == number, f"a whole file is refused: {list(files)}"
    while time.monotonic() < end:
        seed += 1
        run = hypothesis.settings(
            max_examples=300, deadline=None, database=None, report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck), print_blob=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        )(hypothesis.seed(seed)(hypothesis.given(st.data())(example)))  # fmt: skip
        try:
            run()
        except Done:
            return
        except Finding as found:
            fuzz.keep(str(found))


def main(name: str, seconds: str, seed: str, folder: str) -> None:
    os.environ["JAX_PLATFORMS"] = "cpu"
    warnings.simplefilter("ignore")
    fuzz = Fuzz(name, Path(folder))
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    signal.signal(signal.SIGALRM, _alarm)
    signal.signal(signal.SIGPROF, _alarm)
    search(fuzz, float(seconds), int(seed))
    result = {
        "case": name, "examples": fuzz.examples, "read": fuzz.accepted,
        "findings": list(fuzz.known.values()), "grown_mib": peak() >> 20,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
