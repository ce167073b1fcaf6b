"""docs/commands.md is what the parsers say, and every option says what it is for."""

import argparse
import importlib.util
import runpy
import sys

import pytest

import w2v2_jax
from tests.helpers.commands_page import PAGE, _notes, actions, page, parser_of
from tests.helpers.places import ROOT
from w2v2_jax.__main__ import COMMANDS, main


def test_the_page_of_commands_is_what_the_parsers_say():
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.helpers.commands_page"


def test_the_page_excepts_the_commands_that_python_does_not_run_by_their_name():
    told = page().partition("All except")[2].partition("can also be")[0]
    assert "`classify`" in told
    for command in COMMANDS:
        found = importlib.util.find_spec(f"w2v2_jax.{command}") is not None
        assert (f"`{command}`" in told) is not found, command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help(command):
    silent = [action.option_strings or action.dest for action in actions(parser_of(command))
              if not action.help]  # fmt: skip
    assert silent == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_of_each_option_what_the_page_says(command):
    """Its default too, which half of the options had on the page alone."""
    parser = parser_of(command)
    shown = "".join(parser.format_help().split())
    notes = ["".join(_notes(action).split()) for action in actions(parser)]
    assert [text for text in notes if text not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_called_by_its_name(command):
    assert parser_of(command).prog == f"w2v2 {command}"


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_module_of_a_command_does_not_end_silently_if_python_runs_it(
    command, capsys, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["module", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"w2v2_jax.{COMMANDS[command][0]}", run_name="__main__")
    assert end.value.code == 0
    assert f"usage: w2v2 {command}" in capsys.readouterr().out


class Interrupts:
    """Ctrl-C while a module is being imported."""

    def __init__(self, module):
        self.module = module

    def find_spec(self, name, path=None, target=None):
        if name == self.module:
            raise KeyboardInterrupt


FOLDERS = sorted(path.parent.name for path in (ROOT / "w2v2_jax").glob("*/__main__.py"))


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", FOLDERS)
def test_an_interrupt_while_a_command_imports_is_one_line(command, capsys, monkeypatch):
    """`python -m w2v2_jax.prepare` printed a traceback of Python's importer."""
    module = f"w2v2_jax.{command}.command"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupts(module), *sys.meta_path])
    with pytest.raises((SystemExit, KeyboardInterrupt)) as end:  # the second would end the suite
        runpy.run_module(f"w2v2_jax.{command}", run_name="__main__")
    assert isinstance(end.value, SystemExit) and end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_version_is_said_with_those_that_decide_what_is_computed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"w2v2_jax {w2v2_jax.__version__} (jax ")


def test_completion_has_every_command_and_refuses_another_shell(capsys):
    assert main(["--completion", "bash"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in COMMANDS if f"      {name}) words=" not in listed] == []
    assert main(["--completion", "fish"]) == 2
    assert "use one of bash, zsh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("default", "text", "notes"),
    [
        (10.0, "of a row (10)", "of a row (10)"),
        (0.1, "of a row", "of a row (0.1)"),
        ([0.0, 5.0], "lowest and highest (0 5)", "lowest and highest (0 5)"),
        (None, "of a row", "of a row"),
    ],
)
def test_a_default_is_said_once(default, text, notes):
    parser = argparse.ArgumentParser()
    assert _notes(parser.add_argument("--x", default=default, help=text)) == notes
