"""Sizes of the released families, the golden parameter tree, and what a bad setting says."""

import functools
import json
import math
import sys

import jax
import pytest

from tests.helpers import places
from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.families import FAMILIES, model_config
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.partition import axis_names

SCANNED = Execution(scan_layers=True)  # the same tree, traced faster
GOLDEN = places.GOLDEN / "parameter_tree.json"


@functools.cache
def base_objectives():
    model = model_config("base")
    return {
        "contrastive": Contrastive(model, diversity_group_seconds=0.1, execution=SCANNED),
        "ctc": CTC(model, 32, execution=SCANNED),
    }


@functools.cache
def shapes(objective):
    tree = jax.eval_shape(lambda: partition.unbox(objective.init(jax.random.key(0))))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(key.key for key in path): list(leaf.shape) for path, leaf in leaves}


def described(objective):
    """Parameter path -> [shape, logical axes]."""
    axes = axis_names(objective)
    return {path: [shape, list(axes[path])] for path, shape in shapes(objective).items()}


def parameters(objective):
    return sum(math.prod(shape) for shape in shapes(objective).values())


@pytest.mark.parametrize("name", ["contrastive", "ctc"])
def test_base_has_the_stored_names_shapes_and_logical_axes(name):
    """A change here breaks checkpoints and exporters; `python tests/models/test_config.py` stores
    a wanted one."""
    assert described(base_objectives()[name]) == json.loads(GOLDEN.read_text())[name]


def test_base_pretraining_has_95_044_608_parameters():
    assert parameters(base_objectives()["contrastive"]) == 95_044_608


def test_large_pretraining_has_317_million_parameters():
    objective = Contrastive(model_config("large"), diversity_group_seconds=0.1, execution=SCANNED)
    assert round(parameters(objective) / 1e6) == 317


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_a_parameter_tree(family):
    assert parameters(CTC(model_config(family, num_layers=1), 32)) > 100_000


def test_every_transformer_matrix_has_a_named_axis_besides_the_layers():
    for path, (shape, axes) in described(base_objectives()["ctc"]).items():
        assert len(shape) == len(axes)
        if "transformer" in path and path.endswith("kernel"):
            assert any(name not in (None, "layers") for name in axes), path


def test_one_frame_is_320_samples_in_every_family():
    assert {model_config(family).stride for family in FAMILIES} == {320}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norm_order": "sandwich"}, r"model\.norm_order='sandwich' .*'post', 'pre'"),
        ({"num_heads": 7}, r"model\.num_heads=7 does not divide model\.d_model=768"),
        ({"position_groups": 5}, r"model\.position_groups=5 does not divide"),
        ({"dropout": 1.5}, r"model\.dropout=1\.5 must be a number in \[0, 1\)"),
        (
            {"always_project_features": "yes"},
            r"model\.always_project_features='yes' must be True or",
        ),
        (
            {"always_project_features": True, "quantize_input": True},
            r"model\.always_project_features=True needs model\.quantize_input=False",
        ),
        ({"layer_drop": -0.1}, r"model\.layer_drop=-0\.1 must be a number in"),
    ],
)
def test_a_bad_setting_is_an_input_error_that_names_it(values, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**values)


def test_unknown_families_and_settings_list_what_is_known():
    with pytest.raises(InputError, match=r"model\.family='huge' .*'base'"):
        model_config("huge")
    with pytest.raises(
        InputError, match=r"model\.heads is not a setting; did you mean num_heads\? Known: "
    ):
        model_config("base", heads=8)


def test_a_configuration_read_from_json_is_hashable_and_equal():
    layers = json.loads(json.dumps(ModelConfig().conv_layers))
    assert hash(ModelConfig(conv_layers=layers)) == hash(ModelConfig())


if __name__ == "__main__":
    tree = {name: described(objective) for name, objective in base_objectives().items()}
    parts = []
    for name, leaves in tree.items():
        lines = [f'  "{path}": {json.dumps(value)}' for path, value in sorted(leaves.items())]
        parts.append(f'"{name}": {{\n' + ",\n".join(lines) + "\n}")
    GOLDEN.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"wrote {GOLDEN}", file=sys.stderr)
