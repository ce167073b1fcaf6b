"""Toy runs of the train command: their recipes, options and records."""

import contextlib
import json
from pathlib import Path

import jax
import pytest

from tests.helpers.places import ROOT
from w2v2_jax.train import loop

PRETRAIN = f"{ROOT}/experiments/quickstart.py:pretrain,smoke"


FINETUNE = f"{ROOT}/experiments/quickstart.py:finetune,smoke"


def use_one_device(patch: pytest.MonkeyPatch) -> None:
    """The suite has 8 fake devices; runs under this patch have one, as on a laptop."""
    devices = jax.devices()[:1]
    patch.setattr(jax, "devices", lambda *a: devices)


def options(corpus: Path, workdir: Path, *more: str) -> list[str]:
    return [
        "--workdir",
        str(workdir),
        f"--config.data.train={corpus}:train",
        f"--config.data.valid={corpus}:dev",
        "--config.data.reader=threads",
        "--config.mesh.data=1",
        *more,
    ]


def records(workdir: Path, split: str) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timing = ("audio_seconds_per_second", "data_wait", "compilations")
    rows = [json.loads(line) for line in lines]
    return [
        {k: v for k, v in row.items() if k not in timing} for row in rows if row["split"] == split
    ]


@contextlib.contextmanager
def dying(step: int):
    """A run of `train` in here must die, when it writes the training metrics of a step."""
    write = loop.MetricWriter.write

    def die(self, at, split, metrics):
        if (at, split) == (step, "train"):
            raise RuntimeError("dies")
        write(self, at, split, metrics)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="dies"):
        patch.setattr(loop.MetricWriter, "write", die)
        yield
