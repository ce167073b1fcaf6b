"""A network in float16, whose largest number is 65504: what may be larger stays float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import w2v2_jax
from w2v2_jax import partition
from w2v2_jax.models import attention, first_layer, mixed_precision, position
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.feature_extractor import FeatureExtractor
from w2v2_jax.models.layers import gelu

HALF = Execution(dtype="float16")
LARGEST = float(jnp.finfo(jnp.float16).max)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(params=["cpu", "gpu"])
def device(request, monkeypatch):
    """Traced as for this device, with the formulations of any."""
    for module in (mixed_precision, position, attention):
        monkeypatch.setattr(module, "platform", lambda: request.param)


@pytest.mark.parametrize(
    "formulation", ["xla_conv", "phased_backward", "matmul_per_stride", "one_matmul"]
)
def test_a_convolution_before_a_norm_may_exceed_float16(tiny, formulation, device):
    config = dataclasses.replace(tiny, extractor_norm="layer", conv_bias=True)
    x, counts = random(2, 1000), jnp.array([1000, 800])
    full = FeatureExtractor(config, Execution(conv_formulation=formulation))
    low = FeatureExtractor(config, Execution(dtype="float16", conv_formulation=formulation))
    shapes = partition.unbox(jax.eval_shape(full.init, jax.random.key(0), x, counts))
    params = jax.tree.map(lambda leaf: 1.5e4 * random(*leaf.shape), shapes)
    for layer in params["params"].values():
        layer["norm"] = {"scale": jnp.ones(8), "bias": jnp.zeros(8)}
    expected = jax.jit(full.apply)(params, x, counts)
    sums = mixed_precision.convolve(expected, params["params"]["conv_2"]["kernel"], stride=2)
    assert np.abs(sums).max() > LARGEST
    got = jax.jit(low.apply)(params, x, counts)
    assert got.dtype == jnp.float16
    np.testing.assert_allclose(got.astype(jnp.float32), expected, atol=0.02)


@pytest.mark.parametrize("name", position.FORMULATIONS)
def test_a_positional_convolution_may_exceed_float16(name, device):
    x, kernel = random(2, 30, 8), random(6, 4, 8, seed=1)
    formulation = position.FORMULATIONS[name]
    run = lambda x: formulation(x, 1e4 * kernel, 2)  # noqa: E731
    got, expected = run(x.astype(jnp.float16)), run(x)
    assert got.dtype == jnp.float32 and np.abs(expected).max() > LARGEST
    np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["plain", "late_division", "tpu_few_passes"])
def test_scores_and_sums_over_frames_may_exceed_float16(name):
    frames, dim, heads, size = 1000, 8, 2, 4
    x, kernel = random(1, frames, dim), random(dim, 3, heads, size, seed=1)
    kernel = kernel.at[:, :2].multiply(jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1) * 300)
    bias = jnp.zeros((3, heads, size)).at[2].set(100.0)  # head 0 averages 1000 values near 100
    out, real = 0.1 * random(heads, size, dim, seed=2), jnp.arange(frames)[None] < frames - 10
    run = lambda x: attention.FORMULATIONS[name](x, kernel, bias, out, real, None, 0.0)  # noqa: E731
    query, key, _ = attention._fused_projections(x, kernel, bias)
    assert jnp.einsum("bhqs,bhks->bhqk", query, key).max() > LARGEST
    got, expected = run(x.astype(jnp.float16)), run(x)
    assert got.dtype == jnp.float16
    # Of head 1 another frame may win where two scores are nearly equal.
    close = np.abs(got - expected).max(-1) < 0.02 * np.abs(expected).max()
    assert np.isfinite(got).all() and close.mean() > 0.9


def test_the_gelu_of_the_largest_numbers_and_its_slope_are_numbers():
    x = jnp.array([-LARGEST, -1e3, 1e3, LARGEST], jnp.float16)
    np.testing.assert_array_equal(gelu(x), [0, 0, 1e3, LARGEST])
    np.testing.assert_array_equal(jax.vmap(jax.grad(gelu))(x), [0, 0, 1, 1])


def test_kernels_that_no_device_ran_in_float16_give_way(monkeypatch):
    monkeypatch.setattr(attention, "has_matrix_units", lambda: True)
    monkeypatch.setattr(attention, "has_mosaic", lambda: True)
    monkeypatch.setattr(first_layer, "has_matrix_units", lambda: True)
    for where, name in (("gpu", "plain"), ("tpu", "tpu_few_passes")):
        monkeypatch.setattr(attention, "platform", lambda where=where: where)
        for asked in ("auto", f"{where}_kernel"):
            assert attention.choose(asked, dtype="float16").__name__ == name
    patches, kernel = jnp.zeros((1, 200, 10)), jnp.zeros((1, 10, 512))
    assert first_layer._in_kernels(patches.astype(jnp.bfloat16), kernel)
    assert not first_layer._in_kernels(patches.astype(jnp.float16), kernel)


def test_a_checkpoint_of_float32_transcribes_in_float16(folder):
    full, low = w2v2_jax.load(folder), w2v2_jax.load(folder, execution=HALF)
    waveforms = np.asarray(random(2, 1000))
    expected, got = full.logits(waveforms), low.logits(waveforms)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=5e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(got.argmax(-1), expected.argmax(-1))
    features = low.features(waveforms)
    np.testing.assert_allclose(features, full.features(waveforms), atol=0.02)
