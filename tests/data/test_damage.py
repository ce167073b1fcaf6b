"""Damaged audio is found by its checksum and its rows are left out; what is gone is named."""

import os

import numpy as np
import pytest

from w2v2_jax.data.corpus import Entry, open_corpus
from w2v2_jax.data.damage import Broken, Damage
from w2v2_jax.data.joined import JoinedCorpus
from w2v2_jax.data.pipeline import batches, make_batch
from w2v2_jax.data.plan import Plan
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.errors import InputError

SAMPLES = 1600


@pytest.fixture
def corpus(tmp_path):
    """Eight utterances of noise, two in each of four shards."""
    import zlib

    random = np.random.default_rng(0)
    writer = CorpusWriter(tmp_path / "train", shard_bytes=4 * SAMPLES)
    for i in range(8):
        samples = random.integers(-9000, 9000, SAMPLES).astype("<i2")
        content = samples.tobytes()
        crc = zlib.crc32(content)
        writer.add(Entry(f"u{i}", "", "", SAMPLES, 0.0, 0.1, crc, i), iter([content]))
    writer.close(split="train", source="test")
    return open_corpus(tmp_path / "train")


def plan(corpus):
    return Plan(
        corpus.num_samples, seed=0, mode="crop", bucket_samples=(800,), batch_samples=6400,
        row_multiple=8, min_samples=1,
    )  # fmt: skip


def flip_a_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def read(corpus, damage, step=0):
    rows = plan(corpus).batch(step)
    return rows, make_batch(
        corpus, rows, normalise=True, vocabulary=None, label_width=None, damage=damage
    )


def test_a_flipped_bit_takes_the_weight_of_its_rows_alone(corpus):
    _, whole = read(corpus, Damage(corpus))
    flip_a_bit(corpus.directory / "shard-00001.i16", 2 * SAMPLES + 7)  # in u3
    damage = Damage(corpus)
    rows, batch = read(corpus, damage)
    bad = np.array([row[0].utterance == 3 for row in rows.rows])
    assert bad.sum() == 1 and whole.weights.sum() == 8
    np.testing.assert_array_equal(batch.weights, ~bad)
    np.testing.assert_array_equal(batch.num_samples, whole.num_samples)
    np.testing.assert_array_equal(batch.waveforms[~bad], whole.waveforms[~bad])
    assert not batch.waveforms[bad].any()
    assert damage.news() == [Broken("u3", "checksum differs")]
    read(corpus, damage, step=1)
    assert damage.news() == []  # said once


def test_a_shard_cut_short_loses_what_is_behind_the_cut_alone(corpus):
    os.truncate(corpus.directory / "shard-00002.i16", 3 * SAMPLES)  # u4 whole, u5 half
    damage = Damage(corpus)
    rows, batch = read(corpus, damage)
    bad = [row[0].utterance == 5 for row in rows.rows]
    np.testing.assert_array_equal(batch.weights, ~np.array(bad))
    assert damage.news() == [Broken("u5", "its shard is cut short or damaged")]


@pytest.mark.parametrize("reader", ["threads", pytest.param("tfdata", marks=pytest.mark.slow)])
def test_a_directory_that_vanishes_while_it_is_read_is_named(corpus, reader):
    stream = batches(
        corpus, plan(corpus), first_step=0, num_steps=None, normalise=False, workers=1,
        reader=reader, prefetch_bytes=1, damage=Damage(corpus),
    )  # fmt: skip
    (corpus.directory / "shard-00003.i16").unlink()
    with pytest.raises(InputError, match=r"shard-00003\.i16: cannot map"):
        for _ in range(3):
            next(stream)


def test_joined_splits_find_damage_in_each(corpus):
    joined = JoinedCorpus((corpus, corpus))
    flip_a_bit(corpus.directory / "shard-00000.i16", 1)
    assert [joined.verify(i) for i in (0, 7, 8, 15)] == [False, True, False, True]
