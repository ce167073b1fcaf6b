"""A recipe file -> its configuration, with the overrides of the command line."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError, listed
from w2v2_jax.experiment import catalogue
from w2v2_jax.experiment.settings import field_types, refuse_unknown
from w2v2_jax.experiment.typed import Written, check, literal

OPTIONAL = ("execution", "health")  # sections that a recipe may omit and the command line may set


def load_config(spec: str) -> dict:
    """FILE.py[:arg], or the name of a recipe of the package -> the nested dict of its
    `get_config(arg)`. An exception of the recipe becomes an InputError that names its line."""
    file, argument = split_spec(spec)
    if Path(file).is_dir():
        raise InputError(f"--config {file} is a folder; name a recipe in it, FILE.py[:arg]")
    if not Path(file).is_file():
        raise InputError(f"--config {file} is not a file; {_packaged(spec)}")
    if not file.endswith(".py"):  # otherwise a zip archive would be run as a program
        raise InputError(f"--config {file} is not a Python file; a recipe is one")
    try:
        get_config = runpy.run_path(file).get("get_config")
        if get_config is None:
            raise InputError(f"--config {file} has no get_config(arg)")
        config = get_config(argument)
        config = config.to_dict() if hasattr(config, "to_dict") else config
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"--config {spec}: {_told(error, file)}") from error
    if not isinstance(config, dict):
        raise InputError(f"--config {spec}: get_config returned no table of sections: {config!r}")
    if isinstance(config.get("data"), dict):
        config = config | {"data": {"augment": {}} | config["data"]}
    return {section: {} for section in OPTIONAL} | config


def beside(file: str, name: str, argument: str = "") -> Any:
    """What `get_config(argument)` of the recipe `name` in a recipe's own folder gives, for one
    that is another with a few changes. file: the `__file__` of the recipe that asks."""
    return runpy.run_path(str(Path(file).with_name(name)))["get_config"](argument)


def split_spec(spec: str) -> tuple[str, str]:
    """FILE.py[:arg] -> the file, whose path may contain colons, and the argument. The name of a
    recipe of the package stands for its file."""
    if Path(spec).is_file():
        return spec, ""
    name, _, argument = spec.partition(":")
    if name in catalogue.names():
        return str(catalogue.path_of(name)), argument
    file, ending, argument = spec.partition(".py:")
    return (f"{file}.py", argument) if ending else (spec, "")


def _packaged(spec: str) -> str:
    """What to give instead of a file that does not exist."""
    path, colon, argument = spec.partition(":")
    name = Path(path).stem
    if name in catalogue.names():
        return f"the package has this recipe: --config {name}{colon}{argument}"
    return f"of the package's recipes, {catalogue.nearest(name, colon + argument if colon else '')}"


def _told(error: Exception, file: str) -> str:
    """The exception of a recipe: its own text if it refuses an argument, else with the line."""
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return str(error)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    if isinstance(error, SyntaxError):
        lines, text = [error.lineno], error.msg
    else:
        text = str(error)
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {text}"


def override(config: dict, overrides: list[str]) -> None:
    """Applies --config.a.b=value in place; the section must exist. A value is read by the type of
    its setting (`typed`). If the setting is not known, it is a Python literal or else text."""
    written: list[tuple[list[str], dict, str]] = []
    for item in overrides:
        path, equals, value = item.partition("=")
        if not path.startswith("--config.") or not equals:
            raise InputError(f"{item} is not an option; overrides look like --config.train.steps=5")
        *sections, name = path.removeprefix("--config.").split(".")
        place = config
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise InputError(
                    f"config.{'.'.join(sections)} is not a section; "
                    f"{listed(section, [k for k in place if isinstance(place[k], dict)])}"
                )
            place = place[section]
        if isinstance(place.get(name), dict) and not isinstance(literal(value), dict):
            raise InputError(
                f"config.{'.'.join([*sections, name])} is a section; set one of "
                f"{', '.join(place[name])} in it"
            )
        place[name] = Written(value)
        written.append(([*sections, name], place, name))
    # Only now is it known which constructor objective.name and schedule.name choose.
    types = field_types(config)
    for names, place, name in written:
        refuse_unknown(names, types, config)
        place[name] = check(".".join(names), place[name], _type_of(names, types))


def _type_of(path: list[str], types: dict[str, Any]) -> Any:
    kind: Any = types
    for name in path:
        if isinstance(kind, dict):
            kind = kind.get(name, Any)
    return kind
