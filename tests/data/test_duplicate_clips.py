"""Clips that two corpora share, or that are named twice, are told before anything is trained."""

import re

import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data.duplicate_clips import shared_clips, warnings
from w2v2_jax.data.joined import open_corpora
from w2v2_jax.data.transcribed import TranscribedCorpus
from w2v2_jax.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips 0 to 3 for training; 2 and 3 under other names; and clips that are like none."""
    folder = tmp_path_factory.mktemp("shared")
    write_split(folder / "a", "train", seconds=0.05)
    write_split(folder / "a", "dev", seconds=0.05, numbers=(2, 3))
    write_split(folder / "a", "test", seconds=0.06)
    (folder / "link").symlink_to(folder / "a")
    return folder


@pytest.mark.parametrize(("valid", "count"), [("dev", 2), ("test", 0), ("train", 4)])
def test_validation_clips_that_are_trained_on_are_counted(data, valid, count):
    train, other = open_corpora(f"{data}/a:train"), open_corpora(f"{data}/a:{valid}")
    assert shared_clips(train, other) == count
    lines = list(warnings(train, other))
    assert len(lines) == (count > 0)
    assert all(f"trained on as well: {count} of {len(other)}" in line for line in lines)


def test_clips_that_training_leaves_out_are_not_shared(data):
    train, valid = open_corpora(f"{data}/a:train"), open_corpora(f"{data}/a:dev")
    assert shared_clips(TranscribedCorpus(train, [0, 1, 2]), valid) == 1


def test_clips_that_two_training_splits_share_are_counted(data):
    (line,) = warnings(open_corpora(f"{data}/a:train+dev"), None)
    assert "another clip repeats: 2 of 6" in line
    assert not list(warnings(open_corpora(f"{data}/a:train+test"), None))
    assert not list(warnings(open_corpora(f"{data}/a:train"), None))


@pytest.mark.parametrize("named", ["{0}/a:train+train", "{0}/a:train,{0}/a/train,{0}/a:dev",
                                   "{0}/a:dev,{0}/link:dev"])  # fmt: skip
def test_a_split_that_is_named_twice_is_refused(data, named):
    with pytest.raises(InputError, match=re.escape(f"{data}/") + ".* is named twice"):
        open_corpora(named.format(data))
