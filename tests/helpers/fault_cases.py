"""A toy run under a fault: how it is started, and how files are broken."""

import os
import shutil
from pathlib import Path

from tests.helpers.train_runs import PRETRAIN, options
from w2v2_jax.errors import run_command
from w2v2_jax.train import command as train

# After a read or a save that failed, threads of TensorStore find Orbax's event loop closed.
UNRAISABLE = "ignore::pytest.PytestUnraisableExceptionWarning"
STEPS = "--config.train.steps=6"


def run(corpus, workdir, *more):
    return run_command(train.main, ["--config", PRETRAIN, *options(corpus, workdir, STEPS, *more)])


def largest_file(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()
