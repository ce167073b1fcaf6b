"""Names of a classifier's rows in Hugging Face's config.json: id2label and label2id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.objectives.classes import Classes

BIASES = ("objective.weight", "classifier.bias")  # their last axis is the classes


def read(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], notes: list[str], *, where: str
) -> Classes:
    """The classes by id2label; LABEL_0, ... if it names none, as in transformers.

    Raises InputError if it names other rows than the head has.
    """
    size = next((tensors[name].shape[-1] for name in BIASES if name in tensors), None)
    if size is None:
        raise InputError(f"{where} has no tensor {BIASES[-1]}")
    said = config.get("id2label") or {}
    if not said:
        if size > 2:  # two is transformers' default
            notes.append(f"no id2label names the {size} classes; they are LABEL_0 and so on")
        return Classes(tuple(f"LABEL_{row}" for row in range(size)))
    rows = {int(row): str(name) for row, name in said.items()}
    if set(rows) != set(range(size)):
        raise InputError(
            f"{where}/config.json: id2label names {len(rows)} classes, the head has {size} rows"
        )
    return Classes(tuple(rows[row] for row in range(size)))


def settings(classes: Classes) -> dict[str, Any]:
    """id2label, label2id and the number of classes."""
    names = list(classes.symbols)
    return {
        "id2label": {str(row): name for row, name in enumerate(names)},
        "label2id": {name: row for row, name in enumerate(names)},
        "num_labels": len(names),
    }


def refuse(description: Description, where: str, framework: str) -> None:
    """InputError for a head that only Hugging Face has."""
    if description.objective_class.class_labels:
        raise InputError(
            f"{where} is a {description.objective} checkpoint: {framework} has no such head; "
            "export --to hf or safetensors"
        )
