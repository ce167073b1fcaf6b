"""Hugging Face's feature extractor settings <-> a description's input.

`preprocessor_config.json`, and `processor_config.json` of transformers 5, say how waveforms become
the network's input: whether they are normalised, whether there is an attention mask, and the value
of the padding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import present, switch
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.vocabulary import Vocabulary

PROCESSOR = "Wav2Vec2Processor"
# Settings with one supported value, which is also what an absent key means.
FIXED: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "sampling_rate": SAMPLE_RATE,
    "padding_side": "right",
}

SWITCHES = ("do_normalize", "return_attention_mask")


class InputSettings(NamedTuple):
    """normalise: do_normalize. attention_mask: return_attention_mask, None if it is the usual one
    for the network's kind of norm. padding_value: the value that fills shorter rows of a batch."""

    normalise: bool
    attention_mask: bool | None
    padding_value: float


def read(path: Path, model: ModelConfig, notes: list[str]) -> InputSettings:
    """The settings in a directory; InputError names one that this network cannot follow.

    Files of the group-norm families say do_normalize=true although they were trained on raw
    waveforms. The norm after the first convolution cancels the scale, so both give the same output
    except for nearly silent audio (docs/traps.md#t12). The file's setting is kept. What a file
    leaves out is what it is in transformers: normalised, without an attention mask. Only without
    any file are the settings those of the network's family, with a note.
    """
    said = _said(path)
    nothing_said = said is None
    said = {} if said is None else said
    for name, value in FIXED.items():
        if said.get(name, value) != value:
            raise InputError(f"{path}: {name}={said[name]!r}, this network takes {value}")
    usual = _masks(model)
    masks = switch(said, "return_attention_mask", usual and nothing_said, where=str(path))
    layer = model.extractor_norm == "layer"
    normalise = switch(said, "do_normalize", layer or not nothing_said, where=str(path))
    if nothing_said:
        notes.append(f"no feature extractor settings with do_normalize; assumed: {normalise}")
    padding = said.get("padding_value", 0.0)
    if type(padding) not in (int, float) or not math.isfinite(padding):
        raise InputError(f"{path}: padding_value={padding!r} must be a finite number")
    return InputSettings(normalise, masks if masks != usual else None, float(padding))


def settings(description: Description) -> dict[str, Any]:
    """Settings of Wav2Vec2FeatureExtractor."""
    masks = description.attention_mask
    return {
        **FIXED,
        "padding_value": description.padding_value,
        "do_normalize": description.normalise,
        "return_attention_mask": _masks(description.model) if masks is None else masks,
    }


def write(out: Path, description: Description) -> None:
    """Writes preprocessor_config.json, and for a CTC network processor_config.json."""
    extractor = settings(description)
    if isinstance(description.vocabulary, Vocabulary):
        extractor["processor_class"] = PROCESSOR
        # The feature extractor's settings stay out of this file: transformers 5 would take them
        # from here too, but 4.46 refuses to load a directory that has them here.
        write_json(out / "processor_config.json", {"processor_class": PROCESSOR}, indent=2)
    write_json(out / "preprocessor_config.json", extractor)


def _said(path: Path) -> dict[str, Any] | None:
    """The settings of the files, of which processor_config.json goes before the other, as in
    transformers; None if neither has any."""
    extractor: Any = None
    if (path / "preprocessor_config.json").is_file():
        extractor = read_json(path / "preprocessor_config.json")
    if (path / "processor_config.json").is_file():
        processor = present(read_json(path / "processor_config.json"))
        extractor = processor.get("feature_extractor", extractor)
        if not isinstance(extractor, dict | None):
            raise InputError(
                f"{path}/processor_config.json: feature_extractor={extractor!r} must be an object"
            )
    if extractor is None:
        return None
    # null is false for these two in transformers, and the default for the others.
    off = {name: False for name in SWITCHES if extractor.get(name, True) is None}
    return present(extractor) | off


def _masks(model: ModelConfig) -> bool:
    """Group-norm models were trained without an attention mask, so none is made for them."""
    return model.extractor_norm == "layer"
