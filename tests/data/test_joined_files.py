"""Files put one behind the other (`cat a b > c`), of kinds whose decoder stops after the first."""

import sys

import numpy as np
import pytest

from tests.helpers.audio_cases import NOISE, SPEECH, encoded, made_by_pyav, reason_of
from w2v2_jax.data.audio import load_audio
from w2v2_jax.data.flac_frames import walk_flac
from w2v2_jax.data.mov_boxes import walk_mov

MP4 = [("ipod", "aac"), ("ipod", "alac"), ("mov", "pcm_s16le"), ("3gp", "aac")]


def amr(frames, mode=b"#!AMR\n"):
    return mode + frames * (b"\x04" + bytes(12))


def parts_of(first, second):
    return np.concatenate([load_audio(first), load_audio(second)])


@pytest.mark.parametrize(("suffix", "codec"), MP4)
def test_both_of_two_mp4_files_are_read(suffix, codec):
    one, other = made_by_pyav(suffix, codec, 16_000), made_by_pyav(suffix, codec, 16_000, seconds=3)
    np.testing.assert_array_equal(load_audio(one + other), parts_of(one, other))


def test_both_of_two_fragmented_mp4_files_are_read():
    fragmented = {"movflags": "frag_keyframe+empty_moov"}
    one = made_by_pyav("mp4", "aac", 16_000, options=fragmented)
    other = made_by_pyav("mp4", "aac", 16_000, seconds=3, options=fragmented)
    np.testing.assert_array_equal(load_audio(one + other), parts_of(one, other))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_an_mp4_file_may_follow_and_be_followed(kind):
    one, other = made_by_pyav("ipod", "aac", 16_000), encoded(kind)
    np.testing.assert_array_equal(load_audio(one + other), parts_of(one, other))
    np.testing.assert_array_equal(load_audio(other + one), parts_of(other, one))


def test_an_mp4_file_with_zeros_or_a_little_junk_behind_it_is_the_same():
    content = made_by_pyav("ipod", "aac", 16_000)
    for tail in (b"\0" * 9_000, b"junk" * 50):
        np.testing.assert_array_equal(load_audio(content + tail), load_audio(content))
    assert reason_of(content + b"\x7f\xff\xff\xffjunk" * 2_000) == "holds more than its header says"


def test_boxes_of_64_bits_and_of_no_length_are_walked():
    long = b"\0\0\0\1mdat" + (24).to_bytes(8, "big") + bytes(8)
    start = b"\0\0\0\x10ftypM4A \0\0\2\0"
    assert walk_mov(start + long + start, 0).streams[0].stop == len(start + long)
    endless = b"\0\0\0\0mdat" + b"\1" * 50
    assert walk_mov(start + endless, 0).stop == len(start + endless)


def test_both_of_two_amr_files_are_read():
    pytest.importorskip("av")
    both = load_audio(amr(50) + amr(100))
    np.testing.assert_array_equal(both, parts_of(amr(50), amr(100)))
    wide = b"#!AMR-WB\n" + 50 * (b"\x04" + bytes(17))
    np.testing.assert_array_equal(load_audio(amr(50) + wide), parts_of(amr(50), wide))


def test_a_flac_file_with_another_kind_behind_it_is_read_to_the_end_of_both():
    one, other = encoded("flac"), encoded("mp3", SPEECH)
    np.testing.assert_array_equal(load_audio(one + other), parts_of(one, other))
    assert reason_of(one + b"\x81\x82notes" * 2_000) == "holds more than its header says"


def test_the_end_of_a_flac_stream_is_that_of_its_last_frame():
    content = encoded("flac", np.tile(NOISE, 3))
    assert walk_flac(content + b"\xff\xf8" + b"x" * 9_000, 0).stop == len(content)


def test_flac_in_ogg_as_ffmpeg_writes_it_is_read_by_pyav():
    content = made_by_pyav("oga", "flac", 16_000)
    assert len(load_audio(content)) == 32_000
    assert len(load_audio(content + content)) == 64_000


def test_an_ogg_file_that_only_pyav_reads_names_the_remedy(monkeypatch):
    content = made_by_pyav("oga", "flac", 16_000)
    monkeypatch.setitem(sys.modules, "av", None)
    assert reason_of(content) == "needs PyAV"
