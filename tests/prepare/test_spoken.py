"""What `--text` makes of transcripts, and what prepare says of it."""

import json

import numpy as np
import pytest
import soundfile

from tests.helpers.prepare_cases import OPTIONS, assert_same
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import command
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.texts.choice import unicode
from w2v2_jax.texts.rules import TextRules

TEXTS = ("Don\u2019t STOP!", "It is \u20bd.", "...", "UPPER CASE", "na\u00efve \u5317", "Room 3")


@pytest.fixture
def recordings(tmp_path):
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    for k, text in enumerate(TEXTS):
        soundfile.write(folder / f"u{k}.wav", 0.1 * rng.standard_normal(4000), 16000)
        (folder / f"u{k}.txt").write_text(text)
    return folder


def prepared(recordings, out, **options):
    options = {**OPTIONS, "holdout": {}, **options}
    return prepare(f"folder:{recordings}", out, **options)


def test_texts_are_stored_by_the_rules_and_the_rules_with_them(recordings, tmp_path):
    (report,) = prepared(recordings, tmp_path / "out", text="unicode")
    corpus = open_corpus(tmp_path / "out:train")
    assert list(corpus.texts()) == [
        "don't stop", "it is", "", "upper case", "na\u00efve \u5317", "room 3"
    ]  # fmt: skip
    assert TextRules.from_json(corpus.text_rules, where="x") == unicode()
    assert report["with_transcript"] == 5
    counts = {kind: entry["count"] for kind, entry in report["text"]["changes"].items()}
    assert counts["symbol: \u20bd"] == counts["digits stay: 3"] == 1
    assert counts["nothing left of the transcript"] == 1 and counts["apostrophes"] == 1
    stored = json.loads((tmp_path / "out" / "train" / "report.json").read_text())
    assert stored["text"]["changes"]["apostrophes"]["examples"] == ["u0.wav: Don\u2019t -> Don't"]


def test_what_is_emptied_counts_as_without_a_transcript(recordings, tmp_path):
    (report,) = prepared(recordings, tmp_path / "out", text="unicode", require_text=True)
    assert report["utterances"] == 5
    assert report["rejects"] == {"transcript missing": {"count": 1, "examples": ["u2.wav"]}}


def test_without_a_choice_texts_stay_and_one_line_says_what_nobody_speaks(
    recordings, tmp_path, capsys
):
    prepared(recordings, tmp_path / "a")
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("transcripts have")]
    assert "capitals and small letters, punctuation (! . \u2019 \u20bd), digits" in line
    corpus = open_corpus(tmp_path / "a:train")
    assert list(corpus.texts()) == list(TEXTS) and corpus.text_rules is None
    prepared(recordings, tmp_path / "b", text="none")
    assert "transcripts have" not in capsys.readouterr().out
    for k in range(len(TEXTS)):
        (recordings / f"u{k}.txt").write_text("IT'S SAID")
    prepared(recordings, tmp_path / "c")
    assert "transcripts have" not in capsys.readouterr().out


def test_pieces_that_are_kept_give_the_same_corpus(recordings, tmp_path):
    options = {"text": "unicode", "holdout": {"dev": 0.4}}
    prepared(recordings, tmp_path / "a", **options)
    prepared(recordings, tmp_path / "b", resumable=True, **options)
    assert_same(tmp_path / "a", tmp_path / "b")


def test_an_unknown_choice_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="--text klingon is unknown"):
        command.main(["--source", "folder:gone", "--out", str(tmp_path), "--text", "klingon"])
