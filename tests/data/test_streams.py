"""Headers that say less, more or nothing: what is there is read, what is missing is found."""

import functools
import io
import struct
import sys

import numpy as np
import pytest
import soundfile

from tests.helpers.audio_cases import (
    KINDS,
    LONG,
    NOISE,
    SPEECH,
    encoded,
    made_by_pyav,
    overwritten,
    reason_of,
)
from w2v2_jax.data import pyav
from w2v2_jax.data.audio import AudioError, load_audio, recording_length
from w2v2_jax.data.containers import Stream, Window
from w2v2_jax.data.mp3_frames import frame_at


def without_xing(content):
    """The same MP3 without the frame that tells its length."""
    return content[frame_at(content, 0).length :]


def with_flac_count(content, count):
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | count
    return content[:18] + packed.to_bytes(8, "big") + content[26:]


def id3(size):
    return b"ID3\x03\0\0" + bytes((size >> s & 127) for s in (21, 14, 7, 0)) + b"\1" * size


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_of_two_files_put_together_are_read(kind):
    one, other = encoded(kind), encoded(kind, SPEECH)
    both = load_audio(one + other)
    apart = np.concatenate([load_audio(one), load_audio(other)])
    np.testing.assert_array_equal(both, apart)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_file_cut_short_is_found_whatever_its_kind(kind, share):
    content = encoded(kind)
    assert reason_of(content[: int(share * len(content))]) == "truncated"


def bw64(content):
    """An RF64 file under the name that ITU-R BS.2088 gives it."""
    assert content[:4] == b"RF64"
    return b"BW64" + content[4:]


def test_bw64_is_read_as_rf64(tmp_path):
    content = bw64(encoded("rf64"))
    np.testing.assert_array_equal(load_audio(content), load_audio(encoded("rf64")))
    both = load_audio(encoded("wav") + content + content)
    assert len(both) == 3 * len(NOISE)
    assert reason_of(content[:-100]) == "truncated"
    (tmp_path / "a.wav").write_bytes(content)
    assert recording_length(tmp_path / "a.wav") == (1.5, 1)


def ape(size, *, header):
    """An APE tag with a picture; one without a header has its name at its end alone."""
    picture = np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8).tobytes()
    entry = struct.pack("<II", len(picture), 2) + b"Cover Art (Front)\0" + picture
    numbers = (2000 if header else 1000, len(entry) + 32, 1)
    flags = 1 << 31 if header else 0
    first, last = (
        b"APETAGEX" + struct.pack("<4I8x", *numbers, flags | more) for more in (1 << 29, 0)
    )
    return (first if header else b"") + entry + last


@pytest.mark.parametrize("kind", ["mp3", "wav", "flac", "ogg"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("last", [b"", b"TAG" + b"x" * 125])
def test_a_large_tag_at_the_end_is_no_audio(kind, header, last):
    """Of more than 4 KiB without a header it was "more than its header says"."""
    content, tag = encoded(kind), ape(100_000, header=header)
    alone = load_audio(content)
    np.testing.assert_array_equal(load_audio(content + tag + last), alone)
    assert len(load_audio(content + tag + last + content)) == 2 * len(alone)
    if not header:
        assert reason_of(content + tag[:-40]) == "holds more than its header says"


@pytest.mark.parametrize("name", ["a.g722", "a.wav", "a.mp3"])
def test_bytes_of_no_known_kind_are_told_what_converts_them(tmp_path, name):
    """It said that the file does not exist."""
    noise = np.random.default_rng(1).integers(1, 250, 8000, dtype=np.uint8)
    (tmp_path / name).write_bytes(noise.tobytes())
    with pytest.raises(AudioError, match=r"its kind is not recognised: ffmpeg .* -f g722") as told:
        load_audio(tmp_path / name)
    assert "exist" not in str(told.value)


def test_files_of_other_kinds_and_rates_may_follow():
    parts = [encoded("wav"), encoded("flac", NOISE, 8_000), encoded("ogg"), encoded("mp3")]
    whole = load_audio(b"".join(parts))
    np.testing.assert_array_equal(whole, np.concatenate([load_audio(p) for p in parts]))


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    "tail", [b"TAG" + b"x" * 125, b"\0" * 9_000, b"junk" * 50, id3(6_000)],
    ids=["id3v1", "zeros", "junk", "id3v2"],
)  # fmt: skip
def test_tags_padding_and_a_little_junk_behind_the_samples_change_nothing(kind, tail):
    content = encoded(kind)
    np.testing.assert_array_equal(load_audio(content + tail), load_audio(content))


def test_an_ape_tag_between_two_parts_is_passed_over():
    content = encoded("mp3")
    footer = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 1, 0)
    header = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 1, 1 << 29 | 1 << 31)
    tag = header + b"\1" * 1968 + footer
    assert len(load_audio(content + tag + content)) == 2 * len(load_audio(content))


