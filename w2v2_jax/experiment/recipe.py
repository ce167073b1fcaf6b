"""A recipe file -> its configuration, with the overrides of the command line."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

from w2v2_jax.errors import InputError

OPTIONAL = ("execution", "health")  # sections that a recipe may leave out and a person may name


def load_config(spec: str) -> dict:
    """FILE.py[:arg] -> the nested dict of its `get_config(arg)`."""
    file, _, argument = spec.partition(":")
    if not Path(file).is_file():
        raise InputError(f"--config {file} is not a file")
    if not file.endswith(".py"):  # a zip archive would be run as a program too
        raise InputError(f"--config {file} is not a Python file, which a recipe is")
    get_config = runpy.run_path(file).get("get_config")
    if get_config is None:
        raise InputError(f"--config {file} has no get_config(arg)")
    config = get_config(argument)
    config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {section: {} for section in OPTIONAL} | config


def override(config: dict, overrides: list[str]) -> None:
    """Applies --config.a.b=value in place; the section must exist, values are Python literals."""
    for item in overrides:
        path, equals, value = item.partition("=")
        if not path.startswith("--config.") or not equals:
            raise InputError(f"{item} is not an option; overrides look like --config.train.steps=5")
        *sections, name = path.removeprefix("--config.").split(".")
        place = config
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise InputError(
                    f"config.{'.'.join(sections)} is not a section; known: "
                    f"{', '.join(k for k in place if isinstance(place[k], dict))}"
                )
            place = place[section]
        try:
            place[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            place[name] = value
