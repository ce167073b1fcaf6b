"""The first convolution that starts as band-pass filters."""

import jax
import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.feature_extractor import FeatureExtractor
from w2v2_jax.models.gabor_kernels import PHASES, gabor_kernels

CHANNELS, WIDTH = 160, 480
RATE = 16_000


def test_each_filter_passes_its_own_mel_band_and_the_bands_rise():
    response = np.abs(np.fft.rfft(gabor_kernels(WIDTH, CHANNELS), RATE, axis=0))  # bins of 1 Hz
    peaks = response.argmax(0).reshape(PHASES, -1)
    np.testing.assert_allclose(peaks, np.broadcast_to(peaks[:1], peaks.shape), atol=3)
    mel = 2595 * np.log10(1 + peaks[0] / 700)
    edges = 2595 * np.log10(1 + np.array([60, 7600]) / 700)
    np.testing.assert_allclose(mel, np.linspace(*edges, CHANNELS // PHASES + 2)[1:-1], atol=5)
    widths = (response[:, : CHANNELS // PHASES] > response.max(0)[: CHANNELS // PHASES] / 2).sum(0)
    np.testing.assert_allclose(widths[-10:], np.gradient(peaks[0])[-10:], rtol=0.1)


def test_the_phases_of_a_band_add_up_to_its_envelope():
    bank = gabor_kernels(WIDTH, CHANNELS).reshape(WIDTH, PHASES, -1)
    band = 20
    hertz = np.abs(np.fft.rfft(bank[:, 0, band], RATE)).argmax()
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * hertz * time) * (1 + 0.5 * np.sin(2 * np.pi * 4 * time))
    rectified = [np.maximum(np.convolve(tone, k[::-1], "valid"), 0) for k in bank[:, :, band].T]
    envelope = (1 + 0.5 * np.sin(2 * np.pi * 4 * time))[WIDTH // 2 : WIDTH // 2 + len(rectified[0])]
    total = np.sum(rectified, axis=0)
    assert np.corrcoef(total, envelope)[0, 1] > 0.9 > np.corrcoef(rectified[0], envelope)[0, 1]


def test_their_variance_is_that_of_random_kernels():
    assert gabor_kernels(WIDTH, CHANNELS).var() == pytest.approx(2 / WIDTH, rel=1e-3)


def test_only_the_first_layer_starts_as_filters_whatever_the_seed():
    config = ModelConfig(
        conv_layers=((CHANNELS, WIDTH, 160), (32, 3, 2)),
        extractor_norm="layer",
        filterbank_init=True,
    )
    init = jax.jit(FeatureExtractor(config).init)
    audio, lengths = np.zeros((1, 8_000), np.float32), np.array([8_000])
    one, two = (init(jax.random.key(seed), audio, lengths)["params"] for seed in (0, 1))
    np.testing.assert_array_equal(
        one["conv_0"]["kernel"].value[:, 0], gabor_kernels(WIDTH, CHANNELS)
    )
    np.testing.assert_array_equal(one["conv_0"]["kernel"].value, two["conv_0"]["kernel"].value)
    assert (one["conv_1"]["kernel"].value != two["conv_1"]["kernel"].value).any()


@pytest.mark.parametrize("first", [(160, 10, 5), (162, 480, 160)])
def test_a_first_layer_that_cannot_hold_them_is_refused(first):
    with pytest.raises(InputError, match=r"filterbank_init=True needs a first layer .* \(160, 480"):
        ModelConfig(conv_layers=(first, (32, 3, 2)), filterbank_init=True)