@pytest.mark.parametrize("kind", ["wav", "aiff", "ogg", "mp3"])
def test_much_that_is_no_audio_behind_the_samples_is_refused(kind):
    assert reason_of(encoded(kind) + b"prose " * 2_000) == "holds more than its header says"


def pages(content):
    """The pages of an Ogg file, told by their marks."""
    return [b"OggS" + body for body in content.split(b"OggS")[1:]]


@functools.cache
def long_ogg(kind):
    return encoded(kind, LONG)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
@pytest.mark.parametrize("count", [1, 40, 6_000])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_ogg_file_with_damage_anywhere_is_refused(kind, count, share):
    content = long_ogg(kind)
    damaged = overwritten(content, int(share * len(content)), count)
    assert reason_of(damaged) == "damaged inside"


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_an_ogg_file_that_lacks_a_page_is_refused(kind):
    every = pages(long_ogg(kind))
    assert reason_of(b"".join(every[:-2] + every[-1:])) == "damaged inside"


def test_an_ogg_file_whose_last_page_lost_its_mark_is_refused():
    *others, last = pages(encoded("opus", LONG[:9_000]))
    assert len(last) < 4_096  # as little as may follow a recording without being told
    assert reason_of(b"".join(others) + b"Oggs" + last[4:]) == "damaged inside"


