"""A stretch and a channel of a recording, at its own rate, from every kind of file."""

import importlib.util

import numpy as np
import pytest
import soundfile
import soxr

from w2v2_jax.data.audio import AudioError, audio_blocks, load_audio
from w2v2_jax.data.excerpt import Excerpt

RNG = np.random.default_rng(0)
STEREO = 0.1 * RNG.standard_normal((48_000, 2))


def heard(source, rate=None, **options):
    excerpt = Excerpt(**options)
    blocks = list(audio_blocks(source, rate=rate, excerpt=excerpt))
    return np.concatenate([*blocks, np.zeros(0, np.float32)]), excerpt


@pytest.mark.parametrize(
    ("form", "rate", "tolerance"),
    [("wav", 16_000, 2e-4), ("flac", 16_000, 2e-4), ("wav", 44_100, 2e-4), ("ogg", 16_000, 1e-6),
     ("mp3", 16_000, 1e-6)],
)  # fmt: skip
@pytest.mark.parametrize(("start", "seconds"), [(0.0, 0.5), (0.25, 0.5), (0.5, None)])
def test_a_stretch_is_cut_at_the_recordings_own_rate(
    tmp_path, form, rate, tolerance, start, seconds
):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, STEREO, rate)
    whole = STEREO if tolerance > 1e-5 else soundfile.read(path)[0]
    stop = None if seconds is None else round((start + seconds) * rate)
    expected = whole[round(start * rate) : stop].mean(axis=1)
    if rate != 16_000:
        expected = soxr.resample(expected.astype(np.float32), rate, 16_000, quality="HQ")
    samples, _ = heard(path, start=start, seconds=seconds)
    assert len(samples) == pytest.approx(len(expected), abs=1)
    length = min(len(samples), len(expected))
    np.testing.assert_allclose(samples[:length], expected[:length], atol=tolerance)


def test_a_stretch_goes_on_into_the_next_stream(tmp_path):
    for name, part in (("a", STEREO[:16_000]), ("b", STEREO[16_000:])):
        soundfile.write(tmp_path / f"{name}.flac", part, 16_000)
    data = b"".join((tmp_path / f"{name}.flac").read_bytes() for name in "ab")
    samples, _ = heard(data, start=0.75, seconds=0.5, channel=1)
    np.testing.assert_allclose(samples, STEREO[12_000:20_000, 1], atol=2e-4)


def test_a_written_duration_that_is_rounded_loses_no_sample(tmp_path):
    soundfile.write(tmp_path / "a.wav", STEREO[:16_123], 16_000)
    assert len(heard(tmp_path / "a.wav", seconds=1.0)[0]) == 16_123
    assert len(heard(tmp_path / "a.wav", seconds=0.9)[0]) == 14_400
    assert len(heard(tmp_path / "a.wav", start=0.5, seconds=0.5)[0]) == 8_000


@pytest.mark.parametrize("options", [{"start": 3.0}, {"start": 2.0, "seconds": 1.6}])
def test_a_stretch_outside_of_the_recording_is_told(tmp_path, options):
    soundfile.write(tmp_path / "a.wav", STEREO, 16_000)
    with pytest.raises(AudioError, match=r"outside the recording \(.* of a recording of 3.00 s\)"):
        heard(tmp_path / "a.wav", **options)


def test_each_channel_can_be_had_and_no_other(tmp_path):
    soundfile.write(tmp_path / "a.wav", STEREO, 16_000)
    for channel in (0, 1):
        samples, excerpt = heard(tmp_path / "a.wav", channel=channel)
        np.testing.assert_allclose(samples, STEREO[:, channel], atol=2e-4)
        assert excerpt.channels == 2 and not excerpt.cancelled
        samples, _ = heard(STEREO.astype(np.float32), 16_000, channel=channel)
        np.testing.assert_array_equal(samples, STEREO[:, channel].astype(np.float32))
    with pytest.raises(AudioError, match=r"no such channel \(channel 3 of 2\)"):
        heard(tmp_path / "a.wav", channel=2)


@pytest.mark.parametrize(
    ("second", "cancelled"),
    [(lambda x: -x, True), (lambda x: -0.8 * x, True), (lambda x: x, False),
     (lambda x: 0 * x, False), (lambda x: np.roll(x, 999), False)],
)  # fmt: skip
def test_channels_that_cancel_in_their_mean_are_told_from_others(second, cancelled):
    left = STEREO[:, 0]
    both = np.stack([left, second(left)], axis=1).astype(np.float32)
    assert heard(both, 16_000)[1].cancelled == cancelled


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs PyAV")
def test_files_of_pyav_are_cut_too(tmp_path):
    import av

    path = tmp_path / "a.m4a"
    with av.open(path, "w", format="mp4") as file:
        stream = file.add_stream("alac", rate=16_000, layout="stereo")
        planes = np.ascontiguousarray((STEREO.T * 32767).astype(np.int16))
        for start in range(0, planes.shape[1], 4096):
            part = np.ascontiguousarray(planes[:, start : start + 4096])
            frame = av.AudioFrame.from_ndarray(part, format="s16p", layout="stereo")
            frame.sample_rate, frame.pts = 16_000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    samples, _ = heard(path, start=0.5, seconds=1.0, channel=1)
    np.testing.assert_allclose(samples, STEREO[8_000:24_000, 1], atol=1e-3)


def test_a_recording_whose_channels_cancel_is_warned_of(tmp_path, capsys):
    left = STEREO[:, 0]
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), 16_000)
    soundfile.write(tmp_path / "b.wav", STEREO, 16_000)
    load_audio(tmp_path / "b.wav")
    assert capsys.readouterr().err == ""
    load_audio(tmp_path / "a.wav")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path / 'a.wav'}: its channels cancel each other")
