import concurrent.futures
import contextlib
import io
import os
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from w2v2_jax.data.audio import AudioError, audio_blocks, load_audio
from w2v2_jax.data.excerpt import SEVERAL_TRACKS, UNDECODED, Excerpt
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.errors.streams import without_chatter
from w2v2_jax.prepare import command as prepare

RNG = np.random.default_rng(0)


def tone(seconds, rate, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def write(path, samples, rate, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def reason_of(path):
    with pytest.raises(AudioError, match=path.name) as caught:
        load_audio(path)
    assert isinstance(caught.value, InputError)
    return caught.value.reason


def test_sixteen_bit_files_at_16_khz_come_back_exactly(tmp_path):
    samples = RNG.integers(-32768, 32768, 200_000).astype(np.int16)
    for name in ("a.wav", "a.flac"):
        waveform = load_audio(write(tmp_path / name, samples, 16000))
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform * 32768, samples)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_tone_keeps_its_pitch_level_and_length_at_any_rate_and_format(tmp_path, suffix, rate):
    path = write(tmp_path / f"tone.{suffix}", tone(2.0, rate), rate)
    waveform = load_audio(path)
    slack = 2500 if suffix == "mp3" else 2  # an encoder's padding
    assert abs(len(waveform) - 32_000) <= slack
    middle = waveform[4_000:20_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert middle.std() == pytest.approx(0.3 / 2**0.5, rel=0.05)


def test_resampling_by_blocks_equals_resampling_the_whole():
    samples = (RNG.standard_normal(500_000) * 0.1).astype(np.float32)
    streamed = np.concatenate(list(audio_blocks(samples, rate=44100)))
    whole = soxr.resample(samples, 44100, 16000, quality="HQ")
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def bursts(seconds, rate=16000):
    """Noise whose level changes every 50 ms: encoders of MP3 keep bits for its loud frames."""
    level = np.repeat(RNG.random(20 * seconds) ** 4, rate // 20)
    return np.clip(0.6 * level * RNG.standard_normal(len(level)), -1, 1).astype(np.float32)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_file_that_is_read_in_blocks_is_the_file_read_at_once(tmp_path, capfd, mode):
    options = dict(bitrate_mode=mode, compression_level=0.7)
    path = write(tmp_path / "talk.mp3", bursts(30), 16000, **options)
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(load_audio(path), whole, atol=1e-6)
    np.testing.assert_allclose(load_audio(path.read_bytes()), whole, atol=1e-6)
    assert capfd.readouterr().err == ""  # libmpg123's complaints of frames that it cannot decode


def test_an_excerpt_of_an_mp3_file_is_the_same_samples(tmp_path):
    options = dict(bitrate_mode="VARIABLE", compression_level=0.7)
    path = write(tmp_path / "talk.mp3", bursts(30), 16000, **options)
    whole, _ = soundfile.read(path, dtype="float32")
    part = np.concatenate([*audio_blocks(path, excerpt=Excerpt(start=9.5, seconds=10))])
    np.testing.assert_allclose(part, whole[152_000:312_000], atol=1e-6)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(1, 44100), np.zeros(44100, "f4")], axis=1)
    path = write(tmp_path / "stereo.wav", stereo, 44100, subtype="FLOAT")
    mono = write(tmp_path / "mono.wav", stereo.mean(axis=1), 44100, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(path), load_audio(mono), atol=1e-6)


def test_eight_bit_8_khz_is_read(tmp_path):
    path = write(tmp_path / "phone.wav", tone(1.0, 8000), 8000, subtype="PCM_U8")
    waveform = load_audio(path)
    assert len(waveform) == 16_000
    np.testing.assert_allclose(waveform[500:-500], tone(1.0, 16000)[500:-500], atol=0.02)


def test_bytes_and_non_ascii_paths_are_read(tmp_path):
    path = write(tmp_path / "звук ñandú 音.flac", tone(0.5, 16000), 16000)
    np.testing.assert_array_equal(load_audio(path), load_audio(path.read_bytes()))


def test_integer_arrays_are_16_bit_samples():
    samples = np.array([[16384, 0], [-32768, -32768]], np.int64)
    blocks = list(audio_blocks(samples, rate=16000))
    np.testing.assert_array_equal(np.concatenate(blocks), np.float32([0.25, -1.0]))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_a_file_cut_short_is_truncated(tmp_path, suffix, share):
    path = write(tmp_path / f"cut.{suffix}", RNG.standard_normal(80_000) * 0.1, 16000)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert reason_of(path) == "truncated"


def test_a_wav_written_to_a_pipe_declares_no_length_and_is_read(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, tone(1, 16000), 16000, format="WAV")
    content = bytearray(file.getvalue())
    content[40:44] = b"\xff\xff\xff\xff"
    assert len(load_audio(bytes(content))) == 16_000


def test_useless_files_are_named_with_their_reason(tmp_path):
    nothing, text = tmp_path / "nothing.wav", tmp_path / "text.wav"
    nothing.write_bytes(b"")
    text.write_text("this is not audio\n" * 100)
    no_samples = write(tmp_path / "header.wav", np.zeros(0, "f4"), 16000)
    assert reason_of(nothing) == "empty"
    assert reason_of(no_samples) == "empty"
    assert reason_of(text) == "unreadable"
    assert reason_of(tmp_path / "absent.wav") == "unreadable"
    assert reason_of(tmp_path) == "unreadable"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    samples = tone(1, 44100)
    samples[30_000] = value
    path = write(tmp_path / "nan.wav", samples, 44100, subtype="FLOAT")
    assert reason_of(path) == "not finite"


def test_memory_is_bounded_by_a_block_not_by_the_file(tmp_path):
    rate, block = 8000, (RNG.standard_normal(8000 * 20) * 0.01).astype(np.float32)
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for _ in range(9):
            file.write(block)  # 3 minutes, 11.5 MB as float32 at 16 kHz
    tracemalloc.start()
    samples = sum(len(b) for b in audio_blocks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 180 * 16_000
    assert peak < 4_000_000


def broken_mp3(tmp_path):
    """An MP3 file with a frame that libmpg123 cannot decode, and says so, though it is in place."""
    rng = np.random.default_rng(0)
    time = np.arange(96000) / 16000
    tones = 0.15 * np.sin(2 * np.pi * (200 + 100 * np.sin(time)) * time) * (1 + np.sin(5 * time))
    path = tmp_path / "m.mp3"
    noisy = (tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)
    whole = write(path, noisy, 16000, bitrate_mode="VARIABLE").read_bytes()
    for seed in range(300):
        rng, changed = np.random.default_rng(seed), bytearray(whole)
        for _ in range(3):
            changed[rng.integers(600, len(changed))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with without_chatter() as said:
            soundfile.read(path)
            said.seek(0)
            if b"error:" not in said.read():
                continue
        with contextlib.suppress(AudioError):
            load_audio(path)
            return path
    raise AssertionError("no such file was found")


def test_a_frame_that_cannot_be_decoded_is_told_in_a_line_that_names_the_file(tmp_path, capfd):
    """libmpg123's own lines named neither the file nor what became of the frame."""
    path = broken_mp3(tmp_path)
    capfd.readouterr()
    load_audio(path)
    assert capfd.readouterr().err == f"warning: {path}: {UNDECODED}\n"


def test_prepare_remarks_on_a_frame_that_cannot_be_decoded(tmp_path, capfd):
    path = broken_mp3(tmp_path)
    source = ["--source", f"folder:{tmp_path}", "--out", str(tmp_path / "data")]
    assert run_command(prepare.main, source) == 0
    printed = capfd.readouterr()
    assert UNDECODED in printed.out and "m" in printed.out and "libmpg123" not in printed.err
    assert path.exists()


def test_tracks_that_are_not_read_are_told(tmp_path, capfd):
    """As a recording of a meeting has them, one for each voice."""
    av = pytest.importorskip("av")
    path = tmp_path / "in" / "a.mka"
    path.parent.mkdir()
    with av.open(str(path), "w", format="matroska") as opened:
        streams = [opened.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        for stream, factor in zip(streams, (3000, 500), strict=True):
            samples = (factor * np.sin(np.arange(8000))).astype("<i2")[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 16000
            opened.mux(stream.encode(frame))
    assert np.abs(load_audio(path)).max() == pytest.approx(3000 / 32768, abs=1e-3)
    assert capfd.readouterr().err == f"warning: {path}: {SEVERAL_TRACKS}\n"
    arguments = ["--source", str(path.parent), "--out", str(tmp_path / "out"), "--workers", "1"]
    prepare.main(arguments)
    assert "several audio tracks, of which the first" in capfd.readouterr().out


def test_threads_that_keep_chatter_away_leave_standard_error_where_it_was(capfd):
    def chatter(number):
        for _ in range(50):
            with without_chatter() as said:
                os.write(2, b"chatter\n")
                said.seek(0)
                assert said.read() == b"chatter\n"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(chatter, range(4)))
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"
