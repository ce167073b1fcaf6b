"""Normalised input against each framework's own formula, where the epsilon shows."""

import jax
import numpy as np
import pytest

from w2v2_jax.input_scale import EPSILON, HUGGING_FACE_EPSILON, normalised, normalised_on_device
from w2v2_jax.input_scale import scaled as scaled_by
from w2v2_jax.recognition.long_audio import measure

RMS = (0.3, 0.03, 0.003, 0.0003)
LENGTHS = np.array([40000, 23456], np.int32)


def recordings(rms: float) -> np.ndarray:
    """Two rows [B, S] of noise of this loudness with an offset; the second ends in junk."""
    noise = np.random.default_rng(0).standard_normal((2, LENGTHS[0]))
    waveforms = (rms * noise + 0.05).astype(np.float32)
    waveforms[1, LENGTHS[1] :] = 7.0
    return waveforms


def formula(waveform: np.ndarray, epsilon: float) -> np.ndarray:
    """transformers' zero_mean_unit_var_norm, and fairseq's layer_norm with its epsilon."""
    waveform = waveform.astype(np.float64)
    return (waveform - waveform.mean()) / np.sqrt(waveform.var() + epsilon)


@pytest.mark.parametrize("epsilon", [EPSILON, HUGGING_FACE_EPSILON])
@pytest.mark.parametrize("rms", RMS)
@pytest.mark.parametrize("function", [normalised, jax.jit(normalised_on_device, static_argnums=2)])
def test_real_samples_follow_the_formula_at_any_loudness_and_the_rest_is_zero(
    function, rms, epsilon
):
    waveforms = recordings(rms)
    found = np.asarray(function(waveforms, LENGTHS, epsilon))
    assert found.dtype == np.float32
    for row, length in enumerate(LENGTHS):
        expected = formula(waveforms[row, :length], epsilon)
        atol = 1e-4 * np.sqrt(np.square(expected).mean())
        np.testing.assert_allclose(found[row, :length], expected, rtol=0, atol=atol)
    assert (found[1, LENGTHS[1] :] == 0).all()


@pytest.mark.parametrize("rms", RMS)
def test_statistics_of_a_recording_in_blocks_give_the_same(rms):
    waveform = recordings(rms)[0]
    blocks = np.split(waveform, [1000, 1001, 30000])
    whole = measure(iter(blocks))
    found = scaled_by(waveform, whole.mean, whole.variance, HUGGING_FACE_EPSILON)
    expected = formula(waveform, HUGGING_FACE_EPSILON)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_of_quiet_recordings_the_two_epsilons_give_other_inputs():
    ours, theirs = (formula(recordings(0.003)[0], e) for e in (EPSILON, HUGGING_FACE_EPSILON))
    assert ours.std() < 0.75 * theirs.std()
