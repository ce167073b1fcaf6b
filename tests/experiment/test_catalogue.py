"""The recipes of the package: found by name, read without being run, and listed."""

import pytest

from tests.helpers.places import EXPERIMENTS
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import catalogue
from w2v2_jax.experiment.recipe import load_config

ALL = sorted(path.stem for path in EXPERIMENTS.glob("*.py"))


def test_the_recipes_are_those_of_the_folder():
    assert catalogue.names() == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_says_in_a_sentence_what_it_is_and_what_it_takes(name):
    recipe = catalogue.read(name)
    assert recipe.summary.endswith(".") and recipe.argument.endswith(".")


def test_a_recipe_is_loaded_by_its_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_path = load_config(f"{EXPERIMENTS}/pretrain_large.py:lv60k")
    assert load_config("pretrain_large:lv60k") == by_path


def test_a_folder_of_that_name_does_not_hide_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrain_base").mkdir()
    assert load_config("pretrain_base:smoke")["train"]["steps"] == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pretrain_bas:smoke", "did you mean pretrain_base:smoke?"),
        ("zebra", "it has adapt, classify, continue_pretraining"),
        (
            "elsewhere/finetune.py:base_10h",
            "the package has this recipe: --config finetune:base_10h",
        ),
        ("experiments/finetun.py:base_10h", "did you mean finetune:base_10h?"),
    ],
)
def test_what_was_meant_is_said_of_a_recipe_that_is_not_there(spec, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        load_config(spec)
    assert message in str(refused.value) and "is not a file" in str(refused.value)


def test_the_list_has_every_recipe_with_its_variants(capsys):
    catalogue.main([])
    listed = capsys.readouterr().out
    assert [name for name in ALL if f"\n{name}\n" not in f"\n{listed}"] == []
    assert "base_10h" in listed and max(map(len, listed.splitlines())) <= 100


def test_help_of_train_lists_the_recipes_and_explains_overrides(capsys):
    from w2v2_jax.train import command as train

    with pytest.raises(SystemExit):
        train.main(["--help"])
    told = capsys.readouterr().out
    assert "--config.train.steps=500" in told
    assert [name for name in ALL if f"\n  {name} " not in told] == []


@pytest.mark.parametrize("name", catalogue.names())
def test_an_account_keeps_the_lines_that_its_file_has(name):
    """A backslash at a line's end takes the line break with it, where it is not written twice."""
    account = catalogue.read(name).account
    assert max(map(len, account.splitlines())) <= 100 and " \\ " not in account


def test_a_description_is_found_by_what_config_takes_too(capsys):
    catalogue.main(["adapt:language"])
    assert capsys.readouterr().out.rstrip().endswith("adapt.py")
    with pytest.raises(InputError, match=r"no recipe 'adopt' .*did you mean adapt\?"):
        catalogue.main(["adopt:language"])
