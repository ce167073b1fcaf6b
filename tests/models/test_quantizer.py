"""The Gumbel product quantizer: hard forward, soft backward, its schedule and its probabilities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax import partition
from w2v2_jax.models.quantizer import Quantizer, gumbel_temperature, straight_through


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_forward_pass_is_the_one_hot_of_the_noisy_argmax(temperature):
    logits, gumbel = random(3, 5, 2, 7), random(3, 5, 2, 7, seed=1)
    out = jax.jit(straight_through)(logits, gumbel, temperature)
    np.testing.assert_array_equal(out, np.eye(7)[np.argmax(logits + gumbel, -1)])


def test_the_gradient_is_that_of_the_tempered_softmax():
    logits, gumbel, weight = random(3, 5, 2, 7), random(3, 5, 2, 7, seed=1), random(7, seed=2)
    pull = weight[None, None, None]
    hard = jax.grad(lambda x: (straight_through(x, gumbel, 0.7) * pull).sum())(logits)
    soft = jax.grad(lambda x: (jax.nn.softmax((x + gumbel) / 0.7) * pull).sum())(logits)
    assert np.abs(soft).max() > 0.01
    np.testing.assert_allclose(hard, soft, rtol=1e-5, atol=1e-7)


def test_evaluation_takes_the_noise_free_argmax():
    logits = random(3, 5, 2, 7)
    out = straight_through(logits, None, 0.1)
    np.testing.assert_array_equal(out, np.eye(7)[np.argmax(logits, -1)])


@pytest.fixture(scope="module")
def quantizer(tiny):
    config = dataclasses.replace(tiny, entries=64, code_dim=32, conv_layers=((96, 10, 5),))
    network = Quantizer(config)
    features = random(2, 20, 96)
    params = partition.unbox(network.init(jax.random.key(0), features, None, 1.0))
    return jax.jit(network.apply), params, features


def test_codes_are_the_chosen_entries_of_each_codebook_side_by_side(quantizer):
    apply, params, features = quantizer
    out = apply(params, features, 3 * random(2, 20, 2, 64, seed=4), 1.0)
    table = np.asarray(params["params"]["entries"])
    ids = np.asarray(out.ids)
    expected = np.concatenate([table[0][ids[..., 0]], table[1][ids[..., 1]]], -1)
    np.testing.assert_allclose(out.codes, expected, rtol=1e-6)
    assert out.codes.shape == (2, 20, 32)


def test_reported_probabilities_know_neither_noise_nor_temperature(quantizer):
    apply, params, features = quantizer
    noisy = apply(params, features, 3 * random(2, 20, 2, 64, seed=4), 0.5)
    still = apply(params, features, None, 1.0)
    kernel = np.asarray(params["params"]["logits"]["kernel"])
    logits = (np.asarray(features) @ kernel).reshape(2, 20, 2, 64)
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(still.probs, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(noisy.probs, still.probs, rtol=1e-5)
    np.testing.assert_array_equal(still.ids, logits.argmax(-1))
    assert (noisy.ids != still.ids).any()


def test_everything_is_float32_for_bfloat16_features(quantizer):
    apply, params, features = quantizer
    out = apply(params, features.astype(jnp.bfloat16), None, 1.0)
    assert out.codes.dtype == out.probs.dtype == jnp.float32


def test_logits_start_with_unit_variance_and_no_bias_and_entries_uniform(quantizer):
    _, params, _ = quantizer
    params = params["params"]
    assert np.std(params["logits"]["kernel"]) == pytest.approx(1.0, rel=0.03)
    assert not np.asarray(params["logits"]["bias"]).any()
    entries = np.asarray(params["entries"])
    assert entries.min() >= 0 and entries.max() <= 1
    assert entries.mean() == pytest.approx(0.5, abs=0.03)
    assert entries.std() == pytest.approx(12**-0.5, rel=0.05)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 2.0), (1, 2 * 0.999995), (1000, 2 * 0.999995**1000), (250_000, 0.57301),
     (277_257, 0.5000023), (277_260, 0.5), (10_000_000, 0.5)],
)  # fmt: skip
def test_the_temperature_decays_by_update_from_2_to_its_floor(step, expected):
    value = gumbel_temperature(step, start=2.0, end=0.5, decay=0.999995)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_the_temperature_takes_a_traced_step():
    temperature = jax.jit(lambda s: gumbel_temperature(s, start=2.0, end=0.1, decay=0.999995))
    assert float(temperature(jnp.asarray(599_000, jnp.int32))) == pytest.approx(0.10007, rel=1e-3)
    assert float(temperature(jnp.asarray(600_000, jnp.int32))) == pytest.approx(0.1)
