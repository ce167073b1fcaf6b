"""`w2v2 explore`: what the page shows of a corpus, its bounds, and that it asks for nothing."""

import math
import re

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data.corpus import Entry, open_corpus
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.document import POLICY
from w2v2_jax.prepare import explore, explore_page
from w2v2_jax.prepare.explore_figures import figures, odd

TONE = (3000 * np.sin(np.arange(1600) * 0.2)).astype(np.int16)


def write(directory, split, entries):
    """entries: (id, text, speaker, language, seconds, samples' hash, further figures)."""
    writer = CorpusWriter(directory / split)
    for name, text, speaker, language, seconds, sha, *quality in entries:
        samples = np.resize(TONE, int(16000 * seconds))
        entry = Entry(name, text, speaker, len(samples), 0.0, 0.1, 0, sha, language, *quality)
        writer.add(entry, iter([samples.tobytes()]))
    writer.close(split=split, source="made")


@pytest.fixture
def corpus(tmp_path):
    write(tmp_path, "train", [
        ("a", "the quick brown fox jumps over the lazy dog", "ann", "en", 3.0, 1),
        ("b", "Hello <b>there</b>", "bob", "de", 2.0, 2),
        ("c", "a text of far too many letters for its time " * 8, "bob", "en", 0.5, 3),
        ("d", "", "", "", 4.0, 4),
    ])  # fmt: skip
    write(tmp_path, "test", [
        ("x", "the quick brown fox jumps over the lazy cat", "cy", "en", 3.0, 5),
        ("y", "hello b there b", "cy", "en", 3.0, 2),
    ])  # fmt: skip
    return tmp_path


def page_of(corpus):
    explore.main([str(corpus)])
    return (corpus / "explore.html").read_text()


def test_the_page_asks_for_nothing_fits_a_phone_and_shows_texts_as_texts(corpus):
    page = page_of(corpus)
    assert POLICY in page and "<script" not in page and "<b>there" not in page
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in page
    assert 'name="viewport" content="width=device-width' in page
    assert not re.search(r"(src|href)=.?(?!data:|\")", page.replace('src="data:', ""))
    assert page.count("<audio") == page.count('src="data:audio/flac;base64,') > 10


def test_leaks_of_audio_text_and_almost_the_same_text_name_both_splits(corpus):
    page = page_of(corpus)
    leaks = page[page.index("Duplicates and leaks") :]
    assert leaks.count("1 times, 1 of them in more than one split.") == 2
    assert leaks.count("train: b<br>test: y") + leaks.count("test: y<br>train: b") == 2
    assert "1 pairs, 1 of them in two splits." in leaks
    assert "test: x" in leaks and "lazy cat" in leaks


def test_speakers_languages_and_rare_characters_are_counted(corpus):
    page = page_of(corpus)
    assert re.search(r"<td>cy</td><td>2</td><td>0.002</td><td>38.7 %</td>", page)
    assert re.search(r"<td>en</td><td>4</td>", page)
    assert re.search(r"<td>/</td><td>U\+002F solidus</td><td>1</td><td>b</td>", page)


def test_odd_utterances_are_the_ends_of_their_figures(corpus):
    splits = [figures(open_corpus(corpus / name)) for name in ("test", "train")]
    most = (
        "most letters per second: does the text belong to another recording, or is the audio cut?"
    )
    (worst, next_one) = odd(splits, most, 2)
    assert worst[0] == (1, 2) and worst[1] == pytest.approx(704)
    assert next_one[1] < 30
    assert odd(splits, "longest", 1) == [((1, 3), 4.0)]
    assert [place for place, _ in odd(splits, "shortest", 2)] == [(1, 2), (1, 1)]


def test_estimates_come_from_the_index_or_from_a_sample_where_it_has_none(tmp_path):
    write(tmp_path, "known", [("a", "", "", "", 1.0, 1, 0.25, 12.5, 3400.0, math.nan)])
    known = figures(open_corpus(tmp_path / "known"))
    assert known.snr_db.tolist() == [12.5] and known.clipped_share.tolist() == [0.25]
    write(tmp_path, "unknown", [(f"u{k:04}", "", "", "", 0.1, k) for k in range(600)])
    sampled = figures(open_corpus(tmp_path / "unknown"))
    assert sampled.measured == 400 == np.count_nonzero(~np.isnan(sampled.bandwidth_hz))
    assert "measured on 400 of 600" in page_of(tmp_path)


def test_players_stop_at_the_bytes_of_the_page(corpus, monkeypatch):
    monkeypatch.setattr(explore_page, "AUDIO_BYTES", 30_000)
    page = page_of(corpus)
    sounds = re.findall(r"base64,([^\"]*)", page)
    assert 0 < sum(map(len, sounds)) < 30_000 and "as the page has reached its limit" in page


def test_one_split_and_a_file_of_ones_own_are_possible(corpus, tmp_path):
    explore.main([f"{corpus}:test", "--html", str(tmp_path / "deep" / "p.html"), "--each", "1"])
    page = (tmp_path / "deep" / "p.html").read_text()
    assert "<h2>test</h2>" in page and "<h2>train</h2>" not in page


def test_the_page_of_a_split_leaves_that_of_the_whole(corpus):
    whole = page_of(corpus)
    explore.main([f"{corpus}:test"])
    assert (corpus / "explore.html").read_text() == whole
    assert "<h2>train</h2>" not in (corpus / "explore-test.html").read_text()


def test_what_is_no_corpus_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such directory of a prepared corpus"):
        explore.main([str(tmp_path / "none")])
    with pytest.raises(InputError, match="no prepared corpus"):
        explore.main([str(tmp_path)])
    write_split(tmp_path, "train")
    with pytest.raises(InputError, match="--each 99: use 0 to 10"):
        explore.main([str(tmp_path), "--each", "99"])


@pytest.mark.slow
def test_a_corpus_of_a_hundred_thousand_utterances_makes_a_page_of_five_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(3, 9))) for _ in range(3000)]
    writer = CorpusWriter(tmp_path / "train")
    noise = rng.integers(-9000, 9000, 160_000).astype(np.int16)
    for n in range(100_000):
        text = " ".join(words[k] for k in rng.integers(0, len(words), 15))
        samples = noise if n < 30 else noise[: int(rng.integers(200, 400))]
        entry = Entry(f"folder/{n:06}", text, f"s{n % 2000}", len(samples), 0.0, 0.1, 0, n + 1)
        writer.add(entry, iter([samples.tobytes()]))
    writer.close(split="train", source="made")
    explore.main([str(tmp_path), "--each", "10"])
    assert 500_000 < (tmp_path / "explore.html").stat().st_size < 5_000_000
