"""Lists the recipes that come with the package, or prints the description of one.

w2v2 recipes [NAME]
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import w2v2_jax
from w2v2_jax import errors
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.system.arguments import CommandParser, OptionHelp, add_config

PACKAGE = Path(w2v2_jax.__file__).parent
OVERRIDES = """--config.a.b=value changes the setting b in the section a of a recipe. It may be
given many times: --config.train.steps=500 --config.data.train=data/mine:train. A value is read
as the type of its setting (true, 3, 1e-4, text, "(2.0, 4.0)"). A setting or section that does
not exist is refused with the names of those that do."""


class Recipe(NamedTuple):
    """A recipe as described in its file: the first line and the whole docstring, the argument of
    its `get_config`, and the names in its table RECIPES."""

    name: str
    path: Path
    summary: str
    argument: str
    variants: tuple[str, ...]
    account: str


def folder() -> Path:
    """Where the recipes are: in an installed package, or beside it in a clone."""
    packaged = PACKAGE / "recipes"
    return packaged if packaged.is_dir() else PACKAGE.parent / "experiments"


def names() -> list[str]:
    """The recipes' names, in order."""
    return sorted(path.stem for path in folder().glob("*.py") if path.stem != "__init__")


def path_of(name: str) -> Path:
    """The file of a recipe of the package. Raises InputError that names the nearest."""
    if name not in names():
        raise InputError(f"there is no recipe {name!r} in the package; {nearest(name)}")
    return folder() / f"{name}.py"


def nearest(name: str, argument: str = "") -> str:
    """A suggestion for a misspelled name: "did you mean X?", or the list of all names. argument:
    what follows the name, with its colon."""
    return errors.nearest(name, names(), argument) or f"it has {', '.join(names())}"


def read(name: str) -> Recipe:
    """A recipe's description, from its source; the recipe is not run."""
    path = path_of(name)
    tree = ast.parse(path.read_text("utf-8"))
    account = ast.get_docstring(tree) or ""
    summary = " ".join(account.split("\n\n")[0].split())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    taken = ast.get_docstring(functions["get_config"]) if "get_config" in functions else ""
    argument = " ".join((taken or "").split()).removeprefix("arg: ")
    return Recipe(name, path, summary, argument, _variants(tree), account)


def _variants(tree: ast.Module) -> tuple[str, ...]:
    """The keys of the table RECIPES, if the recipe has one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == "RECIPES":
                keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
                return tuple(map(str, keys))
    return ()


def table() -> str:
    """Each recipe in two or three lines: name and summary, argument, variants."""
    lines = []
    for name in names():
        recipe = read(name)
        about = [recipe.summary, f"argument: {recipe.argument}"]
        if recipe.variants:
            about.append(f"variants: {' '.join(recipe.variants)}")
        lines += [name, *(_indented(text) for text in about)]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return textwrap.fill(
        text, 96, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False
    )


class _RecipeHelp(OptionHelp, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of `_epilog`."""


def recipe_parser(prog: str, description: str) -> CommandParser:
    """The parser of a command that takes a recipe: --config, and what `--help` says of them."""
    parser = CommandParser(
        prog=prog,
        description=description,
        epilog=_epilog(),
        formatter_class=_RecipeHelp,
    )
    add_config(parser)
    return parser


def _epilog() -> str:
    """What `--help` says about recipes and about changing their settings."""
    width = max(map(len, names()))
    rows = "\n".join(f"  {name:<{width}}  {read(name).summary}" for name in names())
    return (
        f"settings:\n{OVERRIDES}\n\nrecipes (`w2v2 recipes` has their arguments; --config takes "
        f"their names, or your own file):\n{rows}"
    )


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 recipes", description=__doc__.splitlines()[0])
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="print the description of this recipe, and the path of its file",
    )
    arguments = parser.parse_args(argv)
    if arguments.name is None:
        print(table())
        print("\n--config NAME[:argument] runs one; `w2v2 recipes NAME` prints its description")
        return
    recipe = read(arguments.name.partition(":")[0])  # what --config takes names the same recipe
    print(f"{recipe.account}\n\nFile: {recipe.path}")


if __name__ == "__main__":
    sys.exit(run_command(main))
