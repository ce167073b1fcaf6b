"""docs/commands.md, written from the commands' own parsers.

python -m tests.helpers.commands_page
"""

import argparse
import textwrap

from tests.helpers.places import ROOT
from w2v2_jax.__main__ import COMMANDS, main_of
from w2v2_jax.system import completion
from w2v2_jax.system.arguments import with_default

PAGE = ROOT / "docs" / "commands.md"
HEAD = """# Commands

{first}

`w2v2 --version` prints the version. `w2v2 --completion bash` (or `zsh`) prints a script that
completes commands, options and recipes: `source <(w2v2 --completion bash)`.

Compiled programs are kept in `~/.cache/w2v2_jax` (`W2V2_COMPILATION_CACHE=0` turns this off). On a
CPU, freed memory is kept for the next update (`W2V2_KEEP_MEMORY=0` turns this off).
"""
FIRST = (
    "Run each command as `w2v2 COMMAND`. All except {without} can also be run as "
    "`python -m w2v2_jax.COMMAND`. Exit status 0 means success. Status 2 means wrong usage or bad "
    "input, with one line on stderr that names what is wrong. This page is generated from the "
    "parsers by `python -m tests.helpers.commands_page`."
)


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser behind a command."""
    return completion.parser_of(main_of(command))


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a parser takes, but for --help."""
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _name(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices:
        value = "|".join(map(str, action.choices))
    if isinstance(value, tuple):
        value = " ".join(value)
    if not action.option_strings:
        return f"{action.metavar or action.dest}{'...' if action.nargs in ('+', '*') else ''}"
    return f"{', '.join(action.option_strings)} {value}".strip()


def _notes(action: argparse.Action) -> str:
    return with_default(action).replace("%%", "%")


def section(command: str) -> str:
    """A command's heading, what it does, and a table of its options."""
    parser = parser_of(command)
    lines = [f"## {command}", "", f"{(parser.description or COMMANDS[command][1]).strip()}", ""]
    lines += ["| option | what |", "|---|---|"]
    for action in actions(parser):
        name, notes = (x.replace("|", "\\|") for x in (_name(action), _notes(action)))
        lines.append(f"| `{name}` | {notes} |")
    return "\n".join(lines) + "\n"


def without_module() -> list[str]:
    """The commands that have no module or package of their own name for `python -m`."""
    package = ROOT / "w2v2_jax"
    places = {name: (package / f"{name}.py", package / name / "__main__.py") for name in COMMANDS}
    return [name for name, files in places.items() if not any(file.is_file() for file in files)]


def page() -> str:
    """The whole page."""
    *others, last = (f"`{name}`" for name in without_module())
    first = FIRST.format(without=f"{', '.join(others)} and {last}")
    head = HEAD.replace("{first}", textwrap.fill(first, 100, break_on_hyphens=False))
    table = ["| command | does |", "|---|---|"]
    table += [f"| [{name}](#{name}) | {what} |" for name, (_, what) in COMMANDS.items()]
    return "\n".join([head, *table, "", *(section(name) for name in COMMANDS)])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
