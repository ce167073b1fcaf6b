"""Quantized inputs and continuous targets (paper Table 4), as fairseq's code has them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.health.config import describe
from w2v2_jax.metrics import compute
from w2v2_jax.models import row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.flops import forward_flops
from w2v2_jax.models.wav2vec2 import Encoder
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.diversity import usage
from w2v2_jax.partition import axis_names

CHOICES = {
    "own": dict(quantize_input=True, input_code_dim=4),
    "shared": dict(quantize_input=True, same_quantizer=True),
    "input_alone": dict(quantize_input=True, quantize_targets=False),
    "continuous": dict(quantize_targets=False),
}
INPUTS = [name for name in CHOICES if name != "continuous"]
KEYS = row_random.row_keys(jax.random.key(2), jnp.arange(8))


@pytest.fixture(scope="module")
def made(quiet, random_params):
    """name -> (objective, parameters) of a choice."""

    @functools.cache
    def make(name):
        model = dataclasses.replace(quiet, **CHOICES[name])
        objective = Contrastive(model, diversity_group_seconds=0.125, num_negatives=10)
        return objective, random_params(objective)

    return make


@functools.partial(jax.jit, static_argnums=0)
def slopes(objective, params, batch, keys, step):
    """(gradients of the loss, sums); the tests of one choice share the program."""

    def loss(params):
        sums = objective.loss(params, batch, keys, step)
        return sums.loss, sums

    return jax.grad(loss, has_aux=True)(params)


@functools.partial(jax.jit, static_argnums=0)
def heard(objective, params, batch, draws):
    """(what the network gives, sums) for draws of training, without dropout."""
    out = objective.network.apply(
        {"params": params},
        batch.waveforms,
        batch.num_samples,
        mask=draws.mask,
        slots=draws.slots,
        gumbel=draws.gumbel,
        temperature=2.0,
        input_gumbel=draws.input_gumbel,
    )
    return out, objective.terms(params, batch, draws, None, 0)


def paths(objective):
    return set(axis_names(objective))


def under(tree, *names):
    for name in names:
        tree = tree[name]
    return ravel_pytree(tree)[0]


def test_each_choice_has_the_parameters_that_fairseq_has(quiet):
    trees = {
        name: paths(Contrastive(dataclasses.replace(quiet, **change), 1))
        for name, change in {"default": {}, **CHOICES}.items()
    }
    both = {f"quantizer/{x}" for x in ("entries", "logits/kernel", "logits/bias")}
    inside = {f"encoder/input_{x}" for x in (*both, "projection/kernel", "projection/bias")}
    projected = {f"encoder/feature_projection/{x}" for x in ("kernel", "bias")}
    default = trees["default"]
    assert both | projected <= default
    assert trees["own"] == default - projected | inside
    assert trees["shared"] == default - projected - both | inside
    assert trees["input_alone"] == default - projected - both | inside
    assert trees["continuous"] == default - both


def test_the_input_s_codes_are_as_wide_as_asked_else_as_the_model(quiet):
    def width(**change):
        model = dataclasses.replace(quiet, quantize_input=True, **change)
        shapes = partition.unbox(jax.eval_shape(CTC(model, 5).init, jax.random.key(0)))
        encoder = shapes["encoder"]
        books, _, size = encoder["input_quantizer"]["entries"].shape
        assert encoder["input_projection"]["kernel"].shape == (books * size, quiet.d_model)
        return books * size

    assert width() == quiet.d_model == 16
    assert width(input_code_dim=4) == 4
    assert width(same_quantizer=True) == quiet.code_dim == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(same_quantizer=True), r"model\.same_quantizer=True needs model\.quantize_input"),
        (
            dict(same_quantizer=True, quantize_input=True, quantize_targets=False),
            r"and model\.quantize_targets=True",
        ),
        (dict(input_code_dim=8), r"model\.input_code_dim=8 needs model\.quantize_input=True"),
        (dict(quantize_input=True, input_code_dim=7), r"codebooks=2 does not divide 7, the width"),
        (dict(quantize_input=True, input_code_dim=-2), r"input_code_dim=-2 must be a whole number"),
        (dict(quantize_input="own"), r"model\.quantize_input='own' must be True or False"),
        (dict(quantize_targets=2), r"model\.quantize_targets=2 must be True or False"),
    ],
)
def test_a_choice_that_makes_no_network_is_one_clear_error(change, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**change)


@pytest.mark.parametrize("name", CHOICES)
def test_every_parameter_but_the_loud_ones_gets_a_finite_gradient(name, made, make_batch):
    objective, params = made(name)
    gradient, sums = slopes(objective, params, make_batch(labels=False), KEYS, 3)
    assert np.isfinite(sums.loss)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        where = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), where
        assert np.abs(leaf).max() > 0 or "qkv_bias" in where, where
    values = compute(sums.metrics)
    terms = values["contrastive_loss"] + 10 * values["feature_penalty"]
    if name != "continuous":
        terms += 0.1 * values["diversity_loss"]
        expected = (16 - values["prob_perplexity"]) / 16
        assert values["diversity_loss"] == pytest.approx(expected, rel=1e-5)
    assert sums.loss / sums.weight == pytest.approx(terms, rel=1e-5)
    codes = {"prob_perplexity", "code_perplexity", "diversity_loss", "gumbel_temperature"}
    inputs = {"input_prob_perplexity", "input_code_perplexity"}
    assert codes & set(values) == (codes if name != "continuous" else set())
    assert inputs & set(values) == (inputs if name in ("own", "shared") else set())


def test_the_context_reaches_the_latents_through_the_codes_by_the_straight_through(
    made, make_batch
):
    """In the forward pass the context sees codes alone; the gradient passes all the same."""
    objective, params = made("own")
    batch = make_batch(labels=False)
    draws = objective.draw(KEYS, batch.num_samples, 1000, training=True)

    def pull(p, gumbel):
        encoded = Encoder(objective.model).apply(
            {"params": p}, batch.waveforms, batch.num_samples, input_gumbel=gumbel, temperature=1.0
        )
        return (encoded.context[..., 0] * jnp.arange(49.0)[None]).sum()

    gradient = jax.jit(jax.grad(pull))
    noisy = gradient(params["encoder"], draws.input_gumbel)
    assert jnp.abs(under(noisy, "feature_extractor")).max() > 0
    assert jnp.abs(under(noisy, "input_quantizer", "logits")).max() > 0
    still = gradient(params["encoder"], None)  # evaluation: the argmax has no gradient
    np.testing.assert_array_equal(under(still, "feature_extractor"), 0.0)
    assert jnp.abs(under(still, "input_quantizer", "entries")).max() > 0


def test_a_masked_frame_s_own_code_is_hidden_and_an_open_one_s_is_not(made, make_batch):
    objective, params = made("own")
    batch = make_batch(labels=False)
    draws = objective.draw(KEYS, batch.num_samples, 1000, training=True)
    other = jax.random.gumbel(jax.random.key(9), draws.input_gumbel.shape)

    @jax.jit
    def context(gumbel):
        return Encoder(objective.model).apply(
            {"params": params["encoder"]}, batch.waveforms, batch.num_samples, mask=draws.mask,
            input_gumbel=gumbel, temperature=1.0,
        ).context  # fmt: skip

    masked = draws.mask[..., None, None]
    first = context(draws.input_gumbel)
    np.testing.assert_array_equal(context(jnp.where(masked, other, draws.input_gumbel)), first)
    assert (context(jnp.where(masked, draws.input_gumbel, other)) != first).any()


def test_a_shared_quantizer_is_one_and_its_two_noises_are_not(made, make_batch):
    objective, params = made("shared")
    batch = make_batch(labels=False)
    draws = objective.draw(KEYS, batch.num_samples, 1000, training=True)
    assert draws.gumbel.shape[1] != draws.input_gumbel.shape[1] == 49
    places = min(draws.gumbel.shape[1], 49)
    assert (draws.gumbel[:, :places] != draws.input_gumbel[:, :places]).mean() > 0.99
    apply = objective.network.apply
    audio = batch.waveforms, batch.num_samples
    units = jax.jit(lambda p: apply({"params": p}, *audio, method="units"))(params)
    assert units.shape == (8, 49, 2)
    encoded = jax.jit(lambda p: apply({"params": p}, *audio, method="encode"))(params)
    np.testing.assert_array_equal(units, encoded.input_probs.argmax(-1))


def test_each_row_s_noise_is_its_own_whatever_rows_stand_beside_it(made, make_batch):
    objective, params = made("own")
    batch = make_batch(labels=False)
    order = np.array([5, 4, 7, 6, 1, 0, 3, 2])  # groups of two rows stay together
    _, first = slopes(objective, params, batch, KEYS, 3)
    moved_batch = jax.tree.map(lambda x: x[order], batch)
    _, moved = slopes(objective, params, moved_batch, KEYS[order], 3)
    np.testing.assert_allclose(first.loss, moved.loss, rtol=1e-5)
    draws = objective.draw(KEYS, batch.num_samples, 1000, training=True)
    alone = objective.draw(KEYS[3:4], batch.num_samples[3:4], 1000, training=True)
    np.testing.assert_array_equal(alone.input_gumbel[0], draws.input_gumbel[3])


@pytest.mark.parametrize("name", CHOICES)
def test_evaluation_draws_no_noise_and_the_ablation_without_it_takes_zeros(name, made):
    objective, _ = made(name)
    counts = jnp.full(8, 1000)
    evaluated = objective.draw(KEYS, counts, 1000, training=False)
    assert evaluated.gumbel is None and evaluated.input_gumbel is None
    still = dataclasses.replace(objective, gumbel_noise=False)
    for noisy, zero in zip(*(o.draw(KEYS, counts, 1000, training=True)[3:] for o in
                             (objective, still)), strict=True):  # fmt: skip
        assert (noisy is None) == (zero is None)
        assert zero is None or (zero.shape == noisy.shape and not zero.any())
    drawn = objective.draw(KEYS, counts, 1000, training=True)
    assert (drawn.gumbel is None) == (not objective.model.quantize_targets)
    assert (drawn.input_gumbel is None) == (not objective.model.quantize_input)


def test_the_diversity_loss_counts_the_targets_quantizer_else_the_input_s(made, make_batch):
    """fairseq reports and counts the one that ran last."""
    batch = make_batch(labels=False)
    for name, counted in (("own", True), ("input_alone", False)):
        objective, params = made(name)
        draws = objective.draw(KEYS, batch.num_samples, 1000, training=True)
        out, sums = heard(objective, params, batch, draws)
        counts = np.asarray(sums.metrics["prob_perplexity"])
        frames = np.asarray(draws.slots.valid).sum(1).reshape(-1, 2).sum(1)
        probs, valid = out.probs, draws.slots.valid * 1.0
        if not counted:
            real = (np.asarray(batch.num_samples)[:, None] - 10) // 5 + 1
            real = ((real - 3) // 2 + 1 - 2) // 2 + 1
            probs, valid = out.input_probs, jnp.asarray((np.arange(49) < real) * 1.0)
        expected = (np.asarray(usage(probs, valid, 2).probs) * frames).sum()
        np.testing.assert_allclose(counts[0], expected, rtol=1e-5)


def test_a_negative_equal_to_a_continuous_positive_is_removed(made, make_batch):
    """A row of digital silence gives equal latents in every frame: nothing to tell apart."""
    objective, params = made("continuous")
    batch = make_batch(labels=False)
    waveforms = batch.waveforms.copy()
    waveforms[2:4] = 0.0
    weights = np.zeros(8, np.float32)
    weights[2:4] = 1.0
    silent = batch._replace(waveforms=waveforms, weights=weights)
    values = compute(slopes(objective, params, silent, KEYS, 0)[1].metrics)
    assert values["negative_is_positive"] == pytest.approx(1.0)
    assert values["contrastive_loss"] == pytest.approx(0.0, abs=1e-6)
    values = compute(slopes(objective, params, batch, KEYS, 0)[1].metrics)
    assert values["negative_is_positive"] == 0.0


def test_fine_tuning_keeps_the_input_s_quantizer_with_a_temperature_of_its_own(
    quiet, random_params, make_batch
):
    objective = CTC(dataclasses.replace(quiet, **CHOICES["own"]), 5)
    params, batch = random_params(objective), make_batch()
    assert "input_quantizer" in params["encoder"] and "quantizer" not in params
    noise_of = [objective.input_noise(KEYS, 1000, step) for step in (0, 1000)]
    assert noise_of[0]["input_gumbel"].shape == (8, 49, 2, 8)
    assert float(noise_of[0]["temperature"]) == 2.0 > float(noise_of[1]["temperature"])
    assert CTC(quiet, 5).input_noise(KEYS, 1000, 0) == {}
    gradient = jax.jit(jax.grad(lambda p: objective.loss(p, batch, KEYS, 0).loss))(params)
    for names in (("input_quantizer", "logits"), ("input_projection",), ("feature_extractor",)):
        assert jnp.abs(under(gradient, "encoder", *names)).max() > 0
    evaluate = jax.jit(objective.evaluate)
    early, late = (evaluate(params, batch, KEYS, step)[0].loss for step in (0, 9999))
    np.testing.assert_array_equal(early, late)


def test_rules_about_codes_are_silent_where_there_is_no_quantizer(quiet):
    runs = {
        name: describe(Contrastive(dataclasses.replace(quiet, **change), 1), steps=100)
        for name, change in CHOICES.items()
    }
    assert {name: run.expected.codes for name, run in runs.items()} == {
        "own": 16, "shared": 16, "input_alone": 16, "continuous": 0,
    }  # fmt: skip
    assert runs["continuous"].expected[3:5] == (100, 0)


def test_flops_count_the_input_s_quantizer_in_place_of_the_projection(quiet):
    own = dataclasses.replace(quiet, **CHOICES["own"])
    projection, quantizer = 8 * 16, 8 * 16 + 8 * 4 + 4 * 16  # logits, entries, projection
    extra = forward_flops(own, 1000) - forward_flops(quiet, 1000)
    assert extra == 2.0 * 49 * (quantizer - projection)
