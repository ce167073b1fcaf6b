"""Types of options that several commands have."""

import argparse

import pytest

from w2v2_jax import __main__ as w2v2
from w2v2_jax import lm
from w2v2_jax.errors import InputError
from w2v2_jax.export import average
from w2v2_jax.system.arguments import TEXTS, CommandParser, number, whole, with_home
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


def parser_of_paths():
    parser = CommandParser(prog="w2v2 x")
    parser.add_argument("--out")
    parser.add_argument("--data")
    parser.add_argument("--split")
    parser.add_argument("--config")
    parser.add_argument("--text", nargs="+", action="extend")
    parser.add_argument("files", nargs="*")
    return parser


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", ""], "--out is empty"),
        (["--out="], "--out is empty"),
        (["a.wav", ""], "an argument is empty"),
        (["--data", "a", "--data", "b"], "--data is given twice, a and b; w2v2 x takes one"),
        (["--data=a", "--data", "b"], "--data is given twice, a and b; w2v2 x takes one"),
        (["--dat", "a", "--data=b"], "--data is given twice, a and b; w2v2 x takes one"),
        (["--da=a", "--d", "b"], "--data is given twice, a and b; w2v2 x takes one"),
        (["--ou="], "--out is empty"),
    ],
)
def test_empty_words_and_a_second_input_are_refused(words, told):
    """An empty --out was the current directory, and of two inputs the last one was all."""
    with pytest.raises(InputError, match=told):
        parser_of_paths().parse_args(words)


def test_settings_may_be_empty_and_what_is_no_input_may_be_given_again():
    words = ["--data", "a", "--data=a", "--split", "a", "--split", "b"]
    arguments, rest = parser_of_paths().parse_known_args([*words, "--config.data.valid="])
    assert (arguments.data, arguments.split, rest) == ("a", "b", ["--config.data.valid="])


def test_inputs_of_which_there_may_be_several_may_be_given_again():
    """`lm --text a --text b` made a model of b alone."""
    words = ["--text", "a", "b", "--text", "c"]
    assert parser_of_paths().parse_args(words).text == ["a", "b", "c"]
    for main, option in ((lm.main, "--text"), (average.main, "--checkpoint")):
        action = parser_of(main)._option_string_actions[option]
        assert type(action).__name__ == "_ExtendAction"


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("--out=~/runs", "--out=/home/me/runs"),
        ("--out=~", "--out=/home/me"),
        ("~/runs", "/home/me/runs"),
        ("folder:~/speech", "folder:/home/me/speech"),
        ("--config.data.train=~/a:train,~/b", "--config.data.train=/home/me/a:train,/home/me/b"),
        ("@~/list", "@/home/me/list"),
        ("a~/b", "a~/b"),
        ("~other/b", "~other/b"),
    ],
)
def test_the_home_folder_is_taken_where_no_shell_does_so(word, read, tmp_path, monkeypatch):
    """A folder of the name ~ was made, which nobody dares to remove."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    assert with_home(word) == read
    (tmp_path / "~").mkdir()
    assert with_home(word) == word  # a run that was started in it goes on there


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["--tier", "~", "--out", "~/o"], ["--tier", "~", "--out", "/home/me/o"]),
        (["--hot-word=~/=3", "--out=~/o"], ["--hot-word=~/=3", "--out=/home/me/o"]),
        (["--hot=a:~", "~/a.wav"], ["--hot=a:~", "/home/me/a.wav"]),
        (["--tier=~", "~/a.wav"], ["--tier=~", "/home/me/a.wav"]),
    ],
)
def test_the_home_folder_is_not_taken_in_a_text(words, read, tmp_path, monkeypatch):
    """A word to prefer became the name of a folder."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    parser = CommandParser(prog="w2v2 x")
    for option in ("--tier", "--hot-word", "--out"):
        parser.add_argument(option)
    parser.add_argument("files", nargs="*")
    assert parser.with_homes(words) == read


def test_the_options_for_texts_are_those_of_the_commands():
    parsers = [parser_of(w2v2.main_of(command)) for command in w2v2.COMMANDS]
    assert {option for parser in parsers for option in parser._option_string_actions} >= TEXTS


def test_what_follows_an_option_that_takes_the_rest_of_the_line_is_not_ours():
    parser = CommandParser(prog="w2v2 x")
    parser.add_argument("--rest", nargs=argparse.REMAINDER)
    parser.add_argument("-n")
    assert parser.parse_args(["-n5", "--rest", "--runner=x"]).rest == ["--runner=x"]
    assert parser.parse_args(["-n", "-5"]).n == "-5"
    with pytest.raises(InputError, match="no option --runner"):
        parser.parse_args(["--runner=x", "--rest"])
