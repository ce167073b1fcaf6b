"""What a single value of a configuration or file may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from w2v2_jax.errors import InputError


def is_number(value: Any) -> bool:
    """Whether a value is a number, NaN and the infinities among them; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(map(is_number, value))


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "switch": (lambda value: isinstance(value, bool), "True or False"),
    "whole": (lambda value: is_number(value) and isinstance(value, int), "a whole number"),
    "numbers": (_are_numbers, "a list of numbers"),
}


def check_type(section: str, config: object, kind: str, *names: str) -> None:
    """Raises InputError that names the first attribute of a configuration of another kind than one
    of KINDS. Recipes are checked where they are read; this is for a program that makes the value
    itself, in which the text "no" would be true."""
    fits, words = KINDS[kind]
    for name in names:
        if not fits(value := getattr(config, name)):
            raise InputError(f"{section}.{name}={value!r} must be {words}")


def check_least(section: str, config: object, **least: float) -> None:
    """Raises InputError that names the first attribute of a configuration below its least value."""
    for name, bound in least.items():
        value = getattr(config, name)
        if not is_number(value):
            raise InputError(f"{section}.{name}={value!r} must be a number")
        if not value >= bound:
            must = f"be at least {bound:g}" if bound else "not be negative"
            raise InputError(f"{section}.{name}={value} must {must}")


def check_most(section: str, config: object, **most: float) -> None:
    """Raises InputError that names the first attribute of a configuration above its most."""
    for name, bound in most.items():
        if getattr(config, name) > bound:
            raise InputError(f"{section}.{name}={getattr(config, name)} must be at most {bound}")


def check_positive(section: str, config: object, *names: str) -> None:
    """Raises InputError that names the first attribute of a configuration that is not above 0."""
    for name in names:
        value = getattr(config, name)
        if not is_number(value):
            raise InputError(f"{section}.{name}={value!r} must be a number")
        if not value > 0:
            raise InputError(f"{section}.{name}={value} must be positive")
