"""What error rates are called, and which of them are shown."""

import pytest

from w2v2_jax.evaluation.rates import rates_shown


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ({"cer": 0.1, "wer": 0.4}, ["wer", "cer"]),
        ({"wer": 0.4, "per": 0.4, "cer": 0.1}, ["per", "cer"]),
        ({"wer": 0.4, "per": 0.3, "cer": 0.1}, ["per", "wer", "cer"]),  # the phones are folded
        ({"wer": 0.4, "step": 3}, ["wer"]),
        ({"wer": None, "cer": None}, ["wer", "cer"]),  # infinite
    ],
)
def test_one_number_is_not_shown_by_two_names(rates, names):
    assert rates_shown(rates) == names
