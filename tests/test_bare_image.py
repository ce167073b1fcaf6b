"""Where TensorFlow, librosa and ml_collections are not installed, the rest still works."""

import json
import os
import subprocess
import sys

import pytest

BLOCKED = ("tensorflow", "tensorflow_datasets", "librosa", "soundfile", "soxr", "ml_collections")
# They are not found, as where they are not installed: a None in sys.modules would count as imported
# where einops looks for the frameworks that are there.
PREAMBLE = f"""
import sys
from importlib.machinery import PathFinder
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in {BLOCKED}
        return None if absent else super().find_spec(name, path, target)
sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run_blocked(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_train_step_is_timed_without_them(tmp_path):
    out = tmp_path / "bench.json"
    arguments = ["--what", "train", "--family", "small", "--rows", "1", "--seconds", "1"]
    arguments += ["--repeats", "1", "--json", str(out)]
    done = run_blocked(f"from w2v2_jax.bench.command import main; main({arguments})")
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["frames_per_second"] > 0


@pytest.mark.slow
def test_a_model_is_saved_loaded_and_exported_without_them(tmp_path):
    code = f"""
import jax
from pathlib import Path
from w2v2_jax import inference, partition
from w2v2_jax.export import command as export
from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.vocabulary import LIBRISPEECH
from w2v2_jax.interop.native import write_initial
from w2v2_jax.models.families import model_config
from w2v2_jax.objectives.ctc import CTC
config = model_config("small", num_layers=1)
params = partition.unbox(jax.jit(CTC(config, len(LIBRISPEECH)).init)(jax.random.key(0)))
description = Description("ctc", config, LIBRISPEECH, True)
write_initial(Path({str(tmp_path)!r}) / "native", Loaded(Path("x"), description, params))
model = inference.load(Path({str(tmp_path)!r}) / "native")
import numpy as np
print(model.logits(np.zeros((1, 16000))).shape)
export.main(["--checkpoint", str(Path({str(tmp_path)!r}) / "native"), "--to", "hf",
             "--out", str(Path({str(tmp_path)!r}) / "hf")])
"""
    done = run_blocked(code)
    assert done.returncode == 0, done.stderr
    assert "(1, 49, 32)" in done.stdout and (tmp_path / "hf" / "model.safetensors").is_file()
