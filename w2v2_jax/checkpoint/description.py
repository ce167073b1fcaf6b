"""What a checkpoint is: the JSON from which its network is rebuilt, and what loading one gives."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.paths import AnyPath
from w2v2_jax.vocabulary import Vocabulary

FORMAT = 2
READABLE = (1, 2)
OBJECTIVES = ("contrastive", "ctc")
EXECUTION_OF_FORMAT_1 = (
    "dtype", "remat", "scan_layers", "position_formulation", "conv_formulation",
    "attention_formulation",
)  # fmt: skip


class Description(NamedTuple):
    """What a checkpoint is: objective "contrastive" or "ctc", network, vocabulary, input scale."""

    objective: str
    model: ModelConfig
    vocabulary: Vocabulary | None
    normalise: bool

    def to_json(self) -> dict[str, Any]:
        vocabulary = None
        if self.vocabulary is not None:
            vocabulary = {"symbols": list(self.vocabulary.symbols), "case": self.vocabulary.case}
        return {
            "format": FORMAT,
            "objective": self.objective,
            "model": dataclasses.asdict(self.model),
            "vocabulary": vocabulary,
            "normalise": self.normalise,
        }


def describe(value: dict[str, Any], where: str) -> Description:
    """The inverse of `Description.to_json`; raises InputError naming the checkpoint."""
    said = check_format(value, where)
    try:
        vocabulary = value["vocabulary"]
        found = Description(
            value["objective"],
            ModelConfig(**_architecture(value["model"], said)),
            None if vocabulary is None
            else Vocabulary(tuple(vocabulary["symbols"]), vocabulary["case"]),
            bool(value["normalise"]),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{where}: its description is unusable: {error}") from error
    if found.objective not in OBJECTIVES or (found.objective == "ctc") != bool(found.vocabulary):
        raise InputError(f"{where}: its description is unusable: objective={found.objective!r}")
    return found


def check_format(value: Any, where: str) -> int:
    """The format of a stored description; InputError for one that this version cannot read."""
    said = value.get("format") if isinstance(value, dict) else None
    if type(said) is not int or said not in READABLE:
        raise InputError(
            f"{where}: checkpoint format {said!r}, this version reads 1 and 2; use the version of "
            "w2v2_jax that wrote it (`export --to safetensors` there makes a file that `convert` "
            "reads)"
        )
    return said


def _architecture(model: dict[str, Any], said: int) -> dict[str, Any]:
    """The network's settings alone: format 1 has among them how the run computed it."""
    return {name: x for name, x in model.items() if said > 1 or name not in EXECUTION_OF_FORMAT_1}


class Loaded(NamedTuple):
    """A checkpoint for inference: its step's directory, description and parameters (numpy)."""

    path: AnyPath
    description: Description
    params: Any
