"""Every setting of a configuration has a sentence where its constructor is."""

import inspect
import re

import pytest

from w2v2_jax import partition
from w2v2_jax.data.config import DataConfig
from w2v2_jax.experiment.settings import TrainConfig, VocabularyConfig
from w2v2_jax.experiment.typed import types_of
from w2v2_jax.health.config import HealthConfig
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.optimizer import SCHEDULES, adam

PASSED = {  # other sections, and what no file says
    "model",
    "execution",
    "schedule",
    "devices",
    "num_layers",
    "norm_order",
}
CONSTRUCTORS = (
    ModelConfig, Execution, DataConfig, TrainConfig, VocabularyConfig, HealthConfig, adam,
    partition.make_mesh, *OBJECTIVES.values(), *SCHEDULES.values(),
)  # fmt: skip


def explained(docstring: str) -> set[str]:
    """The names before a colon at the beginning of a line or sentence: "b1, b2: decay of ..."."""
    heads = re.findall(r"(?:^|\. )\s*([a-z_0-9]+(?:, [a-z_0-9]+)*)( 0)?: ?", docstring, re.M)
    return {name for head, _ in heads for name in head.split(", ")}


@pytest.mark.parametrize("constructor", CONSTRUCTORS, ids=lambda one: one.__name__)
def test_every_setting_is_explained(constructor):
    computed = set(constructor.computed_fields(2)) if constructor in OBJECTIVES.values() else set()
    settings = set(types_of(constructor)) - PASSED - computed
    missing = settings - explained(inspect.getdoc(constructor) or "")
    assert missing == set()
