"""What a run validates on where somebody names the training corpus alone."""

import pytest

from w2v2_jax.data.joined import each_split, validation_beside
from w2v2_jax.train.command import choose_validation


@pytest.fixture
def corpora(tmp_path):
    """(folder, split, ...) -> the folder, which looks prepared."""

    def make(name, *splits):
        for split in splits:
            (tmp_path / name / split).mkdir(parents=True)
            (tmp_path / name / split / "corpus.json").write_text("{}")
        return str(tmp_path / name)

    return make


@pytest.mark.parametrize(
    ("splits", "train", "valid"),
    [
        (["train", "dev", "test"], ":train", ":dev"),
        (["train", "valid", "dev"], ":train", ":dev"),
        (["train", "validation"], ":train", ":validation"),
        (["train_clean100", "dev_clean", "dev_other", "test"], ":train_clean100", ":dev_clean"),
        (["train", "unlabeled", "dev"], ":train+unlabeled", ":dev"),
        (["train", "dev"], "/train", ":dev"),
        (["train", "dev"], ":train+dev", None),
        (["train", "test", "device"], ":train", None),
        (["train"], "", None),
    ],
)
def test_validation_is_a_split_beside_the_training_corpus(corpora, splits, train, valid):
    folder = corpora("a:b", *splits)
    expected = None if valid is None else folder + valid
    assert validation_beside(folder + train) == expected


def test_a_recipes_own_validation_stays_where_its_corpus_has_it(corpora):
    folder = corpora("librispeech", "train_10h", "dev_clean", "dev_other")
    usual = f"{folder}:dev_other"
    assert validation_beside(f"{folder}:train_10h", usual) == usual
    assert validation_beside(f"{corpora('mine', 'train', 'dev')}:train", usual).endswith("mine:dev")
    assert validation_beside(f"{folder}:train_10h", f"{folder}:dev") == f"{folder}:dev_clean"


def test_a_person_s_choice_of_validation_is_not_touched(corpora):
    folder = corpora("mine", "train", "dev")
    train = f"--config.data.train={folder}:train"
    for options in ([], [train, "--config.data.valid=x:y"], ["--config.data.valid="]):
        raw = {"data": {"train": f"{folder}:train", "valid": "data/librispeech:dev_other"}}
        assert choose_validation(raw, options) == ""
        assert raw["data"]["valid"] == "data/librispeech:dev_other"
    assert choose_validation(raw, [train]).startswith(f"validation: {folder}:dev")
    assert raw["data"]["valid"] == f"{folder}:dev"


def test_no_validation_is_said_in_a_line_that_says_how_to_get_one(corpora):
    folder = corpora("mine", "train", "test")
    raw = {"data": {"train": f"{folder}:train", "valid": "data/librispeech:dev_other"}}
    note = choose_validation(raw, [f"--config.data.train={folder}:train"])
    assert raw["data"]["valid"] == "" and "no validation" in note and "--holdout dev=0.05" in note


def test_several_training_corpora_have_the_validation_beside_each_of_them(corpora):
    a, b, c = (corpora(name, "train", *more) for name, more in
               (("a", ["dev"]), ("b", ["valid"]), ("c", [])))  # fmt: skip
    for train in (f"{a}:train,{b}:train,{c}:train", (f"{a}:train", {"path": f"{b}:train"}, c)):
        raw = {"data": {"train": train, "valid": "data/librispeech:dev_other"}}
        note = choose_validation(raw, [f"--config.data.train={train}"])
        assert raw["data"]["valid"] == (f"{a}:dev", f"{b}:valid")
        assert note.startswith(f"validation: {a}:dev, {b}:valid (")
        assert f" beside {c}" in note and f"beside {a}" not in note


def test_splits_are_told_apart_from_folders_whose_names_look_like_them(corpora):
    folder = corpora("a:b+c", "train", "dev", "x+y")
    assert each_split(folder) == [folder]
    assert each_split(f"{folder}:train+dev") == [f"{folder}:train", f"{folder}:dev"]
    assert each_split(f"{folder}:x+y") == [f"{folder}:x+y"]
    assert each_split(f"{folder}/train") == [f"{folder}/train"]
    assert each_split(f"{folder}:none") == [f"{folder}:none"]
