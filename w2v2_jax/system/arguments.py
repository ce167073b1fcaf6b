"""Options that several commands have, each with one spelling, one meaning and one help."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError, nearest

MOST_PROCESSES = 1024
DAY = 86400.0  # the longest time that an option in seconds takes
SETTING = "--config."  # with --config, all that begins with it is a recipe's


# Inputs of which a command takes one, unless the option says otherwise. A second one would take
# the place of the first, and the results would be those of less than what was asked for.
_NAMES = "--source --data --logits --from --input --audio --text --ids --checkpoint --lm --lexicon"
INPUTS = frozenset(_NAMES.split())

# Options whose values are texts or names of other places, in which `~` is a letter.
_NAMES = "--hot-word --tier --split --language --languages --licence --push --mirror --set"
TEXTS = frozenset(_NAMES.split())


def with_default(action: argparse.Action) -> str:
    """The help of an option and, where it does not say so itself, its default or "(required)"."""
    text = " ".join((action.help or "").split())
    default = action.default
    if action.required and action.option_strings:
        return f"{text} (required)"
    if default in (None, False, argparse.SUPPRESS) or default == [] or "default" in text:
        return text
    shown = _as_written(default)
    return text if f"({shown}" in text else f"{text} ({shown})"


def _as_written(default: Any) -> str:
    """A default as a person would write it: 10, not 10.0; two numbers with a space between."""
    if isinstance(default, list | tuple):
        return " ".join(map(_as_written, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


class OptionHelp(argparse.HelpFormatter):
    """`--help` with `with_default` of each option."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return with_default(action)


class CommandParser(argparse.ArgumentParser):
    """The parser of a command. What it cannot take is an InputError, one line; an option that the
    command does not have is told before those that are missing. A home folder `~/` is taken where
    no shell does so, as in --out=~/x and folder:~/x, but not in TEXTS."""

    def __init__(self, *, formatter_class: type[OptionHelp] = OptionHelp, **options):
        super().__init__(formatter_class=formatter_class, **options)

    def error(self, message: str):
        raise InputError(f"{message}; `{self.prog} --help` lists the options")

    def parse_known_args(self, args=None, namespace=None):
        words = self.with_homes(sys.argv[1:] if args is None else args)
        self._refuse_unknown(words)
        self._refuse_empty_and_second(words)
        return super().parse_known_args(words, namespace)

    def with_homes(self, words: Sequence[str]) -> list[str]:
        """`with_home` of the words that are no TEXTS."""
        read, before = [], ""
        for word in words:
            is_text = before in TEXTS or self._named(word) in TEXTS
            read.append(word if is_text else with_home(word))
            before = "" if "=" in word else self._named(word)
        return read

    def _named(self, word: str) -> str:
        """What stands before the = of a word; of an option, which argparse takes by any beginning
        that no other has, the whole name."""
        name = word.partition("=")[0]
        known = self._option_string_actions
        begun = [option for option in known if option.startswith(name)]
        return begun[0] if name not in known and name[:2] == "--" and len(begun) == 1 else name

    def _refuse_unknown(self, words: list[str]) -> None:
        known = self._option_string_actions
        for word in words:
            name = self._named(word)
            if word == "--" or (name in known and known[name].nargs == argparse.REMAINDER):
                return
            if not _is_option(word) or any(option.startswith(name) for option in known):
                continue
            if not name.startswith("--") and word[:2] in known:
                continue  # -n5
            if "--config" in known and name.startswith(SETTING):
                continue
            head, dot, tail = name.partition(".")
            close = nearest(head, known, dot + tail, likeness=0.7)  # dashes are alike in all
            raise InputError(
                f"{self.prog} has no option {name}; "
                f"{close or f'`{self.prog} --help` lists those it has'}"
            )

    def _refuse_empty_and_second(self, words: list[str]) -> None:
        known, given = self._option_string_actions, dict[str, str]()
        for place, word in enumerate(words):
            _, equals, value = word.partition("=")
            name = self._named(word)
            action = known.get(name)
            if action is not None and action.nargs == argparse.REMAINDER:
                return
            before = words[place - 1] if place else ""
            before = before if "=" in before else self._named(before)
            if not word or (action is not None and equals and not value):
                what = name or (before if before in known else "an argument")
                raise InputError(
                    f"{what} is empty; name something, or is a variable of the shell not set?"
                )
            single = isinstance(action, argparse._StoreAction) and action.nargs is None
            if name not in INPUTS or not single:
                continue
            value = value if equals else "".join(words[place + 1 : place + 2])
            if given.setdefault(name, value) != value:
                raise InputError(
                    f"{name} is given twice, {given[name]} and {value}; {self.prog} takes one"
                )


def with_home(word: str) -> str:
    """A word of a command line with the home folder for each `~` that begins a path in it. One that
    names a file or folder of that name here stays."""
    if "~" not in word or os.path.lexists("~"):
        return word
    return re.sub(r"(?<![^=:,@])~(?=/|$)", lambda _: os.path.expanduser("~"), word)


def _is_option(word: str) -> bool:
    """Whether argparse takes a word for an option: not a dash alone, a number or a text."""
    return word[:1] == "-" and word[1:2] not in (*"0123456789.", "") and " " not in word


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of an option that is a whole number from `least` to `most`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} must be a whole number, {least} to {most}")
        return value

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that is a number from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} must be a number, {least:g} to {most:g}")
        return value

    return read


read_seconds = number(0.0, DAY)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """--checkpoint, whatever `interop.load` takes."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="a training workdir (its best step), a step's folder, a Hugging Face folder or the "
        "name of a model of its hub (facebook/wav2vec2-base-960h)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """--data, a prepared corpus."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR[:split]",
        help="a prepared corpus, or one of its splits",
    )


def add_json(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--json OUT, where the results go, and --overwrite for a file that is none."""
    parser.add_argument(
        "--json", required=required, type=Path, metavar="OUT", help="the file for the results"
    )
    add_overwrite_result(parser)


def add_overwrite_result(parser: argparse.ArgumentParser) -> None:
    """--overwrite, for a file of results; see `outputs.try_outputs` and `tell_replaced`."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace OUT also if it is no result; say nothing if it is one of other inputs",
    )


def add_batch_seconds(parser: argparse.ArgumentParser, default: float) -> None:
    """--batch-seconds, the size of a call of the network."""
    parser.add_argument(
        "--batch-seconds",
        type=number(0.001, DAY),
        default=default,
        metavar="S",
        help=f"seconds of audio per call of the network ({default:g}); less needs less memory",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """--overwrite, for files that exist."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def add_romanise(parser: argparse.ArgumentParser) -> None:
    """--romanise, for texts in another script than the model's."""
    parser.add_argument(
        "--romanise",
        action="store_true",
        help="spell words of any script in Latin letters, for a model of a to z: by uroman (pip "
        'install "w2v2_jax[romanise]")',
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config, a recipe."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE.py[:arg]",
        help="a recipe and its argument: finetune:base_10h (a name from `w2v2 recipes`) or "
        "experiments/finetune.py:base_10h (a file); --config.a.b=value changes a setting",
    )
