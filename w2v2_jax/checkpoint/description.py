"""What a checkpoint is: the JSON from which its network is rebuilt, and what loading one gives."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.paths import AnyPath
from w2v2_jax.vocabulary import Vocabulary

FORMAT = 1
OBJECTIVES = ("contrastive", "ctc")


class Description(NamedTuple):
    """What a checkpoint is: objective "contrastive" or "ctc", network, vocabulary, input scale."""

    objective: str
    model: ModelConfig
    vocabulary: Vocabulary | None
    normalise: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "objective": self.objective,
            "model": dataclasses.asdict(self.model),
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_json(),
            "normalise": self.normalise,
        }


def describe(value: dict[str, Any], where: str) -> Description:
    """The inverse of `Description.to_json`; raises InputError naming the checkpoint."""
    said = value.get("format") if isinstance(value, dict) else None
    if said != FORMAT:
        raise InputError(
            f"{where}: checkpoint format {said!r}, this version reads {FORMAT}; use the version of "
            "w2v2_jax that wrote it (`export --to safetensors` there makes a file that `convert` "
            "reads)"
        )
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    try:
        vocabulary = value["vocabulary"]
        found = Description(
            value["objective"],
            ModelConfig(**{k: v for k, v in value["model"].items() if k in known}),
            None if vocabulary is None else Vocabulary.from_json(vocabulary),
            bool(value["normalise"]),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{where}: its description is unusable: {error}") from error
    if found.objective not in OBJECTIVES or (found.objective == "ctc") != bool(found.vocabulary):
        raise InputError(f"{where}: its description is unusable: objective={found.objective!r}")
    return found


class Loaded(NamedTuple):
    """A checkpoint for inference: its step's directory, description and parameters (numpy)."""

    path: AnyPath
    description: Description
    params: Any
