"""Do the tests notice a changed decision? One change at a time, and the tests that guard it.

python -m tests.helpers.mutants [--module NAME ...] [--each 12] [--seed 0] [--all] [--json OUT]

A mutant is one module with one comparison, operator, number, `min` for `max`, negation, branch or
refusal changed, inside a function. It is killed where one of the module's tests fails, or takes
too long. The changed source exists in a forked process's imports alone: no file is touched.
Survivors that cannot be noticed, or are not worth it, stand with a reason in
tests/golden/mutant_survivors.json; every other survivor is a gap. Status 1 under a score of 90 %.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.helpers.places import GOLDEN, ROOT

REASONS = GOLDEN / "mutant_survivors.json"
GOAL = 0.9
PATIENCE = 240  # seconds: a mutant may never end
RUNS = "tests/train/test_train.py tests/train/test_run_life.py tests/train/test_warm_start.py"
# Module -> the tests that guard what it decides, the quickest first.
MODULES = {
    "checkpoint.description": "tests/checkpoint tests/interop/test_hugging_face.py",
    "checkpoint.files": f"tests/checkpoint {RUNS}",
    "checkpoint.checksum": f"tests/checkpoint {RUNS}",
    "data.buckets": "tests/data/test_plan.py",
    "data.epochs": "tests/data/test_plan.py",
    "data.plan": "tests/data/test_plan.py",
    "data.feed": f"tests/data {RUNS}",
    "evaluation.scoring": "tests/evaluation/test_scoring.py tests/evaluation/test_statistics.py "
    "tests/evaluation/test_evaluate.py",
    "interop.names": "tests/interop/test_parity_hugging_face.py tests/interop/test_hugging_face.py "
    "tests/interop/test_errors.py tests/interop/test_parity_fairseq.py",
    "interop.tokenizer": "tests/interop/test_hugging_face.py tests/interop/test_errors.py",
    "objectives.contrastive": "tests/objectives",
    "objectives.ctc": "tests/objectives",
    "objectives.ctc_loss": "tests/objectives/test_ctc_loss.py tests/objectives/test_ctc.py",
    "objectives.diversity": "tests/objectives",
    "optimizer": "tests/test_optimizer.py",
    "system.hosts": f"tests/system/test_hosts.py {RUNS}",
    "system.join": "tests/system/test_hosts.py",
    "train.loop": RUNS,
    "train.restore": RUNS,
    "train.workdir": RUNS,
    "train.warm_start": "tests/train/test_warm_start.py",
    "train_step": "tests/test_train_step.py tests/test_optimizer.py",
    "vocabulary": "tests/test_vocabulary.py tests/train/test_warm_start.py",
}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
         "maximum": "minimum", "argmin": "argmax", "argmax": "argmin"}  # fmt: skip
UNDECIDED = ("decorator_list", "annotation", "returns", "args", "exc", "type")
SPOKEN = ("print", "warn", "warning", "info", "log_on_chief")  # what is said, not decided


class Mutant(NamedTuple):
    """One change: `number` among the module's, and what it makes of a statement."""

    module: str
    number: int
    text: str


def _changes(node: ast.AST) -> list[ast.AST]:
    """What may stand in a node's place."""
    new = copy.deepcopy(node)
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            new.ops[0] = COMPARISONS[type(op)]()
        case ast.BinOp() | ast.BoolOp() if type(node.op) in OPERATORS:
            new.op = OPERATORS[type(node.op)]()
        case ast.UnaryOp(op=ast.Not()):
            return [node.operand]
        case ast.Constant(value=bool()):
            new.value = not node.value
        case ast.Constant(value=int() | float()):
            new.value = node.value + 1
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            new.func.id = CALLS[name]
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
            new.func.attr = CALLS[name]
        case ast.If():
            new.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Raise():
            return [ast.Pass()]
        case _:
            return []
    return [new]


def _silent(node: ast.AST) -> bool:
    """Whether a node says something to a person or to a type checker instead of deciding."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return name in SPOKEN
    return isinstance(node, ast.JoinedStr)


def _places(tree: ast.Module):
    """(holder, field, index or None, statement) of every node inside functions that decides."""

    def walk(node, statement, inside):
        for field, value in ast.iter_fields(node):
            if field in UNDECIDED and not (field == "args" and isinstance(node, ast.Call)):
                continue
            values = value if isinstance(value, list) else [value]
            for index, child in enumerate(values):
                if not isinstance(child, ast.AST) or _silent(child):
                    continue
                now = child if isinstance(child, ast.stmt) else statement
                deeper = inside or isinstance(child, (ast.FunctionDef, ast.Lambda))
                if inside:
                    yield node, field, index if isinstance(value, list) else None, now
                yield from walk(child, now, deeper)

    yield from walk(tree, None, False)


def _short(node: ast.AST) -> str:
    head = ast.unparse(node).split("\n")[0]
    return head if len(head) < 160 else head[:157] + "..."


def _mutate(source: str, wanted: int | None = None):
    """All mutants' texts of a source; with `wanted` the source of that one."""
    tree = ast.parse(source)
    texts = []
    for holder, field, index, statement in list(_places(tree)):
        old = getattr(holder, field) if index is None else getattr(holder, field)[index]
        for new in _changes(old):
            before = _short(statement)
            _put(holder, field, index, new)
            after = _short(new if old is statement else statement)
            if wanted == len(texts):
                return ast.unparse(ast.fix_missing_locations(tree))
            _put(holder, field, index, old)
            texts.append(f"{before}  ->  {after}")
    return texts


