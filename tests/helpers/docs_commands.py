"""The fenced blocks of the documentation, and whether their commands are what the code takes."""

from __future__ import annotations

import argparse
import ast
import configparser
import dataclasses
import functools
import importlib
import inspect
import re
import shlex
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tests.helpers.places import ROOT
from w2v2_jax import inference, partition
from w2v2_jax.__main__ import COMMANDS
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.optimizer import SCHEDULES, adam

LANGUAGES = ("bash", "python", "text")  # text: nothing to run
# What stands in a block beside this project's own commands.
OTHERS = {"for", "do", "done", "cut", "awk", "cat", "cd", "git", "export", "mkdir"}
SUITES = (
    "everyday",
    "slow",
    "parity",
    "deploy",
    "decode",
    "aot",
    "beam",
    "docs",
    "fuzz",
    "mutants",
    "all",
)


class Block(NamedTuple):
    """A fenced block: where its content begins, its language, and what it needs to run ("" where
    nothing), said by a line `<!-- needs: ... -->` before it."""

    file: str
    line: int
    language: str
    needs: str
    content: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """README.md, or a page's path below docs/."""
    docs = ROOT / "docs"
    return page.relative_to(docs if page.is_relative_to(docs) else ROOT).as_posix()


@functools.cache
def blocks() -> tuple[Block, ...]:
    return tuple(block for page in pages() for block in blocks_of(page.read_text(), name_of(page)))


def blocks_of(text: str, name: str) -> list[Block]:
    found, lines = [], text.splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = lines[start - 1] if start else ""
        needs = re.fullmatch(r"<!-- needs: (.+) -->", before)
        content = "\n".join(lines[start + 1 : number])
        language = lines[start].removeprefix("```").strip()
        found.append(Block(name, start + 2, language, needs[1] if needs else "", content))
        start = None
    return found


def commands(content: str) -> list[list[str]]:
    """The simple commands of a shell block as words; comments and redirections left out."""
    found = []
    for line in content.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters, lexer.whitespace_split = "#", True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token in (";", "|", "&&", "||", "&"):
                if words:
                    found.append(_plain(words))
                words = []
            else:
                words.append(token)
    return [words for words in found if words]


def _plain(words: list[str]) -> list[str]:
    """Without `VARIABLE=value` before, `do` before, and redirections behind."""
    while words and (re.fullmatch(r"\w+=\S*", words[0]) or words[0] == "do"):
        words = words[1:]
    return words[: words.index(">")] if ">" in words else words


def recipe_commands() -> dict[str, list[str]]:
    """Recipe -> the commands of its docstring."""
    found = {}
    for path in sorted((ROOT / "experiments").glob("*.py")):
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").replace("\\\n", " ")
        found[path.name] = re.findall(
            r"^(?:Run:)? *((?:w2v2|python -m|bash) .*)$", text, re.MULTILINE
        )
    return found


class _Parsed(BaseException):
    """Carries what a command line was understood as out of its `main`."""

    def __init__(self, values, rest):
        super().__init__()
        self.values, self.rest = values, rest


def main_of(module: str):
    """The `main` behind `w2v2 X` or `python -m w2v2_jax.X`."""
    place, _ = COMMANDS.get(module, (module, ""))
    return importlib.import_module(f"w2v2_jax.{place}").main


def parse(module: str, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """What a command's own parser makes of its words; InputError with what it says against them."""
    try:
        main = main_of(module)
    except (ModuleNotFoundError, AttributeError) as error:
        raise InputError(f"there is no command {module}: {error}") from error
    known = argparse.ArgumentParser.parse_known_args

    def strict(self, args=None, namespace=None):
        values, rest = with_rest(self, args)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise _Parsed(values, [])

    def with_rest(self, args):
        with mock.patch.object(argparse.ArgumentParser, "error", _error):
            return known(self, args)

    def lenient(self, args=None, namespace=None):
        raise _Parsed(*with_rest(self, args))

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", strict),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", lenient),
        mock.patch.object(argparse.ArgumentParser, "error", _error),
    ):
        try:
            main(argv)
        except _Parsed as parsed:
            return parsed.values, parsed.rest
    raise InputError(f"{module} parses nothing")


def options(module: str) -> set[str]:
    """The options of a command's parser."""

    def give(self, args=None, namespace=None):
        raise _Parsed(set(self._option_string_actions), [])

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", give),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", give),
    ):
        try:
            main_of(module)([])
        except _Parsed as parsed:
            return parsed.values
    return set()


@functools.cache
def all_options() -> frozenset[str]:
    """The options of every command of the project, its launchers and its benchmarks."""
    modules = (
        *COMMANDS,
        "report.cells",
        "report.codebook",
        "bench.beam_search",
        "bench.long_recording",
    )
    found = {option for module in modules for option in options(module)}
    for script in (ROOT / "launch").iterdir():
        found |= set(re.findall(r"--[a-z][a-z0-9-]*", script.read_text()))
    found |= {"--version", "--completion"}
    return frozenset(found)


def unknown_options(page: Path) -> list[str]:
    """Options that a page names in backticks and no command has."""
    named = set()
    for code in re.findall(r"`([^`\n]+)`", _without_blocks(page.read_text())):
        named |= set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*(?![\w.])", code))
    return sorted(named - all_options() - {"--config"})


def _error(self, message):
    raise InputError(message)