@pytest.mark.parametrize("tell", [True, False])
@pytest.mark.parametrize("count", [64, 400])
def test_an_mp3_whose_frames_break_off_and_go_on_is_refused(tell, count):
    content = encoded("mp3", LONG)
    content = content if tell else without_xing(content)
    place = next(p for p in range(len(content) // 2, len(content)) if frame_at(content, p))
    assert reason_of(overwritten(content, place, count)) == "damaged inside"
    shorter = content[:place] + content[place + count :]
    assert reason_of(shorter) == "damaged inside"


def test_junk_between_two_mp3_files_is_passed_over():
    content = encoded("mp3")
    both = load_audio(content + b"junk" * 50 + content)
    assert len(both) == 2 * len(load_audio(content))


def vbr(samples=SPEECH):
    return encoded("mp3", samples, bitrate_mode="VARIABLE", compression_level=0.5)


@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(mode):
    content = encoded("mp3", NOISE, bitrate_mode=mode, compression_level=0.5)
    told, untold = load_audio(content), load_audio(without_xing(content))
    assert 0 <= len(untold) - len(told) <= 2400  # the encoder's delay and padding
    delay = max(range(1200), key=lambda d: np.dot(untold[d : d + 20_000], told[:20_000]))
    np.testing.assert_allclose(untold[delay : delay + 20_000], told[:20_000], atol=1e-3)


def test_an_mp3_whose_second_part_tells_nothing_is_read_to_its_end():
    content = vbr()
    plain = without_xing(content)
    alone = len(load_audio(plain))
    assert len(load_audio(content + plain)) == len(load_audio(content)) + alone
    assert len(load_audio(id3(5_000) + plain + id3(300) + content)) >= alone + len(SPEECH)


@pytest.mark.parametrize("tail", [b"", b"TAG" + b"x" * 125])
def test_an_mp3_without_a_length_that_ends_inside_a_frame_is_truncated(tail):
    content = without_xing(vbr())
    assert reason_of(content[: len(content) // 2 + 11] + tail) == "truncated"


def test_mp3_in_a_wav_is_read_whatever_the_header_guesses():
    frames = vbr()
    layout = struct.pack("<4sIHHIIHHHHIHHH", b"fmt ", 30, 0x55, 1, 16_000, 4_000, 1, 0, 12, 1, 2,
                         576, 1, 1105)  # fmt: skip
    facts = struct.pack("<4sII", b"fact", 4, 99_999)
    body = b"WAVE" + layout + facts + struct.pack("<4sI", b"data", len(frames)) + frames
    content = struct.pack("<4sI", b"RIFF", len(body)) + body
    np.testing.assert_array_equal(load_audio(content), load_audio(frames))
    assert reason_of(content[: len(content) * 2 // 3]) == "truncated"


@pytest.mark.parametrize("count", [0, 7_000])
def test_a_flac_whose_header_says_nothing_or_too_little_is_read_to_its_end(count):
    content = encoded("flac")
    for tail in (b"", b"TAG" + b"x" * 125):
        untold = with_flac_count(content, count) + tail
        np.testing.assert_array_equal(load_audio(untold), load_audio(content))
    both = load_audio(with_flac_count(content, count) + with_flac_count(content, 0))
    assert len(both) == 2 * len(NOISE)


def test_a_flac_from_a_pipe_that_was_cut_short_is_truncated():
    content = with_flac_count(encoded("flac"), 0)
    for stop in (len(content) - 1, len(content) // 2):
        assert reason_of(content[:stop]) == "truncated"


def test_a_flac_that_ends_between_two_frames_says_how_much_is_there():
    content = with_flac_count(encoded("flac"), len(NOISE) + 1)
    with pytest.raises(
        AudioError, match=rf"truncated \({len(NOISE)} of {len(NOISE) + 1} samples\)"
    ):
        load_audio(content)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_read_to_its_end(size):
    content = encoded("wav")
    untold = content[:40] + struct.pack("<I", size) + content[44:]
    np.testing.assert_array_equal(load_audio(untold), load_audio(content))
    np.testing.assert_array_equal(load_audio(untold + untold), load_audio(content + content))


def test_a_wav_without_samples_is_empty_also_with_notes_behind():
    content = encoded("wav", NOISE[:0])
    notes = b"LIST" + struct.pack("<I", 12) + b"INFOISFT\0\0\0\0"
    assert reason_of(content) == reason_of(content + notes) == "empty"


def test_an_au_file_from_a_pipe_is_read_to_its_end():
    content = encoded("au")
    untold = content[:8] + b"\xff" * 4 + content[12:]
    np.testing.assert_array_equal(load_audio(untold), load_audio(content))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64"])
def test_floats_in_units_of_int16_are_beyond_full_scale(container, subtype):
    file = io.BytesIO()
    samples = np.round(SPEECH / np.abs(SPEECH).max() * 32767)
    soundfile.write(file, samples, 16_000, format=container, subtype=subtype)
    with pytest.raises(AudioError, match=r"beyond full scale \(peak 32,767; .*-1 to 1"):
        load_audio(file.getvalue())


def test_a_lossy_file_in_units_of_int16_is_beyond_full_scale():
    assert reason_of(encoded("ogg", 3000 * SPEECH)) == "beyond full scale"


@pytest.mark.parametrize("peak", [1.0003, 1.4, 1.999])
def test_a_little_overshoot_is_read_as_it_is(peak):
    samples = SPEECH.copy()
    samples[5_000] = peak
    assert load_audio(encoded("float", samples)).max() == np.float32(peak)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "PCM_U8"])
def test_integers_are_scaled_by_their_width(subtype):
    file = io.BytesIO()
    soundfile.write(file, SPEECH, 16_000, format="WAV", subtype=subtype)
    np.testing.assert_allclose(load_audio(file.getvalue()), SPEECH, atol=0.01)


def test_a_window_reads_its_head_and_its_part_of_the_whole():
    window = Window(b"0123456789", Stream(b"ab", 3, 7))
    assert window.read() == b"ab3456"
    assert window.seek(-2, io.SEEK_END) == 4 and window.read(9) == b"56"
    assert window.seek(1) == 1 and window.read(3) == b"b34" and window.tell() == 4


M4A_START = b"\0\0\0\x1cftypM4A \0\0\2\0isomiso2\0\0\0\0"
STARTS = [M4A_START, b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR\n", b"\xff\xf1P"]


@pytest.mark.parametrize("start", STARTS)
def test_kinds_for_pyav_name_it_where_it_is_not_installed(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"needs PyAV .*pip install .w2v2_jax\[av\]"):
        load_audio(start + bytes(range(1, 200)))


@pytest.mark.parametrize("start", [b"#!AMR\n", b"#!AMR-WB\n"])
def test_amr_is_read_by_pyav(start):
    pytest.importorskip("av")
    frame = b"\x04" + bytes(12 if start == b"#!AMR\n" else 17)  # 20 ms in the first mode
    assert len(load_audio(start + 100 * frame)) == pytest.approx(32_000, abs=400)


def test_prose_is_not_given_to_pyav(monkeypatch):
    monkeypatch.setattr(pyav, "blocks", lambda *_: 1 / 0)
    for content in (b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\n", b"\0" * 99):
        assert reason_of(content * 9) == "unreadable"


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [("ipod", "aac", 44_100), ("adts", "aac", 16_000), ("webm", "libopus", 48_000),
     ("asf", "wmav2", 22_050), ("3gp", "aac", 16_000), ("mp4", "aac", 16_000),
     ("caf", "alac", 16_000)],
)  # fmt: skip
def test_what_libsndfile_cannot_read_is_read_by_pyav(suffix, codec, rate):
    content = made_by_pyav(suffix, codec, rate)
    waveform = load_audio(content)
    assert len(waveform) == pytest.approx(32_000, abs=4_000)
    assert np.abs(waveform[4_000:-4_000]).max() == pytest.approx(0.3, rel=0.1)
    if suffix != "webm":
        assert reason_of(content[: len(content) // 2]) in ("truncated", "unreadable")


def test_raw_aac_whose_frames_break_off_and_go_on_is_refused():
    content = made_by_pyav("adts", "aac", 16_000)
    place = content.index(b"\xff\xf1", len(content) // 2)
    assert reason_of(overwritten(content, place, 40)) == "damaged inside"
    assert reason_of(content[:place] + content[place + 30 :]) == "damaged inside"
    assert len(load_audio(content + b"TAG" + b"x" * 125)) == len(load_audio(content))


@pytest.mark.parametrize(("suffix", "codec", "rate"), [("webm", "libopus", 48_000),
                                                       ("asf", "wmav2", 22_050)])  # fmt: skip
def test_a_hole_in_a_file_for_pyav_is_told_with_its_length(suffix, codec, rate):
    content = made_by_pyav(suffix, codec, rate, seconds=12)
    damaged = overwritten(content, len(content) // 3, 4_000)
    with pytest.raises(AudioError, match=r"damaged inside \(\d\.\d\d s missing after \d\.\d s;"):
        load_audio(damaged)


# What a writer that could not seek leaves in the header: the format, the place and the size.
UNTOLD = {
    "aiff 0": ("AIFF", b"SSND", 4, b"\0" * 4),
    "aiff most": ("AIFF", b"SSND", 4, b"\xff" * 4),
    "caf -1": ("CAF", b"data", 4, b"\xff" * 8),
    "caf 0": ("CAF", b"data", 4, b"\0" * 8),
    "w64 most": ("W64", b"data", 16, b"\xff" * 7 + b"\x7f"),
    "w64 0": ("W64", b"data", 16, b"\x18" + b"\0" * 7),
    "au 0": ("AU", b".snd", 8, b"\0" * 4),
    "au 2 GiB": ("AU", b".snd", 8, b"\x7f" + b"\xff" * 3),
    "rf64 0": ("RF64", b"ds64", 16, b"\0" * 8),
    "rf64 most": ("RF64", b"ds64", 16, b"\xff" * 8),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_any_kind_of_file_from_a_pipe_is_read_to_its_end(case):
    container, chunk, behind, size = UNTOLD[case]
    file = io.BytesIO()
    soundfile.write(file, NOISE, 16_000, format=container, subtype="PCM_16")
    content = file.getvalue()
    place = content.index(chunk) + behind
    untold = content[:place] + size + content[place + len(size) :]
    np.testing.assert_array_equal(load_audio(untold), load_audio(content))
    more = encoded("flac")
    assert len(load_audio(untold + more)) == 2 * len(NOISE)


@pytest.mark.parametrize("container, chunk", [("AIFF", b"SSND"), ("AU", b""), ("RF64", b"data")])
def test_a_file_of_no_samples_stays_empty(container, chunk):
    file = io.BytesIO()
    soundfile.write(file, NOISE[:0], 16_000, format=container, subtype="PCM_16")
    assert chunk in file.getvalue() and reason_of(file.getvalue()) == "empty"


def test_the_last_packet_of_alac_in_caf_is_cut_once(tmp_path):
    (tmp_path / "a.caf").write_bytes(made_by_pyav("caf", "alac", 16_000))
    assert len(load_audio(tmp_path / "a.caf")) == 32_000


def test_a_git_lfs_pointer_is_named_as_one():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"
    with pytest.raises(AudioError, match=r"unreadable .*Git LFS pointer .*git lfs pull"):
        load_audio(pointer)


@pytest.mark.parametrize("kind", ["wav", "au"])
def test_a_file_that_was_sent_as_text_is_refused_as_such(kind):
    sent = encoded(kind).replace(b"\n", b"\r\n")
    with pytest.raises(AudioError, match=r"damaged inside \(each line feed follows .* binary mode"):
        load_audio(sent)
