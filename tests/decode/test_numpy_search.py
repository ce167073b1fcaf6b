"""The search in numpy against flashlight's stored hypotheses, live ones, and what it refuses."""

import gzip
import json
import sys

import numpy as np
import pytest

from tests.helpers.decode_cases import (
    SEARCHES,
    VOCABULARY,
    logits_of,
    make_search,
    search_logits,
    sentences,
    words,
    write_models,
)
from tests.helpers.places import GOLDEN
from w2v2_jax.decode import engines, options
from w2v2_jax.decode.beam import BeamOptions, LexiconFreeDecoder
from w2v2_jax.decode.make import make, settings
from w2v2_jax.decode.word_tree import word_tree
from w2v2_jax.errors import InputError
from w2v2_jax.ngram import arpa, backoff


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    write_models(place)
    return place


@pytest.fixture(scope="module")
def stored():
    """Logits of each utterance, and what flashlight found in them by the search's name."""
    with np.load(GOLDEN / "flashlight.npz") as file:
        ends = np.cumsum(file["lengths"])[:-1]
        return np.split(file["logits"], ends), json.loads(str(file["results"]))


@pytest.fixture
def without_flashlight(monkeypatch):
    for name in ("flashlight", "flashlight.lib.text", "kenlm"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("name", SEARCHES)
def test_hypotheses_are_flashlights_stored_ones(name, folder, stored, without_flashlight):
    logits, results = stored
    decoder = make_search(name, folder, engine="numpy")
    for row, expected in zip(logits, results[name], strict=True):
        hypotheses = decoder(row)
        assert [h.text for h in hypotheses] == [text for text, _ in expected]
        scores = [score for _, score in expected]
        np.testing.assert_allclose([h.score for h in hypotheses], scores, rtol=1e-12)


@pytest.mark.decode
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", SEARCHES)
def test_hypotheses_paths_and_scores_are_flashlights(name, seed, folder):
    ours, theirs = (
        make_search(name, folder, engine=engine, nbest=5) for engine in ("numpy", "flashlight")
    )
    for row in search_logits(12, seed=seed):
        for ran, expected in zip(ours(row), theirs(row), strict=True):
            assert (ran.text, ran.score) == (expected.text, expected.score)
            assert ran.tokens.tolist() == expected.tokens.tolist()
            assert (ran.words, ran.lm_score) == (expected.words, expected.lm_score)
            assert ran.acoustic_score == pytest.approx(expected.acoustic_score, rel=1e-12)


@pytest.mark.decode
@pytest.mark.parametrize("kind", ["words", "letters"])
def test_a_models_scores_are_kenlms_bit_for_bit(kind, folder):
    import kenlm

    theirs = kenlm.Model(str(folder / f"{kind}.arpa"))
    ours = backoff.read(folder / f"{kind}.arpa")
    rng = np.random.default_rng(0)
    names = [*ours.words, "unheard"]
    for line in sentences(200, words(60), seed=5):
        line = line if kind == "words" else [*" ".join(line).replace(" ", "|")]
        state, at = kenlm.State(), np.array([ours.start])
        theirs.BeginSentenceWrite(state)
        for word in line:
            word = names[rng.integers(len(names))] if rng.random() < 0.2 else word
            after = kenlm.State()
            expected = theirs.BaseScore(state, word, after)
            score, at = ours.score(at, np.array([ours.number(word)]))
            assert score[0] == np.float32(expected)
            state = after


def test_a_backoff_weight_stands_for_an_ngram_that_the_model_lacks(tmp_path):
    (tmp_path / "lm.arpa").write_text(SMALL)
    model = backoff.read(tmp_path / "lm.arpa")
    text = ["a", "b", "b", "c", "</s>"]
    states, scores = np.array([model.start]), []
    for word in text:
        score, states = model.score(states, np.array([model.number(word)]))
        scores.append(float(score[0]))
    # P(a|<s>), P(b|<s> a), then bo(a b) + P(b|b)..., c is unknown: bo(b) + P(<unk>), then P(</s>)
    assert scores == pytest.approx([-0.25, -0.125, -0.5 - 0.375, -0.25 - 2.0, -0.75])


SMALL = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-2\t<unk>
-99\t<s>\t-0.5
-0.75\t</s>
-0.5\ta\t-0.125
-0.5\tb\t-0.25

\\2-grams:
-0.25\t<s> a\t-1
-1\ta b\t-0.5
-0.375\tb b

\\3-grams:
-0.125\t<s> a b

\\end\\
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\end\\", "", "no .end. at its end"),
        ("-0.375\tb b\n", "", r"2-gram 3 of 3 is ''"),
        ("-0.375\tb b", "-0.375\tb q", "no 1-gram of 'q'"),
        ("-0.375\tb b", "-0.375\ta b", "has a 2-gram twice"),
        ("-0.5\tb\t", "-0.5\ta\t", "has the word 'a' twice"),
        ("-0.125\t<s> a b", "-0.125\tb a b", "lacks the first 2 words of a 3-gram"),
        ("-1\ta b", "0.5\ta b", "log probability of 'a b' is 0.5"),
        ("-1\ta b", "nan\ta b", "log probability of 'a b' is nan"),
        ("-1\ta b\t-0.5", "-1\ta b\tinf", "its backoff inf"),
        ("-1\ta b", "x\ta b", r"2-gram 2 of 3 is 'x\\ta b\\t-0\.5'; write probability<TAB>words"),
        ("-99\t<s>", "-99\tz", "no 1-gram of '<s>'"),
        ("\\3-grams:", "\\4-grams:", "3-grams expected"),
        ("ngram 3=1", "ngram 3=99999", "has room for"),
    ],
)
def test_arpa_files_that_are_damaged_are_one_clear_line(old, new, message, tmp_path):
    assert old in SMALL
    (tmp_path / "lm.arpa").write_text(SMALL.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as raised:
        backoff.read(tmp_path / "lm.arpa")
    assert "lm.arpa" in str(raised.value) and "\n" not in str(raised.value)


STRICT = [  # what KenLM refuses and a lenient reader takes, perhaps for something else
    ("\\end\\", "\\end\\\nmore"), ("\\end\\", "\\end\\ "), ("ngram 2=3", "ngram two=3"),
    ("ngram 2=3", "ngram 2 = 3"), ("ngram 2=3", "ngram 2=0_3"), ("ngram 2=3", "\nngram 2=3"),
    ("ngram 2=3", "ngram 3=3"), ("\\data\\", " \\data\\"), ("\\2-grams:", "\\2-grams: "),
    ("-0.125\t<s> a b", "-0.125\t<s> a b\t-0.1"), ("-0.75\t</s>", "-0.75 </s>"),
    ("a b\t-0.5", "a b -0.5"),
    ("a b\t-0.5", "a b\t-0.5 "), ("-1\ta b", "-0_1\ta b"), ("-1\ta b", "-\uff11\ta b"),
    ("-1\ta b", "-1\ta\u00a0b"), ("-2\t<unk>", "-2\t<unk>\t-0.1\t-0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), STRICT)
def test_what_kenlm_refuses_is_refused(old, new, tmp_path):
    assert old in SMALL
    (tmp_path / "lm.arpa").write_text(SMALL.replace(old, new, 1))
    with pytest.raises(InputError, match=r"lm\.arpa: "):
        backoff.read(tmp_path / "lm.arpa")
    kenlm = pytest.importorskip("kenlm")
    with pytest.raises(OSError):
        kenlm.Model(str(tmp_path / "lm.arpa"))


@pytest.mark.parametrize("space", ["\u00a0", "\u2028", "\u3000", "\x1c"])
def test_only_spaces_and_tabs_end_a_word(space, tmp_path):
    word = f"b{space}c"
    text = SMALL.replace("\tb\t", f"\t{word}\t").replace(" b", f" {word}")
    (tmp_path / "lm.arpa").write_text(text.replace("\tb ", f"\t{word} "))
    assert word in backoff.read(tmp_path / "lm.arpa").words
    assert word in arpa.vocabulary(tmp_path / "lm.arpa")


def test_two_spellings_of_unknown_words_are_refused_and_none_is_told(tmp_path, capsys):
    both = SMALL.replace("ngram 1=5", "ngram 1=6").replace("-2\t<unk>", "-2\t<unk>\n-3\t<UNK>")
    (tmp_path / "lm.arpa").write_text(both)
    with pytest.raises(InputError, match="both <unk> and <UNK>; keep one"):
        backoff.read(tmp_path / "lm.arpa")
    (tmp_path / "lm.arpa").write_text(
        SMALL.replace("-2\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4")
    )
    backoff.read(tmp_path / "lm.arpa")
    assert "no <unk>; unknown words have the log10 probability -100" in capsys.readouterr().err


def test_a_packed_model_is_the_same_and_unknown_words_have_a_probability(tmp_path):
    text = SMALL.replace("-2\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4")
    (tmp_path / "lm.arpa.gz").write_bytes(gzip.compress(text.encode()))
    model = backoff.read(tmp_path / "lm.arpa.gz")
    score, _ = model.score(np.array([backoff.NOTHING]), np.array([model.number("c")]))
    assert score[0] == backoff.MISSING_UNKNOWN and model.number("b") == 3


def test_a_node_knows_the_best_word_below_it():
    tree = word_tree([[1, 2], [1, 3, 2], [3]], [0, 1, 2], [-1.0, -0.5, -2.0])
    child = tree.first[0] + np.arange(tree.children[0])
    assert tree.symbol[child].tolist() == [1, 3]
    assert tree.best[child].tolist() == [-0.5, -2.0] and tree.best[0] == -0.5
    assert tree.words[child].tolist() == [[-1], [2]]


def test_without_flashlight_numpy_decodes_and_says_so(folder, without_flashlight, capsys):
    given = {"lm": str(folder / "words.arpa"), "hot_words": (("HAHAHA", 12.0),)}
    logits = logits_of("HAHAHA", np.random.default_rng(0))
    assert make(settings(given), VOCABULARY)(logits)[0].text == "HAHAHA"
    assert capsys.readouterr().err.startswith("beam search by numpy, as flashlight-text")
    assert make(settings({**given, "engine": "numpy"}), VOCABULARY).engine == "numpy"
    assert capsys.readouterr().err == ""


def test_without_flashlight_what_needs_it_is_one_line_that_names_the_packages(
    folder, without_flashlight
):
    arpa = str(folder / "words.arpa")
    binary = folder / "lm.bin"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0")
    for given in ({"lm": arpa, "engine": "flashlight"}, {"lm": str(binary)}):
        with pytest.raises(InputError, match=r"pip install flashlight-text ufal\.kenlm"):
            make(settings(given), VOCABULARY)


def test_an_engine_means_a_beam_search_and_greedy_takes_none():
    assert settings({"engine": "numpy"}).kind == "beam"
    with pytest.raises(InputError, match="--decoder greedy takes no --engine"):
        settings({"engine": "numpy", "kind": "greedy"})
    with pytest.raises(InputError, match="'cuda' is unknown; use auto, flashlight, numpy"):
        engines.resolve("cuda")


def test_the_option_reaches_the_decoder():
    import argparse

    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    arguments = parser.parse_args(["--decoder", "beam", "--engine", "numpy"])
    assert options.make_decoder(arguments, VOCABULARY).engine == "numpy"


def test_a_search_in_which_no_text_has_a_score_is_refused():
    beam = BeamOptions()
    object.__setattr__(beam, "silence_score", -1e308)  # which no option can be
    decoder = LexiconFreeDecoder(("<s>", "|", "A"), None, beam, engine="numpy")
    logits = np.full((40, 3), -np.inf, np.float32)
    logits[:, 1] = 0.0
    with np.errstate(over="ignore"), pytest.raises(InputError, match="no text has a finite score"):
        decoder(logits)