def _put(holder, field, index, value) -> None:
    if index is None:
        setattr(holder, field, value)
    else:
        getattr(holder, field)[index] = value


def _file(module: str) -> Path:
    return ROOT / "w2v2_jax" / (module.replace(".", "/") + ".py")


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module; one text is one mutant."""
    texts = _mutate(_file(module).read_text())
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    return [Mutant(module, number, text) for text, number in sorted(first.items(), key=str)]


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a changed source."""

    def __init__(self, name: str, path: Path, source: str):
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self.path))

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        return self.source.encode()


def survives(mutant: Mutant) -> bool:
    """Whether the module's tests pass with the mutant in its place; number -1 changes nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            path = _file(mutant.module)
            source = path.read_text()
            if mutant.number >= 0:
                source = _mutate(source, mutant.number)
            name = f"w2v2_jax.{mutant.module}"
            sys.meta_path.insert(0, _Changed(name, path, source))
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                os.dup2(null.fileno(), 1)
                os.dup2(null.fileno(), 2)
                status = _tests(mutant.module)
        finally:
            os._exit(int(status != 0))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _tests(module: str) -> int:
    import pytest

    paths = [path for path in MODULES[module].split() if (ROOT / path).exists()]
    optional = "not (slow or parity or deploy or decode or aot or beam or fuzz or gpu or network)"
    return pytest.main(["-x", "-q", "-p", "no:xdist", "-m", optional, *paths])


def _preload() -> None:
    """What every child needs and no mutant changes; no backend starts here, which forks badly."""
    import flax.linen
    import jax
    import optax
    import orbax.checkpoint
    import pytest
    import soundfile  # noqa: F401

    assert not jax._src.xla_bridge._backends, "a backend must not start before the fork"
    del flax, optax, orbax, pytest


def chosen(module: str, each: int, seed: int) -> list[Mutant]:
    """`each` of a module's mutants by the seed, all of them for 0."""
    every = mutants(module)
    if not each or each >= len(every):
        return every
    return sorted(random.Random(f"{seed} {module}").sample(every, each))


def report(results: dict[str, list[tuple[Mutant, bool]]], reasons: dict[str, str]) -> float:
    """Prints a line a module and every survivor without a reason; the score of all."""
    killed = total = 0
    for module, rows in results.items():
        counted = [(m, lives) for m, lives in rows if not (lives and _key(m) in reasons)]
        dead = sum(not lives for _, lives in counted)
        killed, total = killed + dead, total + len(counted)
        excused = len(rows) - len(counted)
        print(f"{module:<28}{dead:>4} of {len(counted):>4} killed, {excused} with a reason")
        for mutant, lives in counted:
            if lives:
                print(f"    survives: {mutant.text}")
    score = killed / max(total, 1)
    print(f"score {100 * score:.1f} % of {total} mutants (goal {100 * GOAL:.0f} %)")
    return score


def _key(mutant: Mutant) -> str:
    return f"{mutant.module}: {mutant.text}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", nargs="+", default=list(MODULES), choices=list(MODULES))
    parser.add_argument("--each", type=int, default=12, help="mutants of each module; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    arguments = parser.parse_args(argv)
    picks = {m: chosen(m, arguments.each, arguments.seed) for m in arguments.module}
    if arguments.list:
        for rows in picks.values():
            print("\n".join(map(_key, rows)))
        return 0
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    _preload()
    reasons = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    results = {}
    for module, rows in picks.items():
        results[module] = []
        if not survives(Mutant(module, -1, "")):
            print(f"{module}: its tests fail or hang without any change", file=sys.stderr)
            return 2
        for mutant in rows:
            start = time.monotonic()
            lives = survives(mutant)
            results[module].append((mutant, lives))
            word = "SURVIVES" if lives else "killed"
            print(f"{word:<9}{time.monotonic() - start:6.1f} s  {_key(mutant)}", flush=True)
    return int(report(results, reasons) < GOAL)


if __name__ == "__main__":
    sys.exit(main())
