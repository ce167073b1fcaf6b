"""Utterances without a transcript enter no labelled batch, and change nothing about the others."""

import itertools

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.data.transcribed import (
    TranscribedCorpus,
    outside_vocabulary,
    transcribed,
    transcribed_numbers,
)
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import LIBRISPEECH, SPECIALS, Vocabulary

# What a person may have written for "no transcript": nothing, or what no symbol stands for.
NONE = ("", " ", "42", "?!", "|", "\u4f60\u597d", "\u200b", "<>")
TEXTS = ("THE CAT", "", "A HAT", "42", "MY MAT SAT", "", " | ", "IT IS 5")
SPOKEN = (0, 2, 4, 7)
LACK = " (2 of them with a text that the vocabulary lacks)"


def config(data, **changes):
    fields = dict(
        train=f"{data}:train", valid=f"{data}:train", mode="pad", bucket_seconds=(0.2, 0.4),
        batch_seconds=0.8, row_multiple=2, min_seconds=0.01, verify=False, reader="threads",
        workers=1,
    )  # fmt: skip
    return DataConfig(**(fields | changes))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Eight utterances, four of them without a transcript, and the other four by themselves."""
    folder = tmp_path_factory.mktemp("mixed")
    write_split(folder / "all", "train", texts=TEXTS, seconds=0.05)
    write_split(folder / "spoken", "train", texts=TEXTS, seconds=0.05, numbers=SPOKEN)
    return folder


@pytest.mark.parametrize("text", NONE)
def test_a_text_without_a_symbol_of_the_vocabulary_is_no_transcript(text):
    assert not LIBRISPEECH.has_words(text)
    assert LIBRISPEECH.has_words(f"{text} a {text}")  # one letter that is known is one


@pytest.mark.parametrize(("case", "expected"), [("upper", [0, 1]), ("lower", []), ("keep", [1])])
def test_the_case_of_the_vocabulary_decides(tmp_path, case, expected):
    write_split(tmp_path, "train", texts=("abc", "ABC", "1"), seconds=0.05)
    vocabulary = Vocabulary((*SPECIALS, *"ABC"), case)
    assert transcribed_numbers(open_corpus(tmp_path), vocabulary.has_words).tolist() == expected


def test_texts_of_other_characters_are_counted_among_those_left_out(mixed):
    corpus = transcribed(open_corpus(mixed / "all"), LIBRISPEECH, where="here")
    assert len(corpus) == 4 and outside_vocabulary(corpus) == 2  # "42" and "|"
    assert outside_vocabulary(open_corpus(mixed / "all")) == 0  # none is left out


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_corpus_of_any_transcribed_utterance_has_text(mixed, count):
    corpus = TranscribedCorpus(open_corpus(mixed / "all"), np.array(SPOKEN[:count], int))
    assert corpus.has_text == (count > 0)


@pytest.mark.parametrize("make", [train_feed, valid_feed])
def test_labelled_batches_are_those_of_the_transcribed_utterances_alone(mixed, make):
    options = {"seed": 5} if make is train_feed else {}
    feeds = [make(config(mixed / name), LIBRISPEECH, **options) for name in ("all", "spoken")]
    assert feeds[0].used() == f"4 utterances used, 4 without a transcript left out{LACK}"
    assert feeds[1].used() == "4 utterances used, 0 without a transcript left out"
    batches = [list(itertools.islice(feed.batches(0, None), 9)) for feed in feeds]
    assert len(batches[0]) == len(batches[1]) > 1
    for pair in zip(*batches, strict=True):
        for ours, alone in zip(*pair, strict=True):
            np.testing.assert_array_equal(ours, alone)
        assert (pair[0].num_labels > 0).all()


def test_the_rows_are_named_by_the_ids_of_the_whole_corpus(mixed):
    feed = train_feed(config(mixed / "all"), LIBRISPEECH, seed=5)
    steps = range(1, feed.plan.steps_per_epoch + 1)
    names = {part["id"] for step in steps for row in feed.row_sources(step) for part in row}
    assert names == {f"train/u{k}" for k in SPOKEN}


def test_pretraining_takes_every_utterance(mixed):
    feed = train_feed(config(mixed / "all", mode="crop", bucket_seconds=(0.05,)), None, seed=5)
    assert feed.used() == "8 utterances used" and feed.without_transcript == 0


def test_resuming_and_hosts_change_nothing_about_the_rows(mixed):
    whole = list(train_feed(config(mixed / "all"), LIBRISPEECH, seed=5).batches(0, 6))
    later = list(train_feed(config(mixed / "all"), LIBRISPEECH, seed=5).batches(4, 2))
    feed = train_feed(config(mixed / "all"), LIBRISPEECH, seed=5)
    second = list(feed.batches(0, 6, parts=(1,), num_parts=2))
    for resumed, expected in zip(later, whole[4:], strict=True):
        np.testing.assert_array_equal(resumed.waveforms, expected.waveforms)
    for half, expected in zip(second, whole, strict=True):
        np.testing.assert_array_equal(half.labels, expected.labels[len(expected.labels) // 2 :])


def test_joined_splits_lose_the_utterances_of_the_one_without_transcripts(mixed, tmp_path):
    write_split(tmp_path, "train", texts=TEXTS, seconds=0.05)
    write_split(tmp_path, "unlabeled", texts=("",) * 3, seconds=0.05)
    both = config(tmp_path, train=f"{tmp_path}:train+unlabeled")
    feed = train_feed(both, LIBRISPEECH, seed=5)
    assert feed.used() == f"4 utterances used, 7 without a transcript left out{LACK}"


def test_the_fingerprint_says_which_utterances_are_used(mixed):
    whole = open_corpus(mixed / "all")
    some = transcribed(whole, LIBRISPEECH, where="x")
    fewer = TranscribedCorpus(whole, some.numbers[:-1])
    assert len({c.fingerprint() for c in (whole, some, fewer)}) == 3
    assert some.fingerprint().startswith(whole.fingerprint())
    spoken = open_corpus(mixed / "spoken")
    assert transcribed(spoken, LIBRISPEECH, where="x") is spoken


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("", ""), "none of its 2 utterances has a transcript; name a split that has some, or add"),
        (("", "12", "3 4"), "none of its 2 transcripts has a character of the vocabulary"),
        (("\u0441\u043b\u043e\u0432\u043e",), "is it of another language?"),
    ],
)
@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_split_without_any_transcript_is_refused_by_its_setting(
    mixed, tmp_path, texts, message, name
):
    write_split(tmp_path, "dev", texts=texts, seconds=0.05)
    where = f"{tmp_path}:dev"
    changed = config(mixed / "all", **{name: where})
    with pytest.raises(InputError, match=f"config.data.{name}={where}: ") as error:
        train_feed(changed, LIBRISPEECH, seed=5)
        valid_feed(changed, LIBRISPEECH)
    assert message in str(error.value)
