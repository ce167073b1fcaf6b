"""The contrastive objective against a gathered brute-force version and closed forms."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tests.helpers.invariances import assert_close, padded, reordered, with_fillers
from w2v2_jax.metrics import compute
from w2v2_jax.models import masking
from w2v2_jax.models.wav2vec2 import picked, take_frames
from w2v2_jax.objectives.contrastive import (
    Contrastive,
    compared,
    contrast,
    cosine_similarity,
    multiplicity,
)
from w2v2_jax.objectives.diversity import perplexity

TEMPERATURE = 0.1


def random_task(rows=2, slots=7, negatives=12, books=2, entries=2, dim=5, seed=0):
    """Few entries, so that draws repeat and negatives often have the positive's codes."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, entries, (rows, slots, books))
    table = rng.normal(size=(entries**books, dim))
    targets = table[ids[..., 0] * entries + ids[..., 1]]  # equal codes are equal vectors
    context = rng.normal(size=(rows, slots, dim))
    context[0, 0] = targets[0, 0]  # one slot that is certainly right
    draws = rng.integers(0, slots - 1, (rows, slots, negatives))
    draws += draws >= np.arange(slots)[None, :, None]
    return context, targets, ids, draws


def gathered(context, targets, ids, draws):
    """fairseq's way: K gathered negatives behind the positive, -inf where vectors are equal."""
    rows, slots, _ = draws.shape
    results = np.zeros((4, rows, slots))
    for b in range(rows):
        for m in range(slots):
            candidates = np.concatenate([targets[b, m][None], targets[b, draws[b, m]]])
            products = candidates @ context[b, m]
            norms = np.linalg.norm(candidates, axis=1) * np.linalg.norm(context[b, m])
            logits = products / norms / TEMPERATURE
            equal = (ids[b, draws[b, m]] == ids[b, m]).all(-1)
            logits[1:][equal] = -np.inf
            top = logits.max()
            entropy = np.log(np.exp(logits - top).sum()) + top - logits[0]
            best, worst = logits.argmax() == 0, logits.argmin() == 0
            results[:, b, m] = entropy, best and not worst, not (best and worst), equal.sum()
    return results


@jax.jit
def scored(context, targets, ids, draws):
    return contrast(context, targets, ids, draws, temperature=TEMPERATURE)


def check(task):
    scores = scored(*task)
    entropy, correct, counted, clashes = gathered(*task)
    np.testing.assert_allclose(scores.cross_entropy, entropy, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scores.correct, correct)
    np.testing.assert_array_equal(scores.counted, counted)
    np.testing.assert_array_equal(scores.clashes, clashes)
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_contrast_equals_gathered_negatives_with_repeats_and_clashes(seed):
    task = random_task(seed=seed)
    scores = check(task)
    assert multiplicity(jnp.asarray(task[3]), 7).max() > 1
    assert scores.clashes.sum() > 0 and 0 < scores.correct.mean() < 1


def test_comparing_as_on_tpu_counts_what_scattering_counts():
    negatives = jnp.asarray(random_task()[3])
    np.testing.assert_array_equal(compared(negatives, 7), multiplicity(negatives, 7))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_picking_frames_by_matmul_as_on_tpu_takes_them_exactly(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 5)), dtype)
    frames = jnp.array([[0, 3, 8, 0], [7, 1, 2, 0]])
    np.testing.assert_array_equal(
        picked(x, frames).astype("float32"), take_frames(x, frames).astype("float32")
    )


def test_contrast_equals_gathered_negatives_when_every_code_is_different():
    scores = check(random_task(entries=40))
    assert scores.clashes.sum() == 0


def test_a_slot_whose_every_negative_is_the_positive_costs_nothing_and_counts_as_right():
    task = random_task(entries=1)
    scores = check(task)
    np.testing.assert_array_equal(scores.cross_entropy, 0.0)
    np.testing.assert_array_equal(scores.correct * scores.counted, 1.0)


def test_uniform_similarity_costs_ln_of_k_plus_1_and_is_an_uncounted_tie():
    context, targets, ids, draws = random_task(slots=20, negatives=100, entries=50)
    targets[:] = targets[0, 0]  # equal vectors under different codes
    ids[..., 0] = np.arange(20)
    scores = scored(context, targets, ids, draws)
    np.testing.assert_allclose(scores.cross_entropy, math.log(101), rtol=1e-6)
    assert not scores.counted.any() and not scores.correct.any()


