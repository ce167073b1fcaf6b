"""Completion for shells: a script with the commands, their options and the recipes' names in it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from unittest import mock

SHELLS = ("bash", "zsh")

# zsh runs bash's completions unchanged, after `bashcompinit`.
ZSH_HEAD = "autoload -Uz +X compinit bashcompinit && compinit && bashcompinit\n"
SCRIPT = """# Completion of w2v2; load it in {file}: source <(w2v2 --completion {shell})
_w2v2() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  elif [[ $current == -* ]]; then
    case ${{COMP_WORDS[1]}} in
{options}
    esac
  elif [ "$previous" = --config ] || [ "${{COMP_WORDS[1]}}" = recipes ]; then
    words="{recipes}"
  else
    case ${{COMP_WORDS[1]}}$previous in
{choices}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _w2v2 w2v2
"""


class _Asked(BaseException):
    """Carries a parser out of the `main` that made it."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


def parser_of(main: Callable[[list[str]], object]) -> argparse.ArgumentParser:
    """The parser that a command's `main` makes; nothing after it is run."""

    def give(self, *_, **__):
        raise _Asked(self)

    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", give):
        try:
            main([])
        except _Asked as asked:
            return asked.parser
    raise ValueError(f"{main.__module__}.main makes no parser")


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser], recipes: list[str]) -> str:
    """The script for one of SHELLS. parsers: of each command."""
    options, choices = [], []
    for command, parser in parsers.items():
        named = [action for action in parser._actions if action.option_strings]
        names = " ".join(name for action in named for name in action.option_strings)
        options.append(f'      {command}) words="{names}" ;;')
        for action in named:
            if action.choices:
                values = " ".join(map(str, action.choices))
                patterns = "|".join(f"{command}{name}" for name in action.option_strings)
                choices.append(f'      {patterns}) words="{values}" ;;')
    text = SCRIPT.format(
        shell=shell,
        file={"bash": "~/.bashrc", "zsh": "~/.zshrc"}[shell],
        commands=" ".join(parsers),
        options="\n".join(options),
        recipes=" ".join(recipes),
        choices="\n".join(choices),
    )
    return (ZSH_HEAD if shell == "zsh" else "") + text
