"""What a single value of a configuration or file may be."""

from __future__ import annotations

from typing import Any

from w2v2_jax.errors import InputError


def is_number(value: Any) -> bool:
    """Whether a value is a number, NaN and the infinities among them; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_least(section: str, config: object, **least: float) -> None:
    """Raises InputError that names the first attribute of a configuration below its least value."""
    for name, bound in least.items():
        value = getattr(config, name)
        if not value >= bound:
            must = f"be at least {bound:g}" if bound else "not be negative"
            raise InputError(f"{section}.{name}={value} must {must}")


def check_positive(section: str, config: object, *names: str) -> None:
    """Raises InputError that names the first attribute of a configuration that is not above 0."""
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise InputError(f"{section}.{name}={value} must be positive")