def test_the_gradient_of_contrast_is_that_of_gathered_negatives():
    context, targets, ids, draws = (jnp.asarray(x) for x in random_task())

    def brute(context, targets):
        taken = jax.vmap(lambda t, d: t[d])(targets, draws)  # [B, M, K, F]
        taken = jnp.concatenate([targets[:, :, None], taken], axis=2)
        equal = jnp.all(jax.vmap(lambda i, d: i[d])(ids, draws) == ids[:, :, None], -1)
        unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
        logits = jnp.einsum("bmf,bmkf->bmk", unit(context), unit(taken)) / TEMPERATURE
        logits = logits.at[:, :, 1:].add(jnp.where(equal, -1e9, 0.0))
        return -jax.nn.log_softmax(logits)[..., 0].sum()

    ours = lambda c, t: scored(c, t, ids, draws).cross_entropy.sum()  # noqa: E731
    got = jax.jit(jax.grad(ours, (0, 1)))(context, targets)
    expected = jax.jit(jax.grad(brute, (0, 1)))(context, targets)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_stay_finite_where_every_negative_is_removed_or_a_vector_is_zero():
    context, targets, ids, draws = (jnp.asarray(x) for x in random_task(entries=1))
    value = lambda c: scored(c, targets, ids, draws).cross_entropy.sum()  # noqa: E731
    gradient = jax.jit(jax.grad(value))
    assert jnp.isfinite(gradient(jnp.zeros_like(context))).all()
    assert jnp.isfinite(gradient(context)).all()


def test_similarity_and_scores_are_float32_for_bfloat16_inputs():
    context, targets, ids, draws = random_task()
    low = jnp.asarray(context, jnp.bfloat16), jnp.asarray(targets, jnp.bfloat16)
    exact = cosine_similarity(*(x.astype(jnp.float32) for x in low))
    assert cosine_similarity(*low).dtype == jnp.float32
    np.testing.assert_array_equal(cosine_similarity(*low), exact)
    scores = contrast(*low, ids, draws, temperature=TEMPERATURE)
    assert {leaf.dtype for leaf in scores} == {jnp.dtype("float32")}


perplex = jax.jit(perplexity, static_argnums=2)


def test_perplexity_of_a_uniform_code_is_every_entry_and_of_a_collapsed_code_one_a_codebook():
    probs = np.zeros((4, 6, 2, 8), np.float32)
    probs[:2] = 1 / 8
    probs[2:, :, :, 3] = 1.0
    values, frames = perplex(jnp.asarray(probs), jnp.ones((4, 6)), 2)
    np.testing.assert_allclose(values, [2 * 8, 2 * 1], rtol=1e-4)
    np.testing.assert_array_equal(frames, [12, 12])


def test_perplexity_averages_a_group_of_rows_and_ignores_invalid_slots():
    probs = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 6, 2, 8)) * 3)
    valid = np.arange(6) < np.array([6, 2, 3, 0])[:, None]
    values, frames = perplex(probs, jnp.asarray(valid, jnp.float32), 4)
    mean = np.asarray(probs)[valid].mean(0)
    expected = np.exp(-(mean * np.log(mean + 1e-7)).sum(-1)).sum()
    np.testing.assert_allclose(values, [expected], rtol=1e-5)
    np.testing.assert_array_equal(frames, [11])


def test_an_empty_group_has_no_frames_and_a_finite_gradient():
    probs = jnp.full((2, 3, 2, 4), 0.25)
    values, frames = perplex(probs, jnp.zeros((2, 3)), 2)
    assert frames[0] == 0 and jnp.isfinite(values).all()
    gradient = jax.jit(jax.grad(lambda p: perplex(p, jnp.zeros((2, 3)), 2)[0].sum()))(probs)
    assert jnp.isfinite(gradient).all()


# The whole objective on the tiny network ---------------------------------------------------------


@pytest.fixture(scope="module")
def objective(quiet):
    return Contrastive(quiet, diversity_group_seconds=0.1, num_negatives=10)


def test_clashes_are_counted_among_all_negatives_and_the_rest_among_masked_frames(
    loss, objective, params, keys, make_batch
):
    metrics = loss(params, make_batch(labels=False), keys, 0).metrics
    frames = float(metrics["loss"].weight)
    assert frames > 0
    assert metrics["negative_is_positive"].weight == frames * objective.num_negatives
    assert metrics["contrastive_loss"].weight == metrics["feature_penalty"].weight == frames


def test_the_loss_does_not_depend_on_the_order_of_rows(loss, params, keys, make_batch):
    batch = make_batch(labels=False)
    moved, moved_keys = reordered(batch, keys)
    assert_close(loss(params, batch, keys, 3), loss(params, moved, moved_keys, 3))


def test_filler_rows_of_weight_0_change_nothing(loss, params, keys, make_batch):
    one, other = with_fillers(make_batch(labels=False))
    assert_close(loss(params, one, keys, 3), loss(params, other, keys, 3))


def test_padding_rows_longer_changes_nothing(objective, params, keys, make_batch, terms):
    batch = make_batch(labels=False)
    draws = objective.draw(keys, batch.num_samples, 1000, training=True)
    longer, mask = padded(batch, draws.mask, objective.model.conv_layers)
    found = terms(params, longer, draws._replace(mask=mask), None, 3)
    assert_close(terms(params, batch, draws, None, 3), found)


