"""Estimates of quality: known noise, known bands, known clipping; kept in the index."""

import json

import numpy as np
import pytest
import soundfile
import soxr

from tests.helpers.corpora import write_split
from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import QUALITY_ARRAYS, open_corpus
from w2v2_jax.prepare.measure import to_int16
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.quality import QualityMeter

RNG = np.random.default_rng(0)
TIMES = np.arange(160_000) / 16_000
PAUSED = RNG.standard_normal(len(TIMES)) * (TIMES % 1 < 0.6)


def quality(samples, block=7_001):
    meter = QualityMeter()
    whole = to_int16(samples.astype(np.float32))
    for start in range(0, len(whole), block):
        meter.add(whole[start : start + block])
    return meter.finish()


@pytest.mark.parametrize("snr", [0, 10, 20, 30, 40])
def test_the_ratio_of_speech_to_noise_is_that_of_pauses(snr):
    noise = RNG.standard_normal(len(TIMES)) * 10 ** (-snr / 20)
    assert quality(0.05 * (PAUSED + noise)).snr_db == pytest.approx(snr, abs=1.5)


@pytest.mark.parametrize(("rate", "level"), [(8_000, 0.1), (11_025, 0.1), (8_000, 0.003)])
def test_the_bandwidth_of_upsampled_audio_is_half_its_first_rate(rate, level):
    samples = soxr.resample(level * RNG.standard_normal(rate * 5), rate, 16_000)
    assert quality(samples).bandwidth_hz == pytest.approx(rate / 2, abs=150)
    assert quality(level * RNG.standard_normal(80_000)).bandwidth_hz == 8_000


def test_samples_at_full_scale_are_counted():
    tone = np.sin(2 * np.pi * 100 * TIMES)
    assert quality(0.9 * tone).clipped_share == 0
    share = quality(np.clip(2 * tone, -1, 1)).clipped_share
    assert share == pytest.approx(2 / 3, abs=0.01)


def test_blocks_change_nothing_but_which_spectra_are_taken():
    one, other = quality(0.1 * PAUSED, block=10**6), quality(0.1 * PAUSED, block=999)
    assert (one.clipped_share, one.snr_db) == (other.clipped_share, other.snr_db)
    assert one.bandwidth_hz == other.bandwidth_hz


def test_what_is_shorter_than_a_frame_has_no_estimate():
    assert np.isnan(quality(np.full(100, 0.1))[1:]).all()
    silent = quality(np.zeros(16_000))
    assert silent.bandwidth_hz == 0 and silent.snr_db == -96


def test_the_index_and_the_report_have_them(tmp_path):
    (tmp_path / "in").mkdir()
    for name, samples in {"a": 0.05 * PAUSED, "b": np.clip(40 * PAUSED, -1, 1)}.items():
        soundfile.write(tmp_path / "in" / f"{name}.wav", samples, 16_000)
    (tmp_path / "in/a.txt").write_text("twenty characters to")
    prepare(f"folder:{tmp_path}/in", tmp_path / "out", **OPTIONS | {"holdout": {}})
    corpus = open_corpus(tmp_path / "out")
    assert corpus.quality("clipped_share")[0] == 0 and corpus.quality("clipped_share")[1] > 0.5
    assert corpus.quality("characters_per_second")[0] == 2
    assert np.isnan(corpus.quality("characters_per_second")[1])
    report = json.loads((tmp_path / "out/train/report.json").read_text())["quality"]
    assert set(report) == set(QUALITY_ARRAYS) and report["characters_per_second"] == [2, 2, 2]


def test_a_corpus_without_estimates_has_none(tmp_path):
    write_split(tmp_path, "train")
    corpus = open_corpus(tmp_path / "train")
    assert np.isnan(corpus.quality("snr_db")).all() and corpus.language(0) == ""
    with pytest.raises(ValueError, match="use one of clipped_share, snr_db"):
        corpus.quality("loudness")
