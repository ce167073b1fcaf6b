"""The symbols that stand for those of a run in `aot` and `bench`, and that this is said."""

import pytest

from tests.helpers.recipes import smoke
from w2v2_jax.experiment.head_symbols import head_symbols
from w2v2_jax.experiment.settings import read_settings


def note_of(spec, *, init_from="", vocabulary=None):
    raw = smoke(spec)
    raw["init_from"] = init_from
    raw.pop("vocabulary", None)
    if vocabulary:
        raw["vocabulary"] = {"name": vocabulary}
    return head_symbols(read_settings(raw)).note


@pytest.mark.parametrize(
    ("init_from", "vocabulary", "said"),
    [
        ("", None, ""),
        ("", "librispeech", ""),
        ("runs/a", "librispeech", ""),
        (
            "runs/a",
            None,
            "note: config.init_from=runs/a gives the head its symbols, if it has",
        ),
        ("runs/a", "extend", "note: config.vocabulary.name=extend depends on the transcripts; the"),
    ],
)
def test_symbols_that_stand_for_others_are_told(init_from, vocabulary, said):
    note = note_of("finetune.py:base_10h", init_from=init_from, vocabulary=vocabulary)
    assert note.startswith(said) and bool(note) == bool(said)
    assert not said or "the usual 32 " in note


def test_classes_that_stand_for_those_of_the_transcripts_are_told():
    assert "the different transcripts; 10 stand for them" in note_of("classify.py:tuned")


def test_pretraining_has_no_head():
    assert note_of("pretrain_base.py", init_from="runs/a") == ""
