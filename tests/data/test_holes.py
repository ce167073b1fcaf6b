"""Packets that are missing, damaged or cut off in files for PyAV, and in MP3, are told."""

import io

import numpy as np
import pytest

from tests.helpers.audio_cases import LONG, encoded, made_by_pyav, overwritten, reason_of
from w2v2_jax.data.audio import AudioError, load_audio
from w2v2_jax.data.containers import Damaged
from w2v2_jax.data.mp3_frames import frame_at
from w2v2_jax.data.time_stamps import TimeStamps

FRAME = 0.02  # s
RNG = np.random.default_rng(0)


def stamped(times, seconds=FRAME):
    stamps = TimeStamps()
    for time in times:
        stamps.add(time, seconds)
    stamps.finish()


def muxed(container, codec="libopus", *, without=(), options=None, seconds=6, file=None):
    """A recording without some of its packets; their stamps stay as they were."""
    av = pytest.importorskip("av")
    whole = made_by_pyav("matroska", codec, 48_000, seconds=seconds)
    memory = io.BytesIO()
    with (
        av.open(io.BytesIO(whole)) as source,
        av.open(file or memory, "w", format=container, options=options or {}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.audio[0])
        packets = [p for p in source.demux(source.streams.audio[0]) if p.dts is not None]
        for packet in (p for i, p in enumerate(packets) if i not in without):
            packet.stream = stream
            target.mux(packet)
    return file.read_bytes() if file else memory.getvalue()


@pytest.mark.parametrize("container", ["webm", "matroska"])
@pytest.mark.parametrize("place", [1, 100, 297])
def test_one_missing_packet_of_opus_is_a_hole(container, place):
    assert len(load_audio(muxed(container))) == pytest.approx(96_000, abs=400)
    with pytest.raises(AudioError, match=r"damaged inside \(0\.02 s missing after .*aresample"):
        load_audio(muxed(container, without=[place]))


def test_one_missing_packet_of_aac_is_a_hole():
    with pytest.raises(AudioError, match=r"damaged inside \(0\.02 s missing after 1\.\d s"):
        load_audio(muxed("matroska", "aac", without=[50]))


def test_what_the_remedy_makes_of_a_hole_has_the_right_length():
    av = pytest.importorskip("av")
    parts = []
    with av.open(io.BytesIO(muxed("webm", without=[100]))) as opened:
        stream, graph = opened.streams.audio[0], av.filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(template=stream),
            graph.add("aresample", "async=1:min_hard_comp=0.01"),
            graph.add("abuffersink"),
        ).configure()
        for frame in opened.decode(stream):
            graph.push(frame)
            parts.append(graph.pull().to_ndarray().ravel())
    assert sum(map(len, parts)) == pytest.approx(6 * 48_000, abs=400)  # a packet has 960


@pytest.mark.parametrize("every", [1, 2, 3, 4, 50])
def test_holes_are_told_however_often_they_come(every):
    times = [FRAME * (i + i // every) for i in range(200)]
    with pytest.raises(Damaged, match=r"s missing after \d\.\d s"):
        stamped(times)


@pytest.mark.parametrize("place", [1, 2, 5, 196, 199])
def test_a_hole_near_an_end_is_told(place):
    with pytest.raises(Damaged):
        stamped([FRAME * (i + (i >= place)) for i in range(200)])


def test_stamps_that_are_rounded_late_once_or_of_another_clock_are_no_holes():
    stamped([round(0.0213 * i, 3) for i in range(3000)], 0.0213)
    stamped([round(0.0029 * i, 3) for i in range(3000)], 0.0029)
    late = [0.04 * (i in (17, 18, 60)) for i in range(200)]
    stamped([FRAME * i + more for i, more in enumerate(late)])
    stamped([FRAME * i * 1.0005 for i in range(100_000)])
    stamped([])


@pytest.mark.parametrize("codec", ["libopus", "aac", "pcm_s16le"])
def test_one_changed_byte_in_a_matroska_file_differs_from_its_checksum(codec):
    content = muxed("matroska", codec)
    for place in np.linspace(len(content) // 10, len(content) * 9 // 10, 7).astype(int):
        changed = bytes([content[place] ^ 1])
        damaged = content[:place] + changed + content[place + 1 :]
        assert reason_of(damaged) == "damaged inside"


LIVE = {"live": "1", "cluster_time_limit": "500"}


@pytest.mark.parametrize("options", [{}, LIVE], ids=["file", "stream"])
def test_a_webm_file_with_damage_anywhere_that_shortens_it_is_refused(options):
    content = muxed("webm", options=options)
    whole = len(load_audio(content))
    for place in RNG.integers(len(content) // 10, len(content) * 9 // 10, 40):
        try:
            assert len(load_audio(overwritten(content, place, 60))) == whole
        except AudioError as error:
            assert error.reason in ("damaged inside", "truncated", "unreadable")


@pytest.mark.parametrize("container", ["webm", "matroska"])
@pytest.mark.parametrize("options", [{}, LIVE], ids=["file", "stream"])
def test_a_matroska_file_cut_short_inside_a_packet_is_truncated(container, options):
    content = muxed(container, options=options)
    for share in (0.3, 0.6, 0.95, 0.999):
        assert reason_of(content[: int(share * len(content))]) == "truncated"


@pytest.mark.parametrize("options", [{}, LIVE], ids=["file", "stream"])
def test_two_matroska_files_put_together_are_read_in_full(options):
    one, other = muxed("webm", options=options), muxed("matroska", seconds=2)
    apart = np.concatenate([load_audio(one), load_audio(other)])
    np.testing.assert_array_equal(load_audio(one + other), apart)


def test_a_wma_file_cut_at_any_place_is_truncated():
    content = made_by_pyav("asf", "wmav2", 22_050, seconds=6)
    for stop in range(6_000, len(content) - 200, 3_200):
        assert reason_of(content[:stop]) == "truncated"
    both = load_audio(content + content)
    assert len(both) == 2 * len(load_audio(content))


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_a_little_off_the_end_of_an_mp4_is_told(codec, tmp_path):
    content = muxed("mp4", codec, options={"movflags": "faststart"}, file=tmp_path / "a.mp4")
    for stop in (len(content) - 10, int(0.97 * len(content))):
        assert reason_of(content[:stop]) in ("truncated", "unreadable")


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_frame_whose_side_information_is_impossible_is_refused(rate, channels):
    samples = LONG if channels == 1 else np.stack([LONG, LONG[::-1]], 1)
    content = encoded("mp3", samples, rate)
    assert len(load_audio(content)) > 0
    place = 0
    while place < len(content) // 2:
        place += frame_at(content, place).length
    assert reason_of(overwritten(content, place + 4, 17)) == "damaged inside"
    side = place + 4
    longest = content[:side] + b"\0\0" + b"\xff" * 6 + content[side + 8 :]
    assert reason_of(longest) == "damaged inside"
