"""What a checkpoint is: the JSON from which its network is rebuilt, and what loading one gives."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax import trees
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import EPSILON
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.paths import AnyPath
from w2v2_jax.vocabulary import Vocabulary

FORMAT = 2
READABLE = (1, 2)
EXECUTION_OF_FORMAT_1 = (
    "dtype",
    "remat",
    "scan_layers",
    "position_formulation",
    "conv_formulation",
    "attention_formulation",
)


class Description(NamedTuple):
    """What a checkpoint is: objective (a name in OBJECTIVES), network, vocabulary (the classes of a
    classifier), input scale.

    normalise: whether waveforms are normalised; normalise_epsilon is then added to their variance.
    attention_mask and padding_value: settings of a Hugging Face folder's feature extractor, for
    writing it again (None: as usual for its kind of network). Neither affects real frames.
    """

    objective: str
    model: ModelConfig
    vocabulary: Vocabulary | Classes | None
    normalise: bool
    normalise_epsilon: float = EPSILON
    attention_mask: bool | None = None
    padding_value: float = 0.0

    @property
    def ctc_vocabulary(self) -> Vocabulary:
        """The symbols of a tuned checkpoint; InputError if there are none."""
        if not isinstance(self.vocabulary, Vocabulary):
            raise InputError(
                f"a checkpoint of objective {self.objective} has no vocabulary; fine-tune it first"
            )
        return self.vocabulary

    @property
    def objective_class(self) -> type[Objective]:
        return OBJECTIVES[self.objective]

    def network(self, execution: Execution = PLAIN) -> Any:
        """The flax module that the parameters are of; see `Objective.network`."""
        classes = len(self.vocabulary or ())
        return self.objective_class.for_network(self.model, classes, execution).network

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "objective": self.objective,
            "model": dataclasses.asdict(self.model),
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_json(),
            "normalise": self.normalise,
            "normalise_epsilon": self.normalise_epsilon,
            "attention_mask": self.attention_mask,
            "padding_value": self.padding_value,
        }


def describe(value: dict[str, Any], where: str) -> Description:
    """The inverse of `Description.to_json`; raises InputError naming the checkpoint."""
    said = check_format(value, where)
    try:
        vocabulary = value["vocabulary"]
        description = Description(
            value["objective"],
            ModelConfig(**_architecture(value["model"], said)),
            None if vocabulary is None else _rows(vocabulary),
            _normalise(value),
            _epsilon(value),
            _attention_mask(value),
            _padding_value(value),
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{where}: its description is unusable: {error}") from error
    if not isinstance(description.objective, str) or description.objective not in OBJECTIVES:
        raise InputError(
            f"{where}: its description is unusable: objective={description.objective!r}; known: "
            f"{', '.join(OBJECTIVES)}"
        )
    if description.objective_class.needs_vocabulary != bool(description.vocabulary):
        raise InputError(
            f"{where}: its description is unusable: objective={description.objective!r} with "
            f"{len(description.vocabulary or ())} symbols"
        )
    if description.objective_class.class_labels != isinstance(description.vocabulary, Classes):
        raise InputError(
            f"{where}: its description is unusable: objective={description.objective!r} with "
            f"{type(description.vocabulary).__name__}"
        )
    return description


def _rows(content: dict[str, Any]) -> Vocabulary | Classes:
    """The meaning of the rows of a head."""
    kind = Classes if "classes" in content else Vocabulary
    return kind.from_json(content)


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
    """Only the network's settings; format 1 also has how the run computed it."""
    return {name: x for name, x in model.items() if said > 1 or name not in EXECUTION_OF_FORMAT_1}


def _normalise(value: dict[str, Any]) -> bool:
    if type(value["normalise"]) is not bool:
        raise ValueError(f"normalise={value['normalise']!r}")
    return value["normalise"]


def _padding_value(value: dict[str, Any]) -> float:
    padding = value.get("padding_value", 0.0)
    if type(padding) not in (int, float) or not math.isfinite(padding):
        raise ValueError(f"padding_value={padding!r}")
    return float(padding)


def _epsilon(value: dict[str, Any]) -> float:
    epsilon = value.get("normalise_epsilon", EPSILON)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise ValueError(f"normalise_epsilon={epsilon!r}")
    return epsilon


def _attention_mask(value: dict[str, Any]) -> bool | None:
    masks = value.get("attention_mask")
    if masks is not None and type(masks) is not bool:
        raise ValueError(f"attention_mask={masks!r}")
    return masks


def require_ctc(description: Description, where: str, *, otherwise: str = "") -> None:
    """InputError for a checkpoint without a CTC head; where names it, otherwise adds a remedy."""
    kind = description.objective_class
    if kind.class_labels:
        raise InputError(
            f"{where} is a {kind.name} checkpoint: it has no CTC head{otherwise}; "
            "`w2v2 classify` runs it"
        )
    if not kind.ctc_head:
        raise InputError(
            f"{where} is a pretraining checkpoint; fine-tune it first: it has no CTC head"
            f"{otherwise}"
        )


class Loaded(NamedTuple):
    """A checkpoint for inference: its step's directory, description and parameters (numpy)."""

    path: AnyPath
    description: Description
    params: Any


DAMAGED = "the weights are damaged, use another copy or an earlier step"


def require_finite(loaded: Loaded, *, remedy: str = DAMAGED) -> Loaded:
    """The checkpoint as it is; InputError if a weight is NaN or infinite, of which every output
    would become NaN: no text or only blanks, with nothing that says why.

    remedy: the end of the message, what to do without it."""
    for name, leaf in trees.flatten(loaded.params).items():
        bad = int(leaf.size - np.isfinite(leaf).sum())
        if bad:
            raise InputError(
                f"{loaded.path}: {bad} of the {leaf.size} values of {name} are NaN or infinite; "
                f"{remedy}"
            )
    return loaded
