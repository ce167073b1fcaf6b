"""Hugging Face directories (transformers 4 and 5): config.json, weights, tokenizer files.

Reads the classes of `KINDS`: pretraining, CTC, classifiers, x-vectors and bare encoders; needs
neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import HUGGING_FACE_EPSILON
from w2v2_jax.interop import adapters, head_classes, hugging_face_input, names, tokenizer
from w2v2_jax.interop import hugging_face_config as settings
from w2v2_jax.interop.files import (
    Exported,
    Imported,
    epsilon_notes,
    left_over,
    plain_name,
    present,
    read_bin,
    read_tensors,
    understood,
    unwrapped,
)
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE, LEGACY_WEIGHT_NORM
from w2v2_jax.interop.square import projected
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification, FrameClassification, XVector
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.vocabulary import Vocabulary

PREFIX = "wav2vec2."
# data2vec-audio: the same classes and tensors under other names, and no pretraining.
DATA2VEC_PREFIX, DATA2VEC_CLASS, WAV2VEC2_CLASS = "data2vec_audio.", "Data2VecAudio", "Wav2Vec2"
MASK_EMBEDDING = "wav2vec2.masked_spec_embed"


class Kind(NamedTuple):
    """objective and top-level parameters of one of their classes; heads are names it owns;
    add_adapter: whether it runs with an output adapter."""

    objective: type[Objective]
    parts: tuple[str, ...]
    heads: tuple[str, ...]
    add_adapter: bool = False


KINDS: dict[str, Kind] = {
    "Wav2Vec2ForCTC": Kind(CTC, CTC.parts, ("lm_head.",), add_adapter=True),
    "Wav2Vec2ForPreTraining": Kind(
        Contrastive, Contrastive.parts, ("quantizer.", "project_hid.", "project_q.")
    ),
    "Wav2Vec2ForXVector": Kind(
        XVector, XVector.parts, ("tdnn.", "objective.", "feature_extractor.weight")
    ),
    "Wav2Vec2ForSequenceClassification": Kind(
        Classification, Classification.parts, ("projector.",)
    ),
    "Wav2Vec2ForAudioFrameClassification": Kind(
        FrameClassification, FrameClassification.parts, ("classifier.", "layer_weights")
    ),
    "Wav2Vec2Model": Kind(Contrastive, ("encoder",), (), add_adapter=True),
}


def load(path: str | Path, *, language: str | None = None) -> Loaded:
    """A directory -> description and float32 parameters. Raises InputError that names the fault.

    language: the language of adapters and head, if there is a choice (MMS); else its own.
    """
    return read(path, language=language).loaded


def read(path: str | Path, *, language: str | None = None) -> Imported:
    """`load`, with the names of the tensors that were used, those that were not, and remarks."""
    with understood(Path(path)):
        return _read(Path(path), language)


def _read(path: Path, language: str | None) -> Imported:
    if not (path / "config.json").is_file():
        raise InputError(f"{path} is not a Hugging Face directory: it has no config.json")
    config = present(read_json(path / "config.json"))
    model = settings.to_model(config, where=f"{path}/config.json")
    tensors = _tensors(path)
    if language is not None:
        tensors = adapters.with_language(path, tensors, language, config=config)
    architecture = _architecture(config, tensors)
    _refuse_adapter(model, architecture, f"{path}/config.json")
    kind = KINDS[architecture]
    notes: list[str] = []
    if MASK_EMBEDDING not in tensors:  # files of fine-tuned models often lack it
        tensors[MASK_EMBEDDING] = np.random.default_rng(0).random(model.d_model, np.float32)
        notes.append(f"{MASK_EMBEDDING} is absent; initialised, as it only matters in training")
    labels = (
        head_classes.read(config, tensors, notes, where=str(path))
        if kind.objective.class_labels
        else None
    )
    classes = _rows(config, path) if kind.objective.ctc_head else len(labels or ())
    if language is not None:
        classes = len(tensors["lm_head.bias"])  # config.json counts the default language's
    shapes = names.expected(model, parts=kind.parts, classes=classes, objective=kind.objective)
    used, found_names = names.their_names(shapes, HUGGING_FACE), set(tensors)
    params = names.join(tensors, shapes, HUGGING_FACE, where=str(path), spend=True)
    vocabulary: Vocabulary | Classes | None = labels
    head_rows = None
    if kind.objective.ctc_head:
        rows = tokenizer.read(
            path, classes=classes, blank=config.get("pad_token_id", 0), language=language
        )
        vocabulary, head_rows = rows.vocabulary, rows.rows
        params["head"] = tokenizer.in_our_order(params["head"], rows.rows, notes)
    elif labels is None and 0 < model.mask_start_prob * model.mask_length < 0.2:
        notes.append(
            f"mask_time_prob masks {model.mask_start_prob * model.mask_length:.0%} of the frames; "
            "pretraining hides about half: set model.mask_start_prob=0.065"
        )
    scale = hugging_face_input.read(path, model, notes)
    description = Description(
        kind.objective.name,
        model,
        vocabulary,
        scale.normalise,
        HUGGING_FACE_EPSILON,
        scale.attention_mask,
        scale.padding_value,
    )
    left = left_over(found_names, used, where=path)
    return Imported(Loaded(path, description, params), used, left, notes, head_rows)


def save(loaded: Loaded, out: str | Path, *, legacy_weight_norm: bool = False) -> Exported:
    """Writes a directory for transformers' Auto classes: AutoModelForCTC and AutoProcessor,
    AutoModelForPreTraining, AutoModelForAudioClassification and the others of `KINDS`.

    legacy_weight_norm: weight_g and weight_v instead of torch's parametrizations, for old readers.
    """
    out = Path(out)
    settings.refuse_quantized_input(loaded.description.model, str(loaded.path))
    loaded, notes = projected(loaded, "Hugging Face")
    description = loaded.description
    if "target_projection" in loaded.params:
        settings.refuse_continuous_targets(description.model, str(loaded.path))
    settings.refuse_stacked_positions(description.model, str(loaded.path))
    architecture = _written_as(loaded)
    _refuse_adapter(description.model, architecture, str(loaded.path))
    tensors = names.split(loaded.params, HUGGING_FACE)
    if architecture == "Wav2Vec2Model":
        tensors = {name.removeprefix(PREFIX): x for name, x in tensors.items()}
    if legacy_weight_norm:
        for new, old in LEGACY_WEIGHT_NORM.items():
            for prefixed in (new, new.removeprefix(PREFIX)):
                if prefixed in tensors:
                    tensors[old[len(new) - len(prefixed) :]] = tensors.pop(prefixed)
    if description.model.position_depth > 1:
        architecture, tensors = _as_data2vec(architecture, tensors, str(loaded.path))
    config: dict[str, Any] = {
        "architectures": [architecture],
        **settings.from_model(description.model),
    }
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(description.vocabulary, Classes):
        config |= head_classes.settings(description.vocabulary)
    elif description.vocabulary is not None:
        config |= {"vocab_size": len(description.vocabulary), "pad_token_id": 0}
        config |= {"bos_token_id": 1, "eos_token_id": 2}
        # As in this package: rows without a path have no loss; the sum is divided by utterances.
        config |= {"ctc_loss_reduction": "sum", "ctc_zero_infinity": True}
        tokenizer.write(out, description.vocabulary)
    hugging_face_input.write(out, description)
    write_json(out / "config.json", config)
    save_file(dict(sorted(tensors.items())), out / "model.safetensors", metadata={"format": "pt"})
    notes += epsilon_notes(description, "transformers", HUGGING_FACE_EPSILON)
    return Exported([], notes)


def _refuse_adapter(model: ModelConfig, architecture: str, where: str) -> None:
    """Their other classes raise, or take the context for as long as the features."""
    if model.output_adapter_layers and not KINDS[architecture].add_adapter:
        able = [name for name, kind in KINDS.items() if kind.add_adapter]
        raise InputError(
            f"{where}: {architecture} with an adapter after the Transformer (add_adapter, "
            f"model.output_adapter_layers={model.output_adapter_layers}) is not in transformers; "
            f"{' and '.join(able)} have one"
        )


def _as_data2vec(
    architecture: str, tensors: dict[str, np.ndarray], where: str
) -> tuple[str, dict[str, np.ndarray]]:
    """Class and tensors by data2vec-audio's names."""
    if architecture == "Wav2Vec2ForPreTraining":
        raise InputError(
            f"{where}: model.position_depth above 1 is data2vec-audio's, which has no pretraining "
            "class in transformers; export --to fairseq or safetensors"
        )
    renamed = {
        DATA2VEC_PREFIX + name.removeprefix(PREFIX) if name.startswith(PREFIX) else name: x
        for name, x in tensors.items()
    }
    return architecture.replace(WAV2VEC2_CLASS, DATA2VEC_CLASS), renamed