def test_the_loss_is_contrastive_plus_weighted_diversity_and_penalty(
    loss, params, keys, make_batch
):
    sums = loss(params, make_batch(labels=False), keys, 3)
    m = {name: mean.total for name, mean in sums.metrics.items()}
    expected = m["contrastive_loss"] + 0.1 * m["diversity_loss"] + 10 * m["feature_penalty"]
    np.testing.assert_allclose(sums.loss, expected, rtol=1e-6)
    values = compute(sums.metrics)
    diversity = (16 - values["prob_perplexity"]) / 16
    assert values["diversity_loss"] == pytest.approx(diversity, rel=1e-5)


def test_the_weight_is_the_number_of_masked_frames(loss, params, keys, objective, make_batch):
    batch = make_batch(labels=False)
    draws = objective.draw(keys, batch.num_samples, 1000, training=True)
    sums = loss(params, batch, keys, 3)
    assert sums.weight == draws.mask.sum()
    assert compute(sums.metrics)["gumbel_temperature"] == pytest.approx(2 * 0.999995**3)


def test_reported_code_perplexity_is_of_the_noise_free_choice(
    objective, params, keys, make_batch, terms
):
    batch = make_batch(labels=False)
    draws = objective.draw(keys, batch.num_samples, 1000, training=True)
    noisy = terms(params, batch, draws, None, 3).metrics
    still = terms(params, batch, draws._replace(gumbel=0 * draws.gumbel), None, 3).metrics
    np.testing.assert_allclose(*(m["code_perplexity"].total for m in (noisy, still)), rtol=1e-6)
    assert noisy["contrastive_loss"].total != still["contrastive_loss"].total


def test_without_gumbel_noise_training_takes_the_likeliest_entry_and_keeps_its_gradient(
    quiet, params, keys, make_batch
):
    batch = make_batch(labels=False)
    still = Contrastive(quiet, diversity_group_seconds=0.1, num_negatives=10, gumbel_noise=False)
    draws = still.draw(keys, batch.num_samples, 1000, training=True)
    assert draws.gumbel is not None and not draws.gumbel.any()
    taught, gradient = jax.jit(
        jax.value_and_grad(lambda params: still.loss(params, batch, keys, 0).loss)
    )(params)
    seen, _ = jax.jit(still.evaluate)(params, batch, keys, 0)
    np.testing.assert_allclose(taught, seen.loss, rtol=1e-5)
    assert jnp.abs(gradient["quantizer"]["logits"]["kernel"]).max() > 0


def test_evaluation_knows_no_noise_no_temperature_and_no_dropout(
    noisy, objective, params, keys, make_batch
):
    batch = make_batch(labels=False)
    loud = Contrastive(noisy, diversity_group_seconds=0.1, num_negatives=10)
    evaluate = jax.jit(loud.evaluate)
    early, late = (evaluate(params, batch, keys, step)[0] for step in (0, 200_000))
    np.testing.assert_array_equal(early.loss, late.loss)
    draws = objective.draw(keys, batch.num_samples, 1000, training=False)
    assert draws.gumbel is None
    still = jax.jit(objective.terms)(params, batch, draws, None, 0)
    np.testing.assert_allclose(early.loss, still.loss, rtol=1e-5)


def test_the_penalty_gradient_reaches_the_extractor_scaled(quiet, params, keys, make_batch):
    """The feature penalty stands behind the gradient scale (fairseq), so 0.5 halves it."""
    batch = make_batch(labels=False)

    def penalty(scale):
        model = dataclasses.replace(quiet, feature_grad_scale=scale)
        objective = Contrastive(model, diversity_group_seconds=0.1, num_negatives=10)
        draws = objective.draw(keys, batch.num_samples, 1000, training=True)
        total = lambda p: objective.terms(p, batch, draws, None, 0).metrics["feature_penalty"].total  # noqa: E731
        gradients = jax.jit(jax.grad(total))(params)["encoder"]["feature_extractor"]
        return ravel_pytree(gradients)[0]

    full, half, none = penalty(1.0), penalty(0.5), penalty(0.0)
    assert jnp.abs(full).max() > 0
    np.testing.assert_allclose(half, 0.5 * full, rtol=1e-5)
    np.testing.assert_array_equal(none, 0.0)


def test_equalisation_is_by_diversity_independent_groups_of_rows(quiet, keys, make_batch):
    model = dataclasses.replace(quiet, mask_equalise_rows=4)
    objective = Contrastive(model, diversity_group_seconds=0.1, num_negatives=10)
    draws = objective.draw(keys, jnp.full(8, 1000), 1000, training=True)
    counts = np.asarray(draws.mask.sum(1)).reshape(2, 4)
    assert (counts == counts[:, :1]).all()
    np.testing.assert_array_equal(
        draws.slots.frames, masking.masked_slots(draws.mask, draws.slots.frames.shape[1]).frames
    )
