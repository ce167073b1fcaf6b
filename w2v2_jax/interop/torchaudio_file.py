"""torchaudio's state dicts (`torchaudio.models.Wav2Vec2Model`), without torch or torchaudio.

A state dict says nothing about its network. Files of this package have the description as a further
record, which torch.load ignores. For other files the order of norms must be given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Description, Loaded, describe
from w2v2_jax.errors import InputError
from w2v2_jax.interop import (
    dictionary,
    head_classes,
    inferred,
    names,
    tokenizer,
    torch_read,
    torch_write,
)
from w2v2_jax.interop.files import Exported, Imported, left_over, understood, unwrapped
from w2v2_jax.interop.hugging_face_config import (
    refuse_missing_projection,
    refuse_output_adapter,
    refuse_quantized_input,
)
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.interop.square import projected
from w2v2_jax.interop.torchaudio_names import LEGACY_WEIGHT_NORM, TORCHAUDIO
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC

RECORD = "w2v2_jax.json"
MASK_EMBEDDING = "encoder/mask_embedding"


def read(path: str | Path, hints: FileHints | None = None) -> Imported:
    """A state dict -> description and float32 parameters; the mask embedding is initialised.

    Raises InputError naming what is amiss, or what the tensors do not show.
    """
    with understood(Path(path)):
        return _read(Path(path), hints or FileHints(), [])


def _read(path: Path, hints: FileHints, notes: list[str]) -> Imported:
    with torch_read.opened(path) as file:
        tensors = file.arrays(file.value if isinstance(file.value, dict) else {})
        with torch_read.damage(path):
            record = file.record(RECORD)
            described = None if record is None else describe(json.loads(record), str(path))
    newer = {old: new for new, old in LEGACY_WEIGHT_NORM.items()}
    tensors = {newer.get(name, name): x for name, x in unwrapped(tensors).items()}
    if "encoder.transformer.layer_norm.weight" not in tensors:
        raise InputError(
            f"{path}: not a torchaudio wav2vec 2.0 state dict: "
            "it has no tensor encoder.transformer.layer_norm.weight"
        )
    tuned = "aux.weight" in tensors
    if described is None:
        model = inferred.to_model(tensors, TORCHAUDIO, hints, where=str(path))
    else:
        model = described.model
        inferred.refuse_other(hints, model, described.normalise, where=str(path))
    refuse_missing_projection(model, str(path), "torchaudio")
    classes = len(tensors["aux.weight"]) if tuned else 0
    parts = CTC.parts if tuned else ("encoder",)
    shapes = names.expected(model, parts=parts, classes=classes)
    mask_shape = shapes.pop(MASK_EMBEDDING)
    params = names.join(tensors, shapes, TORCHAUDIO, where=str(path))
    params["encoder"]["mask_embedding"] = np.random.default_rng(0).random(mask_shape, np.float32)
    notes.append("torchaudio has no mask embedding; initialised, as it only matters in training")
    if described is None:
        described = _describe(path, model, params, hints, notes, classes=classes)
    used = names.their_names(shapes, TORCHAUDIO)
    left = left_over(tensors, used, where=path)
    return Imported(Loaded(path, described, params), used, left, notes)


def _describe(path, model, params, hints: FileHints, notes, *, classes: int) -> Description:
    """The description of a foreign file; puts the head's rows into our order."""
    notes.append("the configuration was inferred from the tensors")
    normalise = hints.normalise
    if normalise is None:
        normalise = model.extractor_norm == "layer"
        notes.append(f"the file does not say if waveforms are normalised; assumed: {normalise}")
    if not classes:
        return Description(Contrastive.name, model, None, normalise)
    if hints.dictionary is None:
        symbols = dictionary.guess(classes, str(path))
        notes.append(f"no dictionary names the head's {classes} rows; assumed: LibriSpeech's")
    else:
        symbols = dictionary.read_symbols(hints.dictionary)
    rows = dictionary.to_rows(
        symbols, classes=classes, where=str(path), vocabulary=dictionary.like(hints.dictionary)
    )
    params["head"] = tokenizer.in_our_order(params["head"], rows.rows, notes)
    return Description(CTC.name, model, rows.vocabulary, normalise)


def save(loaded: Loaded, out: str | Path, *, legacy_weight_norm: bool = False) -> Exported:
    """Writes a state dict for `torchaudio.models.wav2vec2_model(**arguments(...))`.

    legacy_weight_norm: weight_g and weight_v, for torchaudio before 2.1. The quantizer, the
    projections and the mask embedding have no place there and are named as left over.
    """
    head_classes.refuse(loaded.description, str(loaded.path), "torchaudio")
    refuse_quantized_input(loaded.description.model, str(loaded.path), "torchaudio")
    loaded, notes = projected(loaded, "torchaudio")
    description = loaded.description
    refuse_output_adapter(description.model, str(loaded.path), "torchaudio")
    if description.model.position_depth > 1:
        raise InputError(
            f"{loaded.path}: model.position_depth={description.model.position_depth}: torchaudio "
            "has one positional convolution; export --to hf, fairseq or safetensors"
        )
    flat = trees.flatten(loaded.params)
    tensors_kept = {
        name: x
        for name, x in flat.items()
        if name.split("/")[0] in ("encoder", "head") and name != MASK_EMBEDDING
    }
    tensors = names.split(trees.nest(tensors_kept), TORCHAUDIO)
    if legacy_weight_norm:
        tensors = {LEGACY_WEIGHT_NORM.get(name, name): x for name, x in tensors.items()}
    content = json.dumps(description.to_json(), ensure_ascii=False).encode("utf-8")
    torch_write.save(dict(sorted(tensors.items())), out, records={RECORD: content})
    call = ", ".join(f"{k}={v!r}" for k, v in arguments(description).items())
    scale = "on normalised waveforms" if description.normalise else "on raw waveforms"
    return Exported(
        sorted(set(flat) - set(tensors_kept)),
        [
            *notes,
            f"torchaudio.models.wav2vec2_model({call}).load_state_dict(torch.load(...)), {scale}",
        ],
    )


def arguments(description: Description) -> dict[str, Any]:
    """Keyword arguments of torchaudio.models.wav2vec2_model for this network."""
    model: ModelConfig = description.model
    return {
        "extractor_mode": "group_norm" if model.extractor_norm == "group" else "layer_norm",
        "extractor_conv_layer_config": [tuple(layer) for layer in model.conv_layers],
        "extractor_conv_bias": model.conv_bias,
        "encoder_embed_dim": model.d_model,
        "encoder_projection_dropout": model.input_dropout,
        "encoder_pos_conv_kernel": model.position_kernel,
        "encoder_pos_conv_groups": model.position_groups,
        "encoder_num_layers": model.num_layers,
        "encoder_num_heads": model.num_heads,
        "encoder_attention_dropout": model.attention_dropout,
        "encoder_ff_interm_features": model.ffn_dim,
        "encoder_ff_interm_dropout": model.activation_dropout,
        "encoder_dropout": model.dropout,
        "encoder_layer_norm_first": model.norm_order == "pre",
        "encoder_layer_drop": model.layer_drop,
        "aux_num_out": len(description.vocabulary) if description.vocabulary else None,
    }
