"""`w2v2 segment --romanise` with uroman itself: texts of several scripts, a model of a to z."""

import json
import types

import numpy as np
import pytest
import soundfile

from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.spelling import STAR, Speller
from w2v2_jax.prepare import segment
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.texts.romanise import romaniser
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

pytest.importorskip("uroman", reason='needs uroman: pip install "w2v2_jax[romanise]"')
pytestmark = pytest.mark.slow  # loading its tables takes 5 seconds

VOCABULARY = Vocabulary((*SPECIALS, *"abcdefghijklmnopqrstuvwxyz'"), "lower")
SECONDS = 0.02  # of a frame
SCRIPTS = {
    "Greek": ("Καλημέρα σας, τι κάνετε;", "kalemera sas ti kanete"),
    "Cyrillic": ("Доброе утро, Щукин!", "dobroe utro shchukin"),
    "Devanagari": ("नमस्ते, आप कैसे हैं?", "namaste aap kaise haim"),
    "Arabic": ("صباح الخير كيف حالك؟", "sbah alkhyr kyf halk"),  # its short vowels are not written
    "Chinese": ("早上好\uff0c我有一本书。", "zaoshanghao woyouyibenshu"),
    "Korean": ("안녕하세요 오늘 날씨가 좋습니다.", "annyeonghaseyo oneul nalssiga johseubnida"),
}


def seen(spelling):
    """What the aligner looks for, as a text."""
    symbols = ["*" if row == STAR else VOCABULARY.symbols[row] for row in spelling.ids]
    return "".join(symbols).replace("|", " ").strip()


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_aligner_sees_each_script_in_latin_letters(script):
    text, latin = SCRIPTS[script]
    speller = Speller(VOCABULARY, romanise=romaniser())
    spelling = speller(text)
    assert seen(spelling) == latin and not speller.counts
    assert spelling.words == text.split() and spelling.text == text


@pytest.mark.parametrize(
    ("word", "latin"),
    [
        ("三百二十五个人", "sanbaiershiwugeren"),  # uroman alone: 325geren
        ("一起", "yiqi"),
        ("第3章", "di3zhang"),  # digits stay digits, as in every script
        ("१२", "12"),
        ("١٢", "12"),
        ("½", "1/2"),
        ("東京", "dongjing"),
    ],
)
def test_numerals_that_are_letters_are_read_as_letters(word, latin):
    assert romaniser()(word) == latin


def spoken(lines, rng):
    """Logits [T, C] in which the lines are said with pauses of half a second, and their times."""
    path, times = [0] * 25, []
    for line in lines:
        first = len(path)
        for row in VOCABULARY.encode(line):
            path += [int(row)] * 2 + [0]
        times.append((first * SECONDS, (len(path) - 3) * SECONDS))
        path += [0] * 25
    logits = rng.normal(size=(len(path), len(VOCABULARY))).astype(np.float32)
    logits[np.arange(len(path)), path] += 9
    return logits, times


def test_a_corpus_of_six_scripts_has_the_original_texts_at_their_times(tmp_path, monkeypatch):
    texts, latin = zip(*SCRIPTS.values(), strict=True)
    logits, times = spoken(latin, np.random.default_rng(0))
    model = types.SimpleNamespace(seconds_per_frame=SECONDS)
    description = types.SimpleNamespace(ctc_vocabulary=VOCABULARY, model=model)
    network = types.SimpleNamespace(description=description)
    monkeypatch.setattr("w2v2_jax.inference.load", lambda path, execution: network)
    monkeypatch.setattr("w2v2_jax.checkpoint.description.require_ctc", lambda *rest: None)
    monkeypatch.setattr("w2v2_jax.recognition.recognise.whole_logits", lambda *rest: logits)
    noise = np.random.default_rng(1).normal(size=int(len(logits) * SECONDS * 4000)) * 0.1
    soundfile.write(tmp_path / "a.wav", noise, 4000)
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    segment.main(["--audio", str(tmp_path / "a.wav"), "--text", str(tmp_path / "a.txt"),
                  "--out", str(tmp_path / "cut"), "--checkpoint", "c", "--romanise"])  # fmt: skip
    rows = [json.loads(row) for row in (tmp_path / "cut/segments.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == [*texts]
    assert [w["word"] for row in rows for w in row["words"]] == " ".join(texts).split()
    found = np.array([(row["start"], row["end"]) for row in rows])
    assert np.abs(found - np.array(times)).max() <= 0.1
    prepare(f"nemo:{tmp_path}/cut/segments.jsonl", tmp_path / "out", **OPTIONS | {"holdout": {}})
    assert sorted(open_corpus(tmp_path / "out/train").texts()) == sorted(texts)
