"""A prepared corpus of tones, and one finished toy run on it."""

import jax
import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from tests.helpers.train_runs import PRETRAIN, options, use_one_device
from w2v2_jax.prepare import command as prepare
from w2v2_jax.train import command as train


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Runs of one recipe take their compiled steps from each other, or from the folder that JAX
    was given."""
    if jax.config.jax_compilation_cache_dir:
        yield
        return
    from jax.experimental.compilation_cache import compilation_cache

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path_factory.mktemp("programs")), 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def short_clips(tmp_path_factory):
    """A prepared corpus of 30 clips of 0.05 s to 1.5 s, all in "train"."""
    folder = tmp_path_factory.mktemp("short_clips")
    write_split(folder, "train", texts=("A B",) * 30, seconds=0.05)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Twelve clips of noise and tones with transcripts, prepared into train, dev and test."""
    folder = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    lines = []
    for i in range(12):
        time_axis = np.arange(16000 + 1600 * i) / 16000
        tone = 0.2 * np.sin(2 * np.pi * (200 + 50 * i) * time_axis)
        noise = 0.05 * random.standard_normal(len(time_axis))
        soundfile.write(folder / f"{i}.wav", tone + noise, 16000)
        split = "train" if i < 8 else ("dev" if i < 10 else "test")
        lines.append(f"{i}.wav\tTONE {'ABCDEFGHIJKL'[i]}\t{split}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    out = folder / "corpus"
    prepare.main(["--source", f"folder:{folder}", "--out", str(out), "--workers", "1"])
    return out


@pytest.fixture
def one_device(monkeypatch):
    """The runs of a test have one device."""
    use_one_device(monkeypatch)


@pytest.fixture(scope="module")
def pretrained(programs, corpus, tmp_path_factory):
    """A finished toy pretraining run."""
    workdir = tmp_path_factory.mktemp("runs") / "pretrain"
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        train.main(["--config", PRETRAIN, *options(corpus, workdir, "--config.train.steps=6")])
    return workdir
