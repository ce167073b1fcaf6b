"""What a mutant is: one decision of a module changed, and the source that then stands there.

Inside functions a comparison, operator, number, truth value, `min` for `max`, negation, branch or
refusal is changed; of a table at the module's top level one row is left out. What is said to a
person (a message, a line of a log, the length at which a text is cut) decides nothing, and neither
does what only asserts that the code itself is right (`strict` of a zip, an AssertionError).
"""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.places import ROOT

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
SPOKEN = ("print", "warn", "warning", "info", "log_on_chief", "add_argument", "name_scope")
SHOWN, AROUND = 240, 60  # characters of a statement that is shown whole, else around the change


class Mutant(NamedTuple):
    """One change: `number` among the module's, what it makes of a statement, the source lines it
    is in (0 to 0: the module's top level, which every import runs)."""

    module: str
    number: int
    text: str
    first: int
    last: int

    @property
    def key(self) -> str:
        return f"{self.module}: {self.text}"


class Change(NamedTuple):
    """`new` in the place of a field of `holder`, or of one item of that field."""

    holder: ast.AST
    field: str
    index: int | None
    new: Any
    statement: ast.stmt
    text: str  # "": told by the statement before and after

    @property
    def old(self) -> Any:
        value = getattr(self.holder, self.field)
        return value if self.index is None else value[self.index]

    def put(self, value: Any) -> None:
        if self.index is None:
            setattr(self.holder, self.field, value)
        else:
            getattr(self.holder, self.field)[self.index] = value


def file_of(module: str) -> Path:
    return ROOT / "w2v2_jax" / (module.replace(".", "/") + ".py")


@functools.cache
def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module; one text is one mutant."""
    texts: dict[str, Mutant] = {}
    for number, change in enumerate(_all(ast.parse(file_of(module).read_text()))):
        old, statement = change.old, change.statement
        first, last = _lines(change)
        text = change.text
        if not text:
            before = _short(statement)
            change.put(change.new)
            text = _told(before, _short(change.new if old is statement else statement))
            change.put(old)
        texts.setdefault(text, Mutant(module, number, text, first, last))
    return sorted(texts.values(), key=lambda mutant: (mutant.first, mutant.text))


def source(mutant: Mutant) -> str:
    """The module's source with the change in its place."""
    tree = ast.parse(file_of(mutant.module).read_text())
    change = next(one for n, one in enumerate(_all(tree)) if n == mutant.number)
    change.put(change.new)
    return ast.unparse(ast.fix_missing_locations(tree))


def _all(tree: ast.Module) -> Iterator[Change]:
    yield from _rows(tree)
    for holder, field, index, statement in list(_places(tree)):
        value = getattr(holder, field)
        for new in _replacements(value if index is None else value[index]):
            yield Change(holder, field, index, new, statement, "")


def _rows(tree: ast.Module) -> Iterator[Change]:
    """Tables at the top level, each without one of its rows."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                table = statement.value
            case _:
                continue
        for place in range(_length(table)):
            shorter = copy.deepcopy(table)
            fields = ("keys", "values") if isinstance(table, ast.Dict) else ("elts",)
            gone = [getattr(shorter, field).pop(place) for field in fields]
            text = f"{name} without {': '.join(_short(node) for node in gone)}"
            yield Change(statement, "value", None, shorter, statement, text)


def _length(table: ast.AST | None) -> int:
    """Rows of a table; 0 for what is none, or has a single row or two of which a pair is made."""
    if isinstance(table, ast.Dict):
        return len(table.keys)
    return len(table.elts) if isinstance(table, (ast.Tuple, ast.List, ast.Set)) else 0


def _replacements(node: ast.AST) -> list[ast.AST]:
    """What may stand in a node's place inside a function."""
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
        case ast.IfExp():
            return [node.body]
        case ast.If():
            new.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Raise():
            return [ast.Pass()]
        case _:
            return []
    return [new]


def _silent(node: ast.AST) -> bool:
    """Whether a node says something to a person or to a type checker instead of deciding."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in SPOKEN
        case ast.Subscript(value=ast.Call(func=ast.Name(id="str")), slice=ast.Slice()):
            return True  # str(error)[:200]
        case ast.keyword(arg=str(name)):
            return name == "strict" or "timeout" in name
        case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError" | "NotImplementedError"))):
            return True
        case ast.Raise(exc=ast.Name(id="AssertionError" | "NotImplementedError")):
            return True
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
    return ast.unparse(node).split("\n")[0]


def _told(before: str, after: str) -> str:
    """ "before  ->  after", of long statements what is around the difference."""
    if len(before) > SHOWN:
        same = _in_common(before, after)
        rest = _in_common(before[same:][::-1], after[same:][::-1])
        first = max(0, same - AROUND)
        before, after = (
            f"{'...' * (first > 0)}{text[first : len(text) - max(0, rest - AROUND)]}..."
            for text in (before, after)
        )
    return f"{before}  ->  {after}"


def _in_common(one: str, other: str) -> int:
    """Letters at the beginning of both."""
    pairs = zip(one, other, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _lines(change: Change) -> tuple[int, int]:
    """The source lines that run where the change matters."""
    if change.text:
        return 0, 0
    node = change.old
    return node.lineno, (node.test if isinstance(node, ast.If) else node).end_lineno
