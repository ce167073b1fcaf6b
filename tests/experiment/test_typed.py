"""A setting holds a value of its annotated type, from the command line and from a recipe."""

import re
from typing import Any

import numpy as np
import pytest

from tests.helpers.recipes import smoke
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import field_types, read_settings
from w2v2_jax.experiment.typed import describe

RECIPE = "finetune.py:base_10h"


def read(option, file=RECIPE):
    """The value of `--config.<option>` in the resolved configuration."""
    config = smoke(file)
    config.setdefault("health", {})
    override(config, [f"--config.{option}"])
    value = read_settings(config).raw
    for name in option.partition("=")[0].split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.normalise=false", False), ("data.normalise=True", True),
        ("data.verify=FALSE", False),
        ("execution.scan_layers=False", False),
        ("train.steps=7", 7), ("train.steps=1e3", 1000), ("train.steps=1_000", 1000),
        ("schedule.peak=1", 1), ("optimizer.eps=1e-8", 1e-8),
        ("data.train=2024", "2024"), ("data.train=007:dev", "007:dev"), ("data.train='a b'", "a b"),
        ("data.train=['a:b','c']", ("a:b", "c")), ("data.train=a:b,c:d", "a:b,c:d"),
        ("data.train=[{'path':'a','weight':2}]", ({"path": "a", "weight": 2},)),
        ("data.bucket_seconds=[1,2.5]", (1, 2.5)), ("data.bucket_seconds=(1,)", (1,)),
        ("model.conv_layers=[[32,10,5],[32,3,2]]", ((32, 10, 5), (32, 3, 2))),
        ("optimizer.rate_by_path=[['^head/',1.0],('.',0)]", (("^head/", 1.0), (".", 0))),
        ("vocabulary.case=null", None), ("vocabulary.case=None", None),
        ("vocabulary.case=lower", "lower"), ("init_from=None", None),
        ("mesh.rules={'embed': None}", {"embed": None}),
        ("health.stop=non-finite", ("non-finite",)), ("seed=4000000000", 4000000000),
    ],
)  # fmt: skip
def test_what_is_written_is_read_as_the_settings_type(option, value):
    read_value = read(option)
    assert read_value == value and type(read_value) is type(value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("train.steps=many", "config.train.steps=many must be a whole number"),
        ("train.steps=2.5", "config.train.steps=2.5 must be a whole number"),
        ("train.steps=True", "config.train.steps=True must be a whole number"),
        ("train.steps=99999999999", "train.steps=99999999999 must be a whole number, a"),
        ("data.normalise=yes", "config.data.normalise=yes must be True or False"),
        ("data.normalise=1", "config.data.normalise=1 must be True or False"),
        ("data.normalise=0", "config.data.normalise=0 must be True or False"),
        ("execution.scan_layers=2", "config.execution.scan_layers=2 must be True or False"),
        ("data.verify=None", "config.data.verify=None must be True or False"),
        ("schedule.peak=nan", "config.schedule.peak=nan must be a number"),
        ("schedule.peak=1e999", "config.schedule.peak=1e999 must be a number"),
        ("optimizer.b1=inf", "config.optimizer.b1=inf must be a number"),
        ("model.dropout='0.1'", "config.model.dropout='0.1' must be a number"),
        ("data.bucket_seconds=4", "config.data.bucket_seconds=4 must be a list, each a number"),
        ("data.bucket_seconds=(1,'a')", "must be a list, each a number"),
        ("model.conv_layers=[[32,10]]", "must be a list, each (a whole number, a whole number, a"),
        ("optimizer.rate_by_path=[['a','b']]", "must be a list, each (text, a number)"),
        ("objective.freeze_updates=None", "config.objective.freeze_updates=None must be a whole"),
        ("mesh.rules=[1]", "config.mesh.rules=[1] must be a table"),
        ("train=5", "config.train is a section; set one of"),
        ("seed=many", "config.seed=many must be a whole number"),
        ("seed=-1", "config.seed=-1 must be 0 to 4294967295"),
        ("seed=99999999999999999999", "must be 0 to 4294967295"),
        ("seed=4294967297", "must be 0 to 4294967295"),  # the network and keys of seed 1
        ("optimizer={'b1': 'x'}", "config.optimizer.b1='x' must be a number"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_type_is_named_with_path_value_and_type(option, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read(option)


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("train", "steps", 2.5, "config.train.steps=2.5 must be a whole number"),
        ("train", "steps", "5", "config.train.steps='5' must be a whole number"),
        ("schedule", "peak", float("nan"), "config.schedule.peak=nan must be a number"),
        ("data", "train", 5, "config.data.train=5 must be text or a list, each"),
        ("model", "d_model", [1], r"config.model.d_model=[1] must be a whole number"),
        ("data", "bucket_seconds", ("1",), "config.data.bucket_seconds=('1',) must be a list"),
    ],
)
def test_a_recipes_own_values_are_held_to_the_same_types(section, name, value, message):
    config = smoke(RECIPE)
    config[section][name] = value
    with pytest.raises(InputError, match=re.escape(message)):
        read_settings(config)


def test_numbers_of_numpy_and_texts_of_booleans_become_pythons():
    config = smoke(RECIPE)
    config["train"] |= {"steps": np.int64(5), "best_metric": "wer"}
    config["data"] |= {"normalise": "false", "min_seconds": np.float32(0.5)}
    raw = read_settings(config).raw
    assert type(raw["train"]["steps"]) is int and raw["data"]["normalise"] is False
    assert raw["data"]["min_seconds"] == 0.5


@pytest.mark.parametrize("section", ["train", "data", "model"])
def test_a_section_that_is_no_table_is_named(section):
    with pytest.raises(InputError, match=f"config.{section}=5 must be a table of settings"):
        read_settings({**smoke(RECIPE), section: 5})


@pytest.mark.parametrize("file", [RECIPE, "pretrain_base.py"])
def test_every_setting_has_an_annotated_type_that_can_be_said(file):
    for section, types in field_types(smoke(file)).items():
        for name, kind in types.items() if isinstance(types, dict) else [("", types)]:
            if name not in {"model", "execution", "schedule", "devices"}:  # not written in a recipe
                assert kind is not Any, (section, name)
                assert "typing" not in describe(kind) and "<" not in describe(kind), (section, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(arg):\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config(arg:\n", "line 1: SyntaxError: "),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named"),
        ("def get_config(arg):\n    raise ValueError('use a or b')\n", "recipe.py:x: use a or b"),
        ("def get_config():\n    return {}\n", "TypeError: get_config() takes 0 positional"),
        ("def get_config(arg):\n    return 5\n", "get_config returned no table of sections: 5"),
        ("get_config = 5\n", "TypeError: 'int' object is not callable"),
        ("x = 1\n", "has no get_config(arg)"),
        ("\0", "line "),
    ],
)
def test_whatever_a_recipe_raises_is_one_error_that_names_it(tmp_path, text, message):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        load_config(f"{recipe}:x")
    assert str(raised.value).startswith(f"--config {recipe}")


def test_a_recipes_path_may_hold_colons_and_a_folder_is_told_from_a_file(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "x:y.py").write_text("def get_config(arg):\n    return {'arg': arg}\n")
    assert load_config(f"{folder}/x:y.py")["arg"] == ""
    assert load_config(f"{folder}/x:y.py:smoke:z")["arg"] == "smoke:z"
    with pytest.raises(InputError, match="is a folder; name a recipe in it"):
        load_config(str(folder))
    with pytest.raises(InputError, match="is not a file"):
        load_config(f"{folder}/none.py:smoke")


@pytest.mark.parametrize("valid", ["", "data/mine:dev", ("data/a:dev", "data/b:dev")])
def test_a_text_where_a_list_of_texts_may_stand_too_stays_one(valid):
    config = smoke("quickstart.py:pretrain")
    config["data"]["valid"] = valid
    assert read_settings(config).data.valid == valid
    override(config, [f"--config.data.valid={valid}"])
    assert read_settings(config).data.valid == valid
