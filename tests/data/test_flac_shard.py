"""Compressed shards: the same samples, plan and fingerprint, and damage that is named."""

import json
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.damage import Broken, Damage
from w2v2_jax.data.feed import train_feed
from w2v2_jax.data.flac_frames import frame_header
from w2v2_jax.data.flac_shard import open_flac_shard
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.command import main
from w2v2_jax.prepare.compress import check_codec, compress_split, frame_places


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same corpus, plain and compressed."""
    folder = tmp_path_factory.mktemp("both")
    write_split(folder / "plain", "train", texts=("A",) * 9, seconds=0.21)
    shutil.copytree(folder / "plain", folder / "flac")
    compress_split(folder / "flac" / "train", workers=2)
    return folder


def test_every_part_of_every_utterance_is_the_same(both):
    plain, flac = (open_corpus(both / name) for name in ("plain", "flac"))
    assert not list((both / "flac/train").glob("*.i16"))
    assert flac.fingerprint() == plain.fingerprint() and flac.info["codec"] == "flac"
    for i, n in enumerate(plain.num_samples.tolist()):
        for start, length in ((0, n), (0, 0), (n, 0), (n - 1, 1), (n // 3, n // 2), (1, 4096)):
            length = min(length, n - start)
            a, b = (corpus.read(i, start, length) for corpus in (plain, flac))
            assert a.dtype == b.dtype and np.array_equal(a, b)
        assert flac.verify(i)
    with pytest.raises(IndexError):
        flac.read(0, 0, n + 1)


@pytest.mark.parametrize("mode", ["crop", "concatenate", "pad"])
def test_batches_are_the_same(both, mode):
    feeds = [
        train_feed(
            DataConfig(f"{both / name}:train", mode, (0.2, 1.0, 2.0), 4.0, 2, min_seconds=0.2,
                       reader="threads", workers=2), None, seed=1)
        for name in ("plain", "flac")
    ]  # fmt: skip
    batches = [list(feed.batches(0, 9)) for feed in feeds]
    for a, b in zip(*batches, strict=True):
        assert np.array_equal(a.waveforms, b.waveforms) and a.weights.all() == b.weights.all()


def test_a_shard_is_an_ordinary_flac_file(both):
    samples, rate = soundfile.read(both / "flac/train/shard-00000.flac", dtype="int16")
    plain = np.fromfile(both / "plain/train/shard-00000.i16", "<i2")
    assert rate == 16_000 and np.array_equal(samples, plain)


def test_a_part_reads_its_own_frames_alone(both):
    shard = open_flac_shard(both / "flac/train/shard-00000.flac")
    first, stop = 9 * shard.block, 10 * shard.block
    frames = shard.path.read_bytes()[shard.places[9] : shard.places[10]]
    assert frame_header(frames, 0).number == 9
    lost = bytearray(shard.path.read_bytes())
    lost[shard.places[10] :] = bytes(len(lost) - int(shard.places[10]))
    lost[: shard.places[9]] = bytes(int(shard.places[9]))
    copy = both / "lost.flac"
    copy.write_bytes(lost)
    part = shard._replace(path=copy)[first:stop]
    assert np.array_equal(part, shard[first:stop]) and part.any()


def test_places_are_those_of_the_frames_even_where_samples_look_like_one():
    header = bytes.fromhex("fff8c508006f4a00")
    content = b"fLaC" + b"\x80" + struct.pack(">I", 2)[1:] + b"xx" + header + b"-----" + header
    places = frame_places(content)  # the second one has the number of the first
    assert places.tolist() == [10, len(content)]


def test_a_byte_that_begins_no_number_is_no_frame():
    assert frame_header(b"\xff\xf8\xc5\x08\xff" + bytes(12), 0) is None


@pytest.fixture
def copied(both, tmp_path):
    shutil.copytree(both / "flac", tmp_path / "flac")
    return tmp_path / "flac/train"


def test_damage_inside_a_shard_takes_its_own_utterances_alone(copied):
    corpus = open_corpus(copied)
    shard = open_flac_shard(copied / "shard-00000.flac")
    with open(shard.path, "r+b") as file:
        file.seek(int(shard.places[1]) + 40)
        file.write(bytes(100))
    damage = Damage(corpus)
    whole = [damage.whole(i) for i in range(len(corpus))]
    offsets = np.concatenate([[0], np.cumsum(corpus.num_samples)])
    touched = (offsets[:-1] < 2 * 4096) & (offsets[1:] > 4096)
    assert whole == (~touched).tolist()
    news = damage.news()
    assert all(isinstance(one, Broken) for one in news) and len(news) == touched.sum() > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("shard-00000.flac", lambda c: c[:-7], "shard-00000.flac: {0} bytes of {1}; copy or"),
        (
            "shard-00000.flac",
            lambda c: b"RIFF" + c[4:],
            "shard-00000.flac: cannot read the samples",
        ),
        ("shard-00000.frames", lambda c: c[8:], "shard-00000.frames is not its list of frames"),
        ("shard-00000.frames", lambda c: c[:-3], "shard-00000.flac: cannot read the samples"),
        ("shard-00000.frames", lambda c: c[8:16] + c[8:], "is not its list of frames"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_one_line(copied, name, change, message):
    path = copied / name
    content = path.read_bytes()
    path.write_bytes(change(content))
    message = message.format(len(content) - 7, len(content))
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        open_corpus(copied).read(0, 0, 10)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["shard-00000.flac", "shard-00000.frames"])
def test_a_file_that_is_gone_is_named(copied, missing):
    os.remove(copied / missing)
    with pytest.raises(InputError, match=re.escape(missing)):
        open_corpus(copied).read(0, 0, 10)


@pytest.mark.parametrize("change", [{"version": 3}, {"codec": "opus"}, {"version": 1}])
def test_a_version_or_codec_that_is_not_known_is_refused_by_name(copied, change):
    info = json.loads((copied / "corpus.json").read_text())
    (copied / "corpus.json").write_text(json.dumps(info | change))
    (name, value), *_ = change.items()
    with pytest.raises(InputError, match=f"of a version up to 2 .*{name}={value!r}"):
        open_corpus(copied)


def test_prepare_writes_compressed_splits(tmp_path, capsys):
    rng = np.random.default_rng(0)
    source = tmp_path / "wavs"
    source.mkdir()
    for k in range(3):
        tone = 0.3 * np.sin(np.arange(20_000) * 0.03 * (k + 1)) + rng.normal(0, 0.001, 20_000)
        soundfile.write(source / f"{k}.wav", tone, 16_000)
    for name, options in (("plain", []), ("flac", ["--compress", "flac"])):
        main(["--source", f"folder:{source}", "--out", str(tmp_path / name), *options,
              "--workers", "1"])  # fmt: skip
    plain, flac = (open_corpus(tmp_path / name) for name in ("plain", "flac"))
    assert plain.fingerprint() == flac.fingerprint()
    assert all(np.array_equal(plain.read(i, 0, 20_000), flac.read(i, 0, 20_000)) for i in range(3))

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.glob("train/shard-*"))

    assert 1.8 * size(tmp_path / "flac") < size(tmp_path / "plain")
    assert "wrote" in capsys.readouterr().out


def test_compressing_into_an_object_store_is_refused():
    with pytest.raises(InputError, match="--compress flac: use flac, and a local --out"):
        check_codec("flac", "gs://bucket/corpus")
