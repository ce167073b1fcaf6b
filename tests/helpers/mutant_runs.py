"""Runs of tests with one module changed: in forked processes, the tests that meet the change first.

The changed source exists in the forked process's imports alone: no file is touched.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.mutations import Mutant, file_of, source
from tests.helpers.places import ROOT

PATIENCE = 120, 8, 900  # seconds, times the tests without a change, at most: a mutant may hang
OPTIONAL = "not (slow or parity or deploy or decode or aot or beam or fuzz or gpu or network)"


class Observed(NamedTuple):
    """What the unchanged tests of a file did: what was wrong ("" for nothing), seconds of each,
    "module:line" that each ran, and modules of other packages that were imported."""

    trouble: str
    seconds: dict[str, float]
    lines: dict[str, list[str]]
    imported: list[str]


class Order(NamedTuple):
    """Tests that run the changed lines, the quickest first, and the files they are in."""

    tests: list[str]
    files: list[str]
    seconds: float


@functools.cache
def observe(file: str, modules: tuple[str, ...]) -> Observed:
    """One run of a file's everyday tests, in which nothing is changed."""
    with tempfile.TemporaryDirectory() as folder:
        out, shown = Path(folder) / "observed.json", Path(folder) / "shown.txt"

        def work() -> int:
            for stream in (1, 2):
                os.dup2(os.open(shown, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            recorder = _Recorder({str(file_of(module)): module for module in modules})
            before = set(sys.modules)
            status = _pytest([file], [recorder])
            other = sorted(
                name for name in set(sys.modules) - before
                if name.partition(".")[0] not in ("w2v2_jax", "tests")
            )  # fmt: skip
            # 5: none of the file's tests is an everyday one
            trouble = "" if status in (0, 5) else shown.read_text()[-3000:]
            out.write_text(json.dumps([trouble, recorder.seconds, recorder.lines(), other]))
            return 0

        _forked(work, patience=900)
        if not out.exists():
            said = shown.read_text()[-3000:] if shown.exists() else ""
            return Observed(f"it took too long or died {said}", {}, {}, [])
        return Observed(*json.loads(out.read_text()))


def order(mutant: Mutant, files: list[str], modules: tuple[str, ...]) -> Order:
    """Which tests may notice a mutant, by what they ran without it."""
    wanted = {f"{mutant.module}:{n}" for n in range(mutant.first, mutant.last + 1)}
    tests, seconds = {}, 0.0
    for file in files:
        observed = observe(file, modules)
        meets = [
            t for t, lines in observed.lines.items() if not mutant.first or wanted & set(lines)
        ]
        if meets:
            tests |= {test: observed.seconds[test] for test in meets}
            seconds += sum(observed.seconds.values())
    ordered = sorted(tests, key=tests.get)
    files = list(dict.fromkeys(test.partition("::")[0] for test in ordered))
    return Order(ordered, files, seconds)


def survives(mutant: Mutant, chosen: Order) -> bool:
    """Whether the tests pass with the mutant in its place; those that no test runs do."""
    if not chosen.tests:
        return True
    path, changed = file_of(mutant.module), source(mutant)

    def work() -> int:
        sys.meta_path.insert(0, _Changed(f"w2v2_jax.{mutant.module}", path, changed))
        return _pytest(chosen.files, [_First(chosen)])

    least, times, most = PATIENCE
    return _forked(work, patience=min(max(least, times * chosen.seconds), most)) == 0


def preload(names: list[str]) -> None:
    """Imports what every child needs and no mutant changes; no backend starts, which forks badly.

    TensorFlow stays out: it starts threads.
    """
    import jax

    out = ("tensorflow", "keras", "pytest", "_pytest")
    for name in ("flax.linen", "optax", "orbax.checkpoint", "soundfile", *names):
        if name not in sys.modules and name.partition(".")[0] not in out:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    assert not jax._src.xla_bridge._backends, "a backend must not start before the fork"


def _forked(work: Callable[[], int], *, patience: float) -> int | None:
    """The status of work in a process of its own; None where it took too long."""
    folder = tempfile.mkdtemp(prefix="mutant")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = folder
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                os.dup2(null.fileno(), 1)
                os.dup2(null.fileno(), 2)
                status = work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(int(status != 0))
    end, result = time.monotonic() + patience, None
    while time.monotonic() < end and result is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            result = os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if result is None:
        os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _pytest(files: list[str], plugins: list) -> int:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed
    return pytest.main(["-x", "-q", "-m", OPTIONAL, *files], plugins)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a changed source."""

    def __init__(self, name: str, path: Path, changed: str):
        self.name, self.path, self.changed = name, path, changed

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self.path))

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        return self.changed.encode()


class _First:
    """Has the tests that meet the change run before the others of their files."""

    def __init__(self, chosen: Order):
        self.places = {test: place for place, test in enumerate(chosen.tests)}
        self.files = {file: place for place, file in enumerate(chosen.files)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        last = len(self.places)

        def place(item):
            file = item.nodeid.partition("::")[0]
            return self.files.get(file, 0), self.places.get(item.nodeid, last)

        items.sort(key=place)


class _Recorder:
    """Which lines of the modules' files each test runs, its fixtures' among them."""

    def __init__(self, files: dict[str, str]):
        self.files = files
        self.now: set[str] = set()
        self.fixtures: dict[tuple[str, str], set[str]] = {}
        self.tests: dict[str, set[str]] = {}
        self.uses: dict[str, list[tuple[str, str]]] = {}
        self.seconds: dict[str, float] = {}

    def lines(self) -> dict[str, list[str]]:
        return {
            test: sorted(ran.union(*(self.fixtures.get(key, set()) for key in self.uses[test])))
            for test, ran in self.tests.items()
        }

    def _call(self, frame, event, _):
        module = self.files.get(frame.f_code.co_filename)
        if module is None:
            return None

        def line(frame, event, _):
            if event == "line":
                self.now.add(f"{module}:{frame.f_lineno}")
            return line

        return line

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        self.now = self.tests[item.nodeid] = set()
        defined = item._fixtureinfo.name2fixturedefs
        self.uses[item.nodeid] = [(d.argname, d.baseid) for ds in defined.values() for d in ds]
        threading.settrace(self._call)
        sys.settrace(self._call)
        start = time.monotonic()
        yield
        self.seconds[item.nodeid] = time.monotonic() - start
        sys.settrace(None)
        threading.settrace(None)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        outer, key = self.now, (fixturedef.argname, fixturedef.baseid)
        self.now = self.fixtures.setdefault(key, set())
        yield
        self.now = outer


def everyday(paths: str) -> list[str]:
    """The test files that paths name, in their order."""
    files = []
    for path in map(ROOT.joinpath, paths.split()):
        inner = sorted(path.glob("test_*.py")) if path.is_dir() else [path]
        files += [str(file.relative_to(ROOT)) for file in inner]
    return list(dict.fromkeys(files))