def _written_as(loaded: Loaded) -> str:
    """Their class for a checkpoint; the bare model if there is only the encoder, or if they have no
    such head, whose parameters are then left over."""
    if set(loaded.params) != {"encoder"}:
        for name, kind in KINDS.items():
            if kind.objective.name == loaded.description.objective:
                return name
    return "Wav2Vec2Model"


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of the directory, under `wav2vec2.` names and the newer weight-norm spelling."""
    tensors: dict[str, np.ndarray] = {}
    for file in _files(path):
        tensors |= read_tensors(file)[0] if file.suffix == ".safetensors" else read_bin(file)
    tensors = {
        PREFIX + name.removeprefix(DATA2VEC_PREFIX) if name.startswith(DATA2VEC_PREFIX) else name: x
        for name, x in unwrapped(tensors).items()
    }
    if not any(name.startswith(PREFIX) for name in tensors):
        heads = tuple(head for kind in KINDS.values() for head in kind.heads)
        tensors = {n if n.startswith(heads) else PREFIX + n: x for n, x in tensors.items()}
    for new, old in LEGACY_WEIGHT_NORM.items():
        if old in tensors:
            tensors[new] = tensors.pop(old)
    return tensors


def _files(path: Path) -> list[Path]:
    """The weight files: safetensors if there are any, else torch's, sharded or not. As in
    transformers, a whole file goes before an index, which an earlier, larger model may have left.
    """
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = path / f"{stem}.index.json"
        if (path / stem).is_file():
            return [path / stem]
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict):
                raise InputError(f"{index}: no weight_map")
            return [path / plain_name(name, index) for name in sorted(set(shards.values()))]
    raise InputError(f"{path} has no model.safetensors and no pytorch_model.bin")


def _architecture(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """The class by its name in config.json, else by the heads among the tensors."""
    for name in config.get("architectures") or ():
        name = str(name).replace(DATA2VEC_CLASS, WAV2VEC2_CLASS)
        if name in KINDS:
            return name
    for name, kind in KINDS.items():
        if kind.heads and any(tensor.startswith(kind.heads) for tensor in tensors):
            return name
    return "Wav2Vec2Model"


def _rows(config: Mapping[str, Any], path: Path) -> int:
    rows = config.get("vocab_size", 32)
    if type(rows) is not int or rows < 1:
        raise InputError(f"{path}/config.json: vocab_size={rows!r}; use a number of symbols")
    return rows