def check_shell(content: str) -> None:
    """Raises InputError at the first command that this project does not take as it stands."""
    for words in commands(content):
        try:
            check_command(words)
        except InputError as error:
            raise InputError(f"{' '.join(words)}: {error}") from error


def check_command(words: list[str]) -> None:
    name = words[0]
    if name == "w2v2" and words[1] in ("--version", "--completion"):
        return
    if name == "w2v2":
        check_module(words[1], words[2:], as_command=True)
    elif name == "python" and words[1:2] == ["-m"]:
        check_module(words[2].removeprefix("w2v2_jax."), words[3:])
    elif name == "python" and len(words) > 1:
        _exists(words[1])
    elif name == "bash":
        _exists(words[1])
        if words[1] == "launch/test.sh" and words[2:3] and words[2] not in SUITES:
            raise InputError(f"there is no suite {words[2]}")
    elif name == "pip":
        _check_pip(words)
    elif name not in OTHERS:
        raise InputError(f"{name} is none of this project's commands")


def check_module(module: str, argv: list[str], *, as_command: bool = False) -> None:
    if as_command and module not in COMMANDS:
        raise InputError(f"w2v2 has no command {module}")
    values, rest = parse(module, argv)
    spec = getattr(values, "config", None)
    if spec:
        check_recipe(spec, rest)
    elif rest:
        raise InputError(f"unrecognized arguments: {' '.join(rest)}")


@functools.cache
def _config(spec: str) -> dict:
    file, colon, argument = spec.partition(":")
    place = ROOT / file if file.endswith(".py") else file  # else a recipe's name
    try:
        return load_config(f"{place}{colon}{argument}")
    except ValueError as error:
        raise InputError(str(error)) from error


def check_recipe(spec: str, overrides: list[str] | None = None) -> None:
    """The recipe exists, and so do the settings that are overridden."""
    config = {k: dict(v) if isinstance(v, dict) else v for k, v in _config(spec).items()}
    override(config, list(overrides or ()))
    read_settings(config)
    for section, known in _settings(config).items():
        unknown = sorted(set(config.get(section, {})) - known)
        if unknown:
            raise InputError(f"config.{section}.{unknown[0]} is not a setting of {spec}")


def _settings(config: dict) -> dict[str, set[str]]:
    """section -> names it may hold, of the sections that `read_settings` leaves to `build`."""

    def fields(kind) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    def names(function) -> set[str]:
        return set(inspect.signature(function).parameters)

    return {
        "model": fields(ModelConfig) | {"family"},
        "objective": fields(OBJECTIVES[config["objective"]["name"]]) | {"name"},
        "schedule": names(SCHEDULES[config["schedule"]["name"]]) | {"name"},
        "optimizer": names(adam),
        "mesh": names(partition.make_mesh) | {"rules"},
    }


def _exists(path: str) -> None:
    if not (ROOT / path).is_file():
        raise InputError(f"there is no file {path}")


@functools.cache
def extras() -> frozenset[str]:
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    return frozenset(parsed["options.extras_require"])


def _check_pip(words: list[str]) -> None:
    if words[1] != "install" or len(words) < 3:
        raise InputError("only `pip install NAME...` is known")
    for word in words[2:]:
        own = re.fullmatch(r"\.\[(.+)\]", word)
        if own and not set(own[1].split(",")) <= extras():
            raise InputError(f"setup.cfg has no such extra: {word}")
        if not own and not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?(==[\w.]+)?|-e|\.", word):
            raise InputError(f"{word} is no requirement")


def check_python(content: str) -> None:
    """It compiles, what it imports is there, and `model` has the methods it calls, with those
    names of arguments."""
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        raise InputError(f"not Python: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("w2v2_jax"):
            module = importlib.import_module(node.module)
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            if missing:
                raise InputError(f"{node.module} has no {missing[0]}")
        if isinstance(node, ast.Call):
            _check_call(node)


def _check_call(node: ast.Call) -> None:
    match node.func:
        case ast.Attribute(value=ast.Name(id="model"), attr=name):
            function = getattr(inference.Model, name, None)
        case ast.Attribute(value=ast.Name(id="w2v2_jax"), attr=name):
            function = getattr(importlib.import_module("w2v2_jax"), name, None)
        case _:
            return
    if function is None:
        raise InputError(f"there is no {ast.unparse(node.func)}")
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for keyword in node.keywords:
        if keyword.arg not in parameters and not open_ended:
            raise InputError(f"{ast.unparse(node.func)} takes no {keyword.arg}")


# ---- links ---------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as on GitHub, and its anchors of its own."""
    found: dict[str, int] = {}
    names = set(re.findall(r'<a id="([\w-]+)"></a>', page.read_text()))
    for heading in re.findall(r"^#+ (.+)$", _without_blocks(page.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def broken_links(page: Path) -> list[str]:
    """Links to files or headings that are not there, and names of files in backticks likewise."""
    text = _without_blocks(page.read_text())
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    for name in re.findall(r"`((?:tests|docs|launch|experiments|w2v2_jax)/[\w./-]+\.\w+)`", text):
        if not (ROOT / name).exists():
            broken.append(name)
    for file, arguments in re.findall(r"`(experiments/[a-z_]+\.py)((?::[\w|]+)?)", text):
        try:
            _exists(file)
            for argument in filter(None, arguments.removeprefix(":").split("|")):
                _config(f"{file}:{argument}")
        except InputError as error:
            broken.append(str(error))
    return broken


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
