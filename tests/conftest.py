"""Eight fake CPU devices, strict ranks, and the tiny network and batch that many tests share."""

import os

from tests.helpers.xla_flags import devices

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("W2V2_COMPILATION_CACHE", "0")  # a test leaves nothing in a home folder
os.environ.setdefault("W2V2_KEEP_MEMORY", "0")  # nor does it hold what another test needed
for flag in devices(8).split():
    if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()

import dataclasses  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests.helpers.frameworks import checkpoint_utils, torchaudio_model  # noqa: E402, F401
from tests.helpers.interop_cases import PRETRAINING, VOCABULARY, random_checkpoint  # noqa: E402
from w2v2_jax import partition  # noqa: E402
from w2v2_jax.batch import Batch  # noqa: E402
from w2v2_jax.checkpoint.description import Loaded  # noqa: E402
from w2v2_jax.interop import hugging_face  # noqa: E402
from w2v2_jax.models.config import ModelConfig  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)  # compiling is most of the time


def pytest_report_header() -> str:
    """What the results hold for, beside the interpreter that pytest names."""
    return ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "optax", "numpy"))


RATES = ("dropout", "attention_dropout", "activation_dropout", "input_dropout",
         "quantizer_dropout", "final_dropout", "layer_drop")  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """A network of 20-sample frames and two layers: 1000 samples are 49 frames."""
    return ModelConfig(
        conv_layers=((8, 10, 5), (8, 3, 2), (8, 2, 2)), d_model=16, num_layers=2, num_heads=2,
        ffn_dim=32, position_kernel=8, position_groups=2, entries=8, code_dim=8, final_dim=8,
    )  # fmt: skip


@pytest.fixture(scope="session")
def quiet(tiny) -> ModelConfig:
    """The tiny network without dropout or LayerDrop."""
    return dataclasses.replace(tiny, **dict.fromkeys(RATES, 0.0))


@pytest.fixture(scope="session")
def noisy(tiny) -> ModelConfig:
    """The tiny network with every kind of dropout and LayerDrop switched on."""
    return dataclasses.replace(tiny, **dict.fromkeys(RATES, 0.2))


@pytest.fixture(scope="session")
def random_params():
    """objective -> parameters of its shapes drawn by numpy: nothing to compile, and no scale,
    shift or bias at the 1 or 0 that could hide its absence."""

    def make(objective, seed=0):
        rng = np.random.default_rng(seed)

        def draw(path, leaf):
            ones = str(path[-1].key) in ("scale", "norm_scale", "magnitude")
            width = 1.0 if str(path[-1].key) == "entries" else 0.2
            return (ones + width * rng.normal(size=leaf.shape)).astype(np.float32)

        shapes = partition.unbox(jax.eval_shape(objective.init, jax.random.key(0)))
        return jax.tree_util.tree_map_with_path(draw, shapes)

    return make


@pytest.fixture(scope="session")
def make_batch():
    """(rows, samples) -> a Batch of noise whose rows have different lengths, zero where padded."""

    def make(rows=8, samples=1000, *, seed=0, labels=True, shortest=600) -> Batch:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(shortest, samples + 1, rows).astype(np.int32)
        lengths[0] = samples
        real = np.arange(samples) < lengths[:, None]
        waveforms = (rng.normal(size=(rows, samples)) * real).astype(np.float32)
        weights = np.ones(rows, np.float32)
        if not labels:
            return Batch(waveforms, lengths, weights)
        num_labels = rng.integers(1, 6, rows).astype(np.int32)
        text = rng.integers(1, 5, (rows, 6)) * (np.arange(6) < num_labels[:, None])
        return Batch(waveforms, lengths, weights, text.astype(np.int32), num_labels)

    return make


@pytest.fixture(scope="module")
def tuned(tiny) -> Loaded:
    """A fine-tuned checkpoint with random parameters."""
    return random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=VOCABULARY)


@pytest.fixture(scope="module")
def pretrained(tiny) -> Loaded:
    """A pretraining checkpoint with random parameters."""
    return random_checkpoint(tiny, parts=PRETRAINING)


@pytest.fixture
def folder(tuned, tmp_path) -> Path:
    """A Hugging Face directory that a test may damage."""
    hugging_face.save(tuned, tmp_path / "hf")
    return tmp_path / "hf"
