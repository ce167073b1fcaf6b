"""Where results go: tried before the work, and never in the place of what a command reads."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.paths import (
    MOST_LARGE_JSON,
    SPLIT,
    AnyPath,
    is_remote,
    is_special,
    json_text,
    read_json,
    try_file,
)

# Files of a prepared corpus, a run, a folder of logits or another framework's model. Results of
# commands have other names, so they may lie in the same folders (runs/tuned/test.json).
OWN = (
    SPLIT,
    "index.npz",
    "shard-*",
    "*config.json",
    "run.json",
    "metrics.jsonl",
    "bad_batches.jsonl",
    "damaged_audio.*",
    "events.out.*",
    "vocab*.json",
    "emissions.json",
    "logits.npy",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.index.json",
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.model",
)
OF_A_SPLIT = ("report.json", "rejected.jsonl")  # names that results may have elsewhere
RESULTS = ("json", "json_out")  # options whose files are results
PAGES = (b"<!doctype html", b"<html")  # how every page of ours starts
STEPS = "checkpoints"  # the folder of a run's steps, of which every file is the run's


def try_outputs(arguments: Namespace, *names: str) -> None:
    """`try_file` and `spare_inputs` for the output options that are given, before the work."""
    for name in names:
        if (path := getattr(arguments, name)) is not None:
            try_file(path, _option(name))
    spare_inputs(arguments, names, [name for name in vars(arguments) if name not in names])
    if "html" in names and arguments.html is not None:
        _spare_other_than_pages(arguments.html)
    for name in RESULTS:
        if name in names and not getattr(arguments, "overwrite", True):
            _result_in(getattr(arguments, name), name)


def tell_replaced(arguments: Namespace, name: str, made_of: Mapping[str, Any]) -> None:
    """A line on stderr if the file of --json is a result of other inputs, unless --overwrite. Once
    the new one is complete it is replaced all the same, because commands are run again.

    It is called once everything cheap has been checked, and a command may still fail after it.

    made_of: those values of the new result that tell its inputs. A checkpoint counts as its run,
    because another step of it is a newer result of the same.
    """
    path = getattr(arguments, name)
    old = {} if arguments.overwrite else _result_in(path, name)
    for what, value in made_of.items():
        before = old.get(what)
        if before is not None and _comparable(before) != _comparable(value):
            other = "other" if what.endswith("s") else "another"
            told = f"{what} {before}" if isinstance(before, str) else f"{other} {what}"
            told += _difference(before, value)
            print(
                f"note: {path} has a result of {told}; it will be replaced once the new one is "
                "complete",
                file=sys.stderr,
            )
            return


def _difference(before: Any, value: Any) -> str:
    """Of two tables the first entry that differs, as " (rows 2)"; "" of anything else."""
    if not isinstance(before, dict) or not isinstance(value, Mapping):
        return ""
    now = _comparable(value)
    names = (name for name in before if before[name] != now.get(name))
    return next((f" ({name.replace('_', '-')} {before[name]})" for name in names), "")


def _result_in(path: AnyPath | None, name: str) -> dict[str, Any]:
    """What a file of --json says now, nothing if it is not there; InputError if it is no result."""
    if path is None or is_remote(path) or not os.path.isfile(path) or not os.path.getsize(path):
        return {}
    try:
        return read_json(path, most=MOST_LARGE_JSON)
    except InputError:
        raise InputError(
            f"{_option(name)} {path} exists and is no result; add --overwrite or name another"
        ) from None


def _comparable(value: Any) -> Any:
    """A value as JSON gives it back; of a step's folder, the run's."""
    if isinstance(value, str | Path):
        place = Path(value)
        return str(place.parent.parent if place.parent.name == STEPS else place)
    return json.loads(json_text(value))


def _spare_other_than_pages(path: str | AnyPath) -> None:
    """InputError if a page would replace a file that is none: recordings and texts that `prepare`
    reads may lie anywhere, and are not all known before."""
    if is_remote(path) or not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        start = file.read(64).lstrip().lower()
    if start and not start.startswith(PAGES):
        raise InputError(f"--html {path} would replace a file that is no HTML page; name another")


def spare_inputs(arguments: Namespace, names: Sequence[str], inputs: Sequence[str]) -> None:
    """InputError if one of the output options is also a file or folder of the input options, a
    folder around it, a file that belongs to such a folder, or another output."""
    taken = _places(arguments, inputs)
    for name in names:
        if (path := getattr(arguments, name)) is not None:
            _spare(path, _option(name), taken)
            taken[os.path.realpath(path)] = name


def spare_files(arguments: Namespace, option: str, files: Iterable[Path]) -> None:
    """`spare_inputs` for the files that an option puts into its folder. option: as `out`."""
    taken = _places(arguments, [name for name in vars(arguments) if name != option])
    for file in files:
        _spare(file, _option(option), taken)


def _spare(path: str | AnyPath, option: str, taken: dict[str, str]) -> None:
    if is_remote(path) or is_special(path):
        return
    place = os.path.realpath(path)
    other, what = taken.get(place), "the file"
    if os.path.isdir(place):
        inside = (name for read, name in taken.items() if f"{read}/".startswith(f"{place}/"))
        other, what = next(inside, None), "the folder"
    elif other is None:
        around = (str(folder) for folder in Path(place).parents)
        whose = (taken[folder] for folder in around if folder in taken and _belongs(place, folder))
        other, what = next(whose, None), "a file"
    if other is not None:
        raise InputError(
            f"{option} {path} would replace {what} of {other.replace('_', '-')}; name another"
        )


def _belongs(place: str, folder: str) -> bool:
    """Whether a file exists and is one of those that make up the folder."""
    file = Path(place)
    patterns = OWN + (OF_A_SPLIT if file.with_name(SPLIT).is_file() else ())
    named = any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)
    return file.is_file() and (named or STEPS in file.relative_to(folder).parts)


def _places(arguments: Namespace, inputs: Sequence[str]) -> dict[str, str]:
    """{real path: option} of the files and folders that the input options name."""
    return {
        os.path.realpath(place): option
        for option in inputs
        for value in _values(getattr(arguments, option))
        for place in _readings(value)
        if os.path.exists(place)
    }


def _values(given: Any) -> Sequence[Any]:
    """Those of an option that is given once or several times."""
    return given if isinstance(given, list | tuple) else [given]


def _readings(value: Any) -> Iterator[str]:
    """The paths that a value may mean: itself, a step's run, DIR:split, KIND:PATH, @LIST, several
    with commas."""
    if not isinstance(value, str | Path) or is_remote(value):
        return
    for text in {str(value), *str(value).split(",")}:
        if Path(text).parent.name == STEPS:
            yield str(Path(text).parent.parent)
        yield from {text, text.rpartition(":")[0], text.partition(":")[2], text.removeprefix("@")}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
