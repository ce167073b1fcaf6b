"""Checks values of a configuration against the annotated types of their fields.

A recipe's values are Python values. A value from the command line is `Written`: its meaning depends
on the field, so that "false" is a boolean for `bool` and a file's name for `str`.
"""

from __future__ import annotations

import ast
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from w2v2_jax.errors import InputError

SWITCHES = {"true": True, "false": False}
NOTHING = ("none", "null")
MOST = 2**31 - 1  # of `int`: the counts of a step are 32 bits wide
WHOLE = numbers.Integral  # of any size
NAMES = {
    bool: "True or False",
    int: "a whole number",
    WHOLE: "a whole number",
    float: "a number",
    str: "text",
}


class Written(str):
    """A value as it stands on the command line."""


class Mismatch(ValueError):
    """A value of the wrong type; its text adds details that the type's description lacks."""


def literal(text: str) -> Any:
    """The Python literal that a text is, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return str(text)


def types_of(constructor: Callable) -> dict[str, Any]:
    """Parameter -> annotated type of a function or dataclass, in order."""
    hints = typing.get_type_hints(constructor)
    return {name: hints.get(name, Any) for name in inspect.signature(constructor).parameters}


def describe(kind: Any) -> str:
    """A type in words: "True or False", "numbers (a, b, ...)"."""
    if isinstance(kind, dict):
        return "a table of settings"
    if kind in NAMES:
        return NAMES[kind]
    if kind is type(None):
        return "None"
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return f"a list, each {describe(inner[0])}"
    if origin is tuple:
        return f"({', '.join(describe(one) for one in inner)})"
    if origin is dict:
        return f"a table ({describe(inner[1])} by name)"
    return str(kind)


def convert(value: Any, kind: Any) -> Any:
    """The value as the type: whole floats become integers if integers are wanted, lists become
    tuples, and `Written` values are parsed. Raises Mismatch if it is of another type."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # numpy's numbers
    origin = typing.get_origin(kind)
    if kind is Any:
        return literal(value) if isinstance(value, Written) else value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, typing.get_args(kind))
    if kind in SIMPLE:
        return SIMPLE[kind](value)
    if origin is typing.Literal:
        return _word(value, typing.get_args(kind))
    if isinstance(value, Written):
        value = literal(value)
    if origin is tuple:
        return _tuple(value, typing.get_args(kind))
    if origin is dict and isinstance(value, Mapping):
        names, inner = typing.get_args(kind)
        return {convert(k, names): convert(v, inner) for k, v in value.items()}
    if origin is not None:
        raise Mismatch
    return value  # of a type that no configuration can write: `construct` knows the name or not


def _nothing(value: Any) -> None:
    if value is not None and not (isinstance(value, Written) and value.lower() in NOTHING):
        raise Mismatch


def _switch(value: Any) -> bool:
    if not isinstance(value, (bool, str)) or str(value).lower() not in SWITCHES:
        raise Mismatch
    return SWITCHES[str(value).lower()]


def _number(value: Any) -> float | int:
    value = literal(value) if isinstance(value, Written) else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise Mismatch
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise Mismatch
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise Mismatch
    return int(number)


def _count(value: Any) -> int:
    number = _whole(value)
    if abs(number) > MOST:
        raise Mismatch(f", at most {MOST}")
    return number


def _text(value: Any) -> str:
    if isinstance(value, Written):  # quotes may stand around it, as in Python
        quoted = literal(value)
        return quoted if isinstance(quoted, str) else str(value)
    if not isinstance(value, str):
        raise Mismatch
    return value


def _word(value: Any, words: tuple) -> str:
    text = _text(value)
    if text not in words:
        raise Mismatch
    return text


SIMPLE = {
    type(None): _nothing,
    bool: _switch,
    int: _count,
    WHOLE: _whole,
    float: _number,
    str: _text,
}


def _one_of(value: Any, kinds: tuple) -> Any:
    read = literal(value) if isinstance(value, Written) else value

    def rank(kind) -> int:  # text last, but before lists that would take a text for their one item
        lists = typing.get_origin(kind) is tuple and isinstance(read, str)
        return 3 if lists else 2 if kind is str else kind is not type(None)

    for kind in sorted(kinds, key=rank):
        try:
            return convert(value, kind)
        except Mismatch:
            continue
    raise Mismatch


def _tuple(value: Any, kinds: tuple) -> tuple:
    if kinds[-1] is Ellipsis:
        if isinstance(value, str) and kinds[0] is str:
            value = (value,)
        if isinstance(value, (list, tuple)):
            return tuple(convert(one, kinds[0]) for one in value)
    elif isinstance(value, (list, tuple)) and len(value) == len(kinds):
        return tuple(convert(one, kind) for one, kind in zip(value, kinds, strict=True))
    raise Mismatch


def check(path: str, value: Any, kind: Any) -> Any:
    """`convert` of the value at config.<path>; InputError with path, value and the type wanted.

    kind: a type, or for a section the types of its settings; other settings stay as they are.
    """
    if isinstance(kind, dict):
        value = literal(value) if isinstance(value, Written) else value
        if not isinstance(value, Mapping):
            raise InputError(f"config.{path}={value!r} must be {describe(kind)}")
        return {name: check(f"{path}.{name}", v, kind.get(name, Any)) for name, v in value.items()}
    try:
        return convert(value, kind)
    except Mismatch as odd:
        shown = str(value) if isinstance(value, Written) else repr(value)
        raise InputError(f"config.{path}={shown[:100]} must be {describe(kind)}{odd}") from None
