"""Chunks tile a recording on one grid, and stitched logits are the whole recording's."""

import dataclasses
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.interop_cases import LAYER_NORM, VOCABULARY, random_checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.inference import Model
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition.long_audio import chunks, make_grid, measure, stitched

LAYERS = ((8, 10, 5), (8, 3, 2), (8, 2, 2))  # a frame sees 30 samples, the next one 20 later


def in_blocks(samples, size):
    return (samples[k : k + size] for k in range(0, len(samples), size))


def frame_means(waveforms, counts):
    """A network that sees one frame: the mean of its samples."""
    starts = range(0, waveforms.shape[1] - 29, 20)
    return np.stack([waveforms[:, s : s + 30].mean(1, keepdims=True) for s in starts], axis=1)


@pytest.mark.parametrize("block", [7, 333, 10**6])
@pytest.mark.parametrize("samples", [30, 49, 229, 230, 231, 250, 251, 1000, 2503])
@pytest.mark.parametrize("context", [0, 60])
def test_every_frame_comes_once_and_from_its_own_samples(samples, block, context):
    grid = make_grid(LAYERS, chunk_samples=240, context_samples=context)
    assert (grid.field, grid.stride, grid.frames, grid.samples) == (30, 20, 11, 230)
    waveform = np.random.default_rng(0).normal(size=samples).astype(np.float32)
    pieces = list(stitched(in_blocks(waveform, block), grid, frame_means, rows=2))
    whole = frame_means(waveform[None], None)[0]
    assert len(whole) == frame_counts(samples, LAYERS)
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-5, atol=1e-6)


def test_kept_frames_have_their_context_on_both_sides():
    grid = make_grid(LAYERS, chunk_samples=240, context_samples=60)
    found = list(chunks(iter([np.zeros(2503, np.float32)]), grid))
    assert found[0].first == 0 and found[-1].last == grid.frames
    assert all(chunk.first >= grid.context for chunk in found[1:])
    assert all(chunk.last <= grid.frames - grid.context for chunk in found[:-1])


def test_a_recording_too_short_for_a_frame_gives_nothing():
    grid = make_grid(LAYERS, chunk_samples=240, context_samples=60)
    assert not list(chunks(iter([np.zeros(29, np.float32)]), grid))


def test_hours_are_held_a_chunk_at_a_time():
    grid = make_grid(LAYERS, chunk_samples=480000, context_samples=80000)
    minutes = (np.zeros(65536, np.float32) for _ in range(300))
    tracemalloc.start()
    frames = sum(chunk.last - chunk.first for chunk in chunks(minutes, grid))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames == frame_counts(300 * 65536, LAYERS)
    assert peak < 8 * 4 * grid.samples  # of 41 chunks


def test_mean_and_variance_do_not_depend_on_the_blocks_and_survive_an_offset():
    samples = (100 + np.random.default_rng(1).normal(size=5000)).astype(np.float32)
    for size in (1, 333, 5000):
        found = measure(in_blocks(samples, size))
        assert found.count == 5000
        assert found.mean == pytest.approx(samples.astype(np.float64).mean())
        assert found.variance == pytest.approx(samples.astype(np.float64).var())


@pytest.fixture(scope="module")
def local(tiny) -> Model:
    """A network without attention's long reach: a frame sees four frames on either side."""
    config = dataclasses.replace(tiny, **LAYER_NORM)
    loaded = random_checkpoint(
        config, parts=("encoder", "head"), vocabulary=VOCABULARY, normalise=True
    )
    attention = loaded.params["encoder"]["transformer"]["layers"]["attention"]
    attention["out_kernel"] = np.zeros_like(attention["out_kernel"])
    return Model(Path("local"), loaded.description, loaded.params)


@pytest.fixture(scope="module")
def growing() -> np.ndarray:
    """A recording that becomes louder, so that each chunk has a level of its own."""
    rng = np.random.default_rng(2)
    return (rng.normal(size=2000) * np.linspace(0.1, 1, 2000)).astype(np.float32)


def stitch(model, waveform, context_samples):
    pieces = model.stitched_logits(
        lambda: in_blocks(waveform, 300), chunk_seconds=800 / 16000, batch_seconds=0.1,
        context_seconds=context_samples / 16000,
    )  # fmt: skip
    return np.concatenate(list(pieces))


def test_stitched_logits_are_the_whole_recordings_where_the_context_suffices(local, growing):
    whole = local.logits(growing)[0]
    np.testing.assert_allclose(stitch(local, growing, 80), whole, rtol=1e-3, atol=1e-3)
    short = np.abs(stitch(local, growing, 40) - whole).max(-1)
    assert short.max() > 0.01  # two frames of context are too few
    assert np.median(short) < 1e-3  # and only the frames beside the seams suffer


def test_the_model_normalises_by_the_whole_recording_in_every_chunk(local, growing):
    """Per chunk the same samples would have two scales, one on each side of a seam."""
    louder = local.logits(growing[-800:])[0]
    assert np.abs(louder - local.logits(growing)[0][-39:])[20:].max() > 0.01
    np.testing.assert_allclose(
        stitch(local, growing, 80)[-19:], local.logits(growing)[0][-19:], rtol=1e-3, atol=1e-3
    )


def test_waveforms_above_the_largest_bucket_are_chunked_in_batches_too(local, growing, monkeypatch):
    from w2v2_jax.recognition import batches

    monkeypatch.setattr(batches, "WHOLE_SAMPLES", 1000)
    monkeypatch.setattr(batches, "stitched", lambda *_: iter([np.zeros((3, 2)), np.ones((4, 2))]))
    ((index, logits),) = local.batched_logits([growing], batch_seconds=1)
    assert index == 0 and logits.shape == (7, 2)


def test_a_context_that_leaves_nothing_is_one_clear_line(local, growing):
    with pytest.raises(InputError, match="longer than twice the context"):
        local.stitched_logits(lambda: [growing], chunk_seconds=1, context_seconds=0.6)


TWO_HOURS = """
import sys
import jax, jax.numpy as jnp, numpy as np, soundfile
from pathlib import Path
from w2v2_jax import partition
from w2v2_jax.bench.child import resident_peak_bytes
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.vocabulary import LIBRISPEECH
from w2v2_jax.inference import Model
from w2v2_jax.models.families import model_config
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC

path, rng = sys.argv[1], np.random.default_rng(0)
block = (0.1 * rng.normal(size=80000)).astype(np.float32)
with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
    for _ in range(720):
        file.write(block)
strides = ((4, 10, 5), *((4, 3, 2),) * 4, *((4, 2, 2),) * 2)
config = model_config(
    "small", conv_layers=strides, d_model=16, num_layers=1, num_heads=1, ffn_dim=32,
    position_groups=1, code_dim=8, final_dim=8,
)
network = Wav2Vec2ForCTC(config, len(LIBRISPEECH))
params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 16000)), jnp.array([16000]))
params = partition.unbox(params)["params"]
model = Model(Path("micro"), Description("ctc", config, LIBRISPEECH, True), params)
model.transcribe(np.tile(block, 13))  # 65 s: everything is compiled and loaded
before = resident_peak_bytes()
(result,) = model.transcribe(path)
print(result.duration, (resident_peak_bytes() - before) / 2**20)
"""


@pytest.mark.slow
def test_two_hours_take_little_more_memory_than_a_minute(tmp_path):
    """The network is minute, so that what grows with the recording would be seen."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_HOURS, str(tmp_path / "noise.wav")],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    duration, growth = map(float, done.stdout.split())
    assert duration == pytest.approx(7200, abs=0.01)
    assert growth < 150  # MiB; the samples alone are 439
