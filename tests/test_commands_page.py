"""docs/commands.md is what the parsers say, and every option says what it is for."""

import pytest

from tests.helpers.commands_page import PAGE, actions, page, parser_of
from w2v2_jax.__main__ import COMMANDS


def test_the_page_of_commands_is_what_the_parsers_say():
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.helpers.commands_page"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help(command):
    silent = [action.option_strings or action.dest for action in actions(parser_of(command))
              if not action.help]  # fmt: skip
    assert silent == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_called_by_its_name(command):
    assert parser_of(command).prog == f"w2v2 {command}"
