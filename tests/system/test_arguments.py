"""Types of options that several commands have."""

import argparse

import pytest

from w2v2_jax import __main__ as w2v2
from w2v2_jax.errors import InputError
from w2v2_jax.system.arguments import CommandParser, number, whole
from w2v2_jax.system.completion import parser_of


@pytest.mark.parametrize("text", ["0", "-1", "256", "1.5", "nan", "", "1e2", "many"])
def test_what_is_no_whole_number_in_bounds_is_refused_with_them(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number, 1 to 255"):
        whole(1, 255)(text)


def test_the_bounds_themselves_are_taken():
    assert [whole(1, 255)(text) for text in ("1", "255")] == [1, 255]


@pytest.mark.parametrize("text", ["-0.1", "1e308", "nan", "inf", "", "many"])
def test_what_is_no_number_in_bounds_is_refused_with_them(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number, 0 to 86400"):
        number(0, 86400)(text)
    assert [number(0, 86400)(bound) for bound in ("0", "86400")] == [0, 86400]


@pytest.mark.parametrize("command", w2v2.COMMANDS)
def test_every_command_tells_of_what_it_cannot_take_in_one_line(command):
    assert isinstance(parser_of(w2v2.main_of(command)), CommandParser)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("evaluate --checkpont x", "w2v2 evaluate has no option --checkpont; did you mean --check"),
        ("evaluate --checkpont=x --data y", "no option --checkpont; did you mean --checkpoint?"),
        ("transcribe a.wav --batch_seconds 3", "--batch_seconds; did you mean --batch-seconds?"),
        ("train --confg quickstart", "w2v2 train has no option --confg; did you mean --config?"),
        ("train --config quickstart --dryrun", "no option --dryrun; did you mean --dry-run?"),
        ("train --confg.train.steps=3", "--confg.train.steps; did you mean --config.train.steps?"),
        ("evaluate --checkpoint", "--checkpoint: expected one argument; `w2v2 evaluate --help` l"),
        ("evaluate", "required: --checkpoint, --data, --json; `w2v2 evaluate --help` lists"),
        ("extract --units", "no option --units; `w2v2 extract --help` lists those it has"),
        (
            "transcribe --checkpoint x a.wav --formats srt",
            "--formats changes nothing without --out",
        ),
        ("stage --from nowhere --to x", "--from nowhere: no such folder"),
        ("stage -x", "w2v2 stage has no option -x; `w2v2 stage --help` lists those it has"),
        ("transcribe --checkpoint x a.wav --jobs 2", "w2v2 transcribe has no option --jobs"),
        ("transcribe --checkpoint x a.wav --chunk-seconds 1e308", "--chunk-seconds: 1e308 must be"),
        ("lm --text x --out y --memory 1e308", "--memory: 1e308 must be a number"),
        ("lm --order many", "argument --order: invalid int value: 'many'"),
        ("recipes one two", "unrecognized arguments: two"),
        ("--versoin", "w2v2 has no option --versoin; did you mean --version?"),
        ("-x", "w2v2 has no option -x; use a command or one of --help, --version, --completion"),
        ("evlauate", "w2v2 has no command 'evlauate'; did you mean evaluate?"),
    ],
)
def test_a_line_that_no_command_takes_is_told_in_one_line_unknown_options_first(line, told, capsys):
    assert w2v2.main(line.split()) == 2
    said = capsys.readouterr().err
    assert told in said and said.startswith("error: ") and said.count("\n") == 1


def test_what_follows_an_option_that_takes_the_rest_of_the_line_is_not_ours():
    parser = CommandParser(prog="w2v2 x")
    parser.add_argument("--rest", nargs=argparse.REMAINDER)
    parser.add_argument("-n")
    assert parser.parse_args(["-n5", "--rest", "--runner=x"]).rest == ["--runner=x"]
    assert parser.parse_args(["-n", "-5"]).n == "-5"
    with pytest.raises(InputError, match="no option --runner"):
        parser.parse_args(["--runner=x", "--rest"])
