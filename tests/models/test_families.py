"""Presets have the tensors of the released models, name by name, without allocating any."""

import json
import math
import re
from collections import Counter

import jax
import numpy as np
import pytest

from tests.helpers.places import GOLDEN
from w2v2_jax.interop import hugging_face_names, names
from w2v2_jax.models.families import FAMILIES, model_config

STORED = json.loads((GOLDEN / "families.json").read_text())
PRETRAINING = ("encoder", "quantizer", "target_projection", "context_projection")
EVERYDAY = ("base", "mms_1b_adapters")
# Millions of parameters as published: arXiv 2006.11477, 2111.09296 (XLS-R), 2305.13516 (MMS).
PUBLISHED = {
    "base": 95, "large": 317, "large_lv60k": 317, "xlsr_53": 317, "xls_r_300m": 317,
    "xls_r_1b": 965, "xls_r_2b": 2162, "mms_300m": 317, "mms_1b": 965,
}  # fmt: skip


def theirs(shapes) -> dict[str, list]:
    """Our shapes -> {their name with {i} for a number: [how many, shape]}."""
    kinds: Counter = Counter()
    for path, shape in shapes.items():
        stacked = path.startswith(names.STACKED)
        _, transform = names._row(path, hugging_face_names.HUGGING_FACE)
        leaf = jax.ShapeDtypeStruct(shape[1:] if stacked else shape, np.float32)
        parts = jax.eval_shape(transform.split, leaf)
        for layer in names.layer_names(path, shape, hugging_face_names.HUGGING_FACE):
            for name, part in zip(layer, parts, strict=True):
                kinds[re.sub(r"\.layers\.\d+\.", ".layers.{i}.", name), part.shape] += 1
    return {name: [count, list(shape)] for (name, shape), count in kinds.items()}


@pytest.mark.parametrize(
    "family", [x if x in EVERYDAY else pytest.param(x, marks=pytest.mark.slow) for x in STORED]
)
def test_a_preset_has_every_tensor_of_the_released_model(family):
    tuned = family == "mms_1b_adapters"
    parts, classes = (("encoder", "head"), 154) if tuned else (PRETRAINING, 0)
    shapes = names.expected(model_config(family), parts=parts, classes=classes)
    assert theirs(shapes) == STORED[family]["tensors"]
    assert sum(map(math.prod, shapes.values())) == STORED[family]["parameters"]


@pytest.mark.parametrize("family", PUBLISHED)
def test_stored_counts_are_the_published_ones(family):
    assert STORED[family]["parameters"] // 10**6 == PUBLISHED[family]


def test_every_preset_but_our_own_is_compared():
    assert set(FAMILIES) - {"small"} == set(STORED)
