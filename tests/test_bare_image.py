"""Where TensorFlow, librosa and ml_collections are not installed, the rest still works."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.places import EXPERIMENTS

READERS = ("tensorflow", "tensorflow_datasets", "librosa", "soundfile", "soxr")
BLOCKED = (*READERS, "ml_collections")
# They are not found, as where they are not installed: a None in sys.modules would count as imported
# where einops looks for the frameworks that are there.
PREAMBLE = """
import sys
from importlib.machinery import PathFinder
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in BLOCKED
        return None if absent else super().find_spec(name, path, target)
sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run_blocked(code: str, blocked=BLOCKED) -> subprocess.CompletedProcess:
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", f"BLOCKED = {blocked}\n{PREAMBLE}{code}"],
        env=environment,
        capture_output=True,
        text=True,
    )


def train(folder, *options):
    """`w2v2 train` at toy size from a prepared corpus, without TensorFlow and audio libraries."""
    if not (folder / "train").exists():
        write_split(folder, "train", texts=("A B",) * 12, seconds=0.3)
    arguments = ["--config", f"{EXPERIMENTS}/pretrain_base.py:smoke", *options]
    arguments += [f"--config.data.train={folder}:train", "--config.data.valid="]
    return run_blocked(
        "from w2v2_jax.errors import run_command\nfrom w2v2_jax.train.command import main\n"
        f"sys.exit(run_command(main, {arguments}))",
        READERS,
    )


@pytest.mark.slow
def test_a_prepared_corpus_trains_without_tensorflow_and_audio_libraries(tmp_path):
    threads = "--config.data.reader=threads"
    run = train(tmp_path, f"--workdir={tmp_path}/run", "--config.train.steps=2", threads)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    assert train(tmp_path, "--dry-run", threads).returncode == 0


@pytest.mark.slow
def test_without_tensorflow_its_reader_is_one_line_that_names_the_other(tmp_path):
    run = train(tmp_path, f"--workdir={tmp_path}/run", "--config.train.steps=2")
    assert run.returncode == 2
    assert "data.reader='tfdata' (use 'threads' without it) needs TensorFlow" in run.stderr


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
