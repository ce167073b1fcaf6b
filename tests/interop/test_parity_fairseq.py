"""The network, both losses, every gradient and the optimizer equal fairseq's stored outputs."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers.fairseq_cases import CASES, QUANTIZED, FairseqCase
from tests.helpers.parity_cases import GOLDEN, GRADIENT, HIDDEN, LOSS, difference
from w2v2_jax import optimizer

EVERYDAY = {"square"}  # the network that Hugging Face has no form of; compiling takes the time


def cases(everyday=frozenset()):
    return [pytest.param(n, marks=() if n in everyday else pytest.mark.slow) for n in CASES]


@pytest.fixture(scope="module", params=cases(EVERYDAY))
def case(request) -> FairseqCase:
    return FairseqCase(request.param)


@pytest.fixture(scope="module", params=cases())
def tuned_case(request) -> FairseqCase:
    return FairseqCase(request.param)


def test_every_hidden_state_and_the_context_are_equal_under_the_mask(case):
    for name, value in case.hidden_differences().items():
        assert value < HIDDEN, name


def test_quantizer_chooses_the_same_entries_with_and_without_noise(case):
    assert case.ids_equal()


def test_contrastive_logits_are_equal_and_the_same_negatives_are_removed(case):
    assert not np.isfinite(case.stored["logits"]).all()  # some negatives equal the positive
    assert case.logit_difference() < HIDDEN


def test_every_loss_term_is_equal(case):
    for name, value in case.loss_differences().items():
        assert value < LOSS, name


def test_accuracy_is_equal(case):
    accuracy = case.pretraining[1]["contrastive_accuracy"]
    assert accuracy.total == case.stored["correct"]
    assert accuracy.weight == case.stored["count"]


def test_gradient_of_every_pretraining_parameter_is_equal(case):
    for name, value in case.gradient_differences().items():
        assert value < GRADIENT, name


def test_ctc_logits_and_loss_are_equal(tuned_case):
    logits, loss = tuned_case.ctc_differences()
    assert logits < HIDDEN and loss < LOSS


def test_gradient_of_every_fine_tuning_parameter_is_equal(tuned_case):
    for name, value in tuned_case.ctc_gradient_differences().items():
        assert value < GRADIENT, name


@pytest.fixture(scope="module", params=QUANTIZED)
def choice(request) -> FairseqCase:
    """A network of the paper's Table 4."""
    return FairseqCase(request.param)


def test_with_quantized_inputs_or_continuous_targets_states_and_losses_are_equal(choice):
    differences = choice.hidden_differences()
    assert max(differences.values()) < HIDDEN, differences
    assert choice.logit_difference() < HIDDEN
    losses = choice.loss_differences()
    assert max(losses.values()) < LOSS, losses
    if choice.model.quantize_targets:
        assert choice.ids_equal()


def test_with_quantized_inputs_or_continuous_targets_every_gradient_is_equal(choice):
    for name, value in choice.gradient_differences().items():
        assert value < GRADIENT, name


def test_fine_tuning_keeps_a_quantized_input_with_its_noise_as_fairseq_does(choice):
    assert ("ctc_gumbel" in choice.stored) == choice.model.quantize_input
    logits, loss = choice.ctc_differences()
    assert logits < HIDDEN and loss < LOSS
    for name, value in choice.ctc_gradient_differences().items():
        assert value < GRADIENT, name


PLANS = {
    "polynomial": (
        optimizer.polynomial(peak=0.05, warmup=6, total=18), dict(eps=1e-6, weight_decay=0.01)
    ),
    "tri_stage": (optimizer.tri_stage(peak=0.05, total=18), dict(eps=1e-8, weight_decay=0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_twenty_updates_of_adam_and_its_schedule_are_equal(name):
    stored = dict(np.load(GOLDEN / "fairseq_optimizer.npz"))
    schedule, settings = PLANS[name]
    rates = [float(schedule(jnp.asarray(n))) for n in range(20)]
    np.testing.assert_allclose(rates, stored[f"{name}/rates"], rtol=1e-6, atol=1e-9)
    adam = optimizer.adam(schedule, b2=0.98, **settings)
    params = [jnp.asarray(stored[f"{name}/start/{i}"]) for i in range(2)]
    state = adam.init(params)
    for n in range(20):
        gradients = [jnp.asarray(stored[f"{name}/gradients/{i}"][n]) for i in range(2)]
        updates, state = adam.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for i in range(2):
            theirs = stored[f"{name}/parameters/{i}"][n]
            assert difference(params[i], theirs) < 1e-6, (n, i)
