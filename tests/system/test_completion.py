"""The completion scripts, run by the shells that are there."""

import argparse
import shutil
import subprocess

import pytest

from w2v2_jax.system.completion import parser_of, script


def make(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--what", choices=("train", "infer"))
    parser.parse_args(argv)
    raise AssertionError("nothing after the parser is run")


def completed(words: list[str]) -> list[str]:
    """What bash offers for the last of the words."""
    parsers = {name: parser_of(make) for name in ("train", "transcribe", "bench")}
    lines = [
        script("bash", parsers, ["pretrain_base", "finetune"]),
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}",
        '_w2v2; printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["w2v2", "tr"], ["train", "transcribe"]),
        (["w2v2", "train", "--co"], ["--config"]),
        (["w2v2", "train", "--config", "pre"], ["pretrain_base"]),
        (["w2v2", "recipes", "f"], ["finetune"]),
        (["w2v2", "bench", "--what", ""], ["train", "infer"]),
        (["w2v2", "train", "a"], []),
    ],
)
def test_bash_completes_commands_options_recipes_and_choices(words, offered):
    assert completed(words) == offered


def test_zsh_reads_its_script():
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    text = script("zsh", {"train": parser_of(make)}, ["finetune"])
    assert subprocess.run(["zsh", "-n"], input=text, text=True).returncode == 0
