"""A tiny network that transcribes, clips for it, and the command."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_jax import transcribe
from w2v2_jax.errors import run_command
from w2v2_jax.inference import Model


@pytest.fixture(scope="module")
def model(tuned) -> Model:
    return Model(Path("tiny"), tuned.description, tuned.params)


@pytest.fixture(scope="module")
def pretraining(pretrained) -> Model:
    return Model(Path("tiny"), pretrained.description, pretrained.params)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, size=4000).astype(np.float32)


@pytest.fixture
def clips(tmp_path, noise):
    """name -> path of a wav below tmp_path/audio."""

    def make(*names):
        for name in names:
            path = tmp_path / "audio" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise, 16000, format="WAV")
        return [str(tmp_path / "audio" / name) for name in names]

    return make


@pytest.fixture
def command(model, monkeypatch):
    """Runs `transcribe` on the tiny model; returns its status."""
    monkeypatch.setattr(transcribe, "load", lambda path, execution: model)

    def run(*arguments):
        words = ["--checkpoint", "x", "--batch-seconds", "1", *map(str, arguments)]
        return run_command(transcribe.main, words)

    return run
