"""`w2v2 COMMAND ...`: the same as `python -m w2v2_jax.COMMAND ...`."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys

import w2v2_jax
from w2v2_jax.errors import InputError, nearest, run_command

# Command -> (the module that has its `main`, what it does). A module is imported only when its
# command runs: `prepare` must not wait for JAX, and `bench` must not hold it in memory.
COMMANDS = {
    "prepare": ("prepare.command", "recordings and transcripts -> a corpus of sharded records"),
    "train": ("train.command", "pretrain or fine-tune; the same command resumes"),
    "recipes": ("experiment.catalogue", "the recipes that come with the package"),
    "evaluate": ("evaluate", "error rates of a tuned checkpoint, with intervals"),
    "compare": ("compare", "two evaluations, or a run beside reference curves"),
    "transcribe": ("transcribe", "recordings of any length -> text with times"),
    "classify": ("inference.classify", "recordings -> their classes; or scores of a corpus"),
    "align": ("align", "the time of each line of a transcript in a recording"),
    "segment": ("prepare.segment", "long recordings and their texts -> a manifest of segments"),
    "pseudo": ("prepare.pseudo", "a checkpoint's transcripts for a corpus that has none"),
    "explore": ("prepare.explore", "a prepared corpus as a page to look at and listen to"),
    "export": ("export.command", "weights or a program for other frameworks"),
    "convert": ("convert", "weights of other frameworks -> a native checkpoint"),
    "average": ("export.average", "the mean of several checkpoints, as one"),
    "lm": ("lm", "an n-gram language model from text"),
    "emit": ("emit", "save the logits of a corpus once for decoding"),
    "decode": ("decode.command", "saved logits -> text, with a language model"),
    "sweep": ("sweep", "tune the decoding weights on a dev split"),
    "units": ("units", "usage of the codebooks, and agreement of units with phones"),
    "extract": ("extract", "features of any layer, or units, to npz or parquet"),
    "stage": ("stage", "a prepared corpus from an object store to a local disk"),
    "aot": ("aot.command", "memory, communication and time on a pod, without the pod"),
    "bench": ("bench.command", "speed of training, inference or the data pipeline"),
    "report": ("report.command", "the quickstart's table and figure"),
    "sample_speech": ("sample_speech.command", "download two hours of real speech to try things"),
}
OPTIONS = ("--help", "--version", "--completion")


def usage() -> str:
    """A line for each command."""
    lines = [f"  {name:<14}{what}" for name, (_, what) in COMMANDS.items()]
    head = (
        "usage: w2v2 COMMAND ...; `w2v2 COMMAND --help` lists its options\n"
        "       w2v2 --version\n"
        "       w2v2 --completion bash|zsh    a script to source, to complete commands\n\n"
    )
    return head + "\n".join(lines)


def version() -> str:
    """The versions of this package, of JAX and of Python."""
    return (
        f"w2v2_jax {w2v2_jax.__version__} (jax {importlib.metadata.version('jax')}, "
        f"Python {platform.python_version()})"
    )


def main_of(command: str):
    """The `main` of one of COMMANDS."""
    return importlib.import_module(f"w2v2_jax.{COMMANDS[command][0]}").main


def completion(shell: str) -> str:
    """The completion script for bash or zsh."""
    from w2v2_jax.experiment import catalogue
    from w2v2_jax.system.completion import SHELLS, parser_of, script

    if shell not in SHELLS:
        raise InputError(f"--completion {shell}: use one of {', '.join(SHELLS)}")
    parsers = {command: parser_of(main_of(command)) for command in COMMANDS}
    return script(shell, parsers, catalogue.names())


def _unknown(name: str) -> InputError:
    if name.startswith("-"):
        hint = nearest(name, OPTIONS) or f"use a command or one of {', '.join(OPTIONS)}"
        return InputError(f"w2v2 has no option {name}; {hint}")
    hint = nearest(name, COMMANDS) or f"use one of {', '.join(COMMANDS)}"
    return InputError(f"w2v2 has no command {name!r}; {hint}")


def run(argv: list[str] | None) -> None:
    """Runs the command that the first argument names, with the other arguments."""
    if not argv:
        print(usage(), file=sys.stderr)
        sys.exit(2)
    if argv[0] in ("-h", "--help"):
        print(usage())
    elif argv[0] in ("-V", "--version"):
        print(version())
    elif argv[0] == "--completion":
        print(completion(argv[1] if len(argv) > 1 else ""), end="")
    elif argv[0] in COMMANDS:
        main_of(argv[0])(argv[1:])
    else:
        raise _unknown(argv[0])


def main(argv: list[str] | None = None) -> int:
    return run_command(run, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
