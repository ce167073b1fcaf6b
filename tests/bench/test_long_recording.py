"""The error rates of clips alone and within a long recording."""

from w2v2_jax.bench.long_recording import error_rates


def test_clips_without_a_reference_are_counted_and_not_scored():
    rates = error_rates(["AB", "", "CD"], alone=["AB", "X", "CD"], heard=["AB", "", "CX"])
    assert rates == {"cer_alone": 0.0, "cer_recording": 0.25, "without_reference": 1}
    assert error_rates(["", ""], ["A", "B"], ["A", "B"]) == {}
