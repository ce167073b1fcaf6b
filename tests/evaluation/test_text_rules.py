"""References and hypotheses by the text rules of a checkpoint; corpora of different rules."""

import dataclasses
import json

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.symbol_cases import PHONES, phoneme_vocabulary
from w2v2_jax import evaluate
from w2v2_jax.data.joined import open_splits
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import Model
from w2v2_jax.texts.choice import unicode
from w2v2_jax.vocabulary import SPECIALS, Vocabulary


@pytest.fixture
def scored(tuned, tmp_path, monkeypatch):
    """(vocabulary, texts, hypotheses) -> the JSON of an evaluation that runs no network."""

    def run(vocabulary, texts, hypotheses, *options, rules=None):
        description = tuned.description._replace(vocabulary=vocabulary)
        model = Model(path=tuned.path, description=description, params={})
        monkeypatch.setattr("w2v2_jax.inference.load", lambda path, execution: model)
        monkeypatch.setattr("w2v2_jax.recognition.corpus.transcripts", lambda *_, **__: hypotheses)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_split(folder, "test", texts=texts, rules=rules)
        out = folder / "out.json"
        arguments = ["--checkpoint", "x", "--data", f"{folder}:test", "--json", str(out)]
        assert run_command(evaluate.main, [*arguments, *options]) == 0
        return json.loads(out.read_text())

    return run


LETTERS = Vocabulary((*SPECIALS, *"abcdefghijklmnopqrstuvwxyz'"), "lower")


def test_references_and_hypotheses_are_brought_to_the_checkpoints_rules(scored, capsys):
    ruled = dataclasses.replace(LETTERS, rules=unicode())
    texts, said = ("Don\u2019t \u201cSTOP\u201d!", "a \u2014 b"), ["don't stop", "' a b"]
    assert scored(LETTERS, texts, said)["wer"] > 0.5
    assert capsys.readouterr().err == ""
    assert scored(ruled, texts, said)["wer"] == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.endswith(
        " was prepared without text rules; 2 of its references are changed by the text rules of "
        "the checkpoint, unicode\n"
    )


def test_references_that_the_checkpoints_rules_leave_as_they_are_need_no_word(scored, capsys):
    ruled = dataclasses.replace(LETTERS, rules=unicode())
    for rules in (None, unicode()):
        assert scored(ruled, ("A b", "c"), ["a b", "c"], rules=rules)["wer"] == 0
    assert capsys.readouterr().err == ""


def test_a_corpus_of_other_rules_is_said_to_be_so(scored, capsys):
    ruled = dataclasses.replace(LETTERS, rules=unicode())
    assert scored(ruled, ("a b",), ["a b"], rules=unicode("tr"))["wer"] == 0
    line = "was prepared with --text unicode:tr; its references are changed by the text rules"
    assert line in capsys.readouterr().err


def test_a_model_of_phonemes_has_a_phone_error_rate(scored, capsys):
    vocabulary = phoneme_vocabulary()
    said = [PHONES[0].replace("iy", "ih"), PHONES[1]]
    plain = scored(vocabulary, PHONES, said)
    assert plain["per"] == plain["wer"] == 1 / 27 and plain["unit"] == "phone"
    assert capsys.readouterr().out.startswith("PER 3.70 %")
    folded = scored(vocabulary, PHONES, said, "--phones", "timit")
    assert folded["per"] == 1 / 26  # q is left out


def test_splits_of_different_rules_are_no_one_corpus(tmp_path):
    write_split(tmp_path, "a", rules=unicode())
    write_split(tmp_path, "b", rules=unicode("tr"))
    write_split(tmp_path, "c", rules=None)
    assert open_splits(f"{tmp_path}:a+c").text_rules == unicode().to_json()
    with pytest.raises(InputError, match=r"a was prepared with --text unicode, .*b with --text un"):
        _ = open_splits(f"{tmp_path}:a+b").text_rules
