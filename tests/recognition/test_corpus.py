"""A network over every utterance of a prepared corpus."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.joined import open_splits
from w2v2_jax.errors import InputError
from w2v2_jax.inference import Model
from w2v2_jax.recognition.corpus import corpus_frames, transcripts


@pytest.mark.parametrize("joined", [False, True])
def test_samples_that_changed_since_they_were_prepared_are_told_and_not_used(
    tuned, tmp_path, joined
):
    for split in ("dev", "test"):
        write_split(tmp_path, split)
    shard = tmp_path / "test" / "shard-00000.i16"
    samples = np.fromfile(shard, np.int16)
    samples[-1] ^= 1
    samples.tofile(shard)
    where = f"{tmp_path}:dev+test" if joined else f"{tmp_path}:test"
    corpus = open_splits(where) if joined else open_corpus(where)
    model = Model(Path("tiny"), tuned.description, tuned.params)
    with pytest.raises(InputError, match=r"samples of \S+ differ from their checksum.*copy or pre"):
        list(corpus_frames(model, corpus, model.logits, batch_seconds=1.0))


def test_an_utterance_without_a_frame_is_named_before_the_work(tuned, tmp_path):
    write_split(tmp_path, "dev", texts=("A", "B"), seconds=1 / 1600)  # 10 and 20 samples
    model = Model(Path("tiny"), tuned.description, tuned.params)
    frames = corpus_frames(model, open_corpus(f"{tmp_path}:dev"), pytest.fail, batch_seconds=1.0)
    with pytest.raises(InputError, match=r"dev/u0 has 10 samples, too few for one frame; prepare"):
        next(frames)


def test_transcripts_of_utterances_without_a_frame_are_empty_and_the_others_are_made(
    tuned, tmp_path, monkeypatch
):
    """One of them ended an evaluation."""
    write_split(tmp_path, "short", texts=("A", "B"), seconds=1 / 1600)
    write_split(tmp_path, "test", texts=("A", "B"), seconds=0.5)
    both = open_splits(f"{tmp_path}:short+test")
    model = Model(Path("tiny"), tuned.description, tuned.params)
    alone = transcripts(model, open_corpus(f"{tmp_path}:test"), batch_seconds=1.0)
    assert all(alone)
    monkeypatch.setattr("w2v2_jax.recognition.corpus.CHUNK", 1)
    assert transcripts(model, both, batch_seconds=1.0) == ["", "", *alone]
