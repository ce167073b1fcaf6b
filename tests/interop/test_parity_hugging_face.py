"""The network, both losses and every gradient equal Hugging Face's stored outputs."""

import pytest

from tests.helpers.parity_cases import GRADIENT, HIDDEN, HUGGING_FACE_CASES, LOSS, HuggingFaceCase

EVERYDAY = ("group_post", "layer_pre")
CASES = [
    pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow)
    for name in HUGGING_FACE_CASES
]


@pytest.fixture(scope="module", params=CASES)
def case(request) -> HuggingFaceCase:
    return HuggingFaceCase(request.param)


def test_every_hidden_state_and_the_context_are_equal(case):
    for name, value in case.hidden_differences().items():
        assert value < HIDDEN, name


def test_quantizer_chooses_the_same_entries(case):
    assert case.ids_equal()


def test_projections_compared_by_the_contrastive_task_are_equal(case):
    assert case.logit_difference() < HIDDEN


def test_every_loss_term_is_equal_also_where_negatives_repeat_the_positive(case):
    assert case.pretraining[1]["negative_is_positive"].total == 0
    assert case.evaluated["metrics"]["negative_is_positive"].total > 0
    for name, value in case.loss_differences().items():
        assert value < LOSS, name


def test_gradient_of_every_pretraining_parameter_is_equal(case):
    for name, value in case.gradient_differences().items():
        assert value < GRADIENT, name


def test_ctc_logits_and_loss_are_equal(case):
    logits, loss = case.ctc_differences()
    assert logits < HIDDEN and loss < LOSS


def test_gradient_of_every_fine_tuning_parameter_is_equal(case):
    for name, value in case.ctc_gradient_differences().items():
        assert value < GRADIENT, name
