"""fairseq checkpoints (`.pt`): pretraining and CTC, old `args` and new `cfg`, without torch.

What is written loads in fairseq's `checkpoint_utils` (model, task and, fine-tuned, dictionary) and
serves as `model.w2v_path` of its fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import EPSILON
from w2v2_jax.interop import (
    dictionary,
    fairseq_config,
    head_classes,
    inferred,
    names,
    tokenizer,
    torch_pickle,
    torch_read,
)
from w2v2_jax.interop.fairseq_names import FAIRSEQ, HEAD, LEGACY_WEIGHT_NORM, PREFIX
from w2v2_jax.interop.files import (
    Exported,
    Imported,
    epsilon_notes,
    left_over,
    understood,
    unwrapped,
)
from w2v2_jax.interop.hugging_face_config import refuse_output_adapter
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.interop.torch_write import save as save_torch
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC

DATA2VEC = "data2vec_audio"  # their model's name; fine-tuned files are as wav2vec 2.0's


def read(path: str | Path, hints: FileHints | None = None) -> Imported:
    """A `.pt` file -> description and float32 parameters.

    hints: settings that the file lacks (norm order, dictionary). Raises InputError that names what
    is wrong, or what could not be inferred.
    """
    with understood(Path(path)):
        return _read(Path(path), hints or FileHints(), [])


def _read(path: Path, hints: FileHints, notes: list[str]) -> Imported:
    with torch_read.opened(path) as file:
        state = file.value if isinstance(file.value, Mapping) else {}
        weights = state.get("model", state)
        tensors = _rename(file.arrays(weights if isinstance(weights, Mapping) else {}))
        with torch_read.damage(path):
            said = {k: torch_pickle.plain(state.get(k)) for k in ("cfg", "args", "task_state")}
    tuned = f"{HEAD}weight" in tensors
    if not tuned and "mask_emb" not in tensors:
        raise InputError(f"{path}: not a fairseq wav2vec 2.0 file: it has no tensor mask_emb")
    model, normalise, bare = _configuration(path, said, tensors, hints, notes, tuned=tuned)
    classes = len(tensors[f"{HEAD}weight"]) if tuned else 0
    objective = CTC if tuned else Contrastive  # fairseq's files are of these two
    # expected() leaves out a missing quantizer
    parts = ("encoder",) if bare else objective.parts
    shapes = names.expected(model, parts=parts, classes=classes)
    params = names.join(tensors, shapes, FAIRSEQ, where=str(path))
    vocabulary = None
    if tuned:
        symbols = _symbols(path, said["task_state"], hints, notes, classes=classes)
        rows = dictionary.to_rows(
            symbols, classes=classes, where=str(path), vocabulary=dictionary.like(hints.dictionary)
        )
        vocabulary = rows.vocabulary
        params["head"] = tokenizer.in_our_order(params["head"], rows.rows, notes)
    description = Description(objective.name, model, vocabulary, normalise)
    used = names.their_names(shapes, FAIRSEQ)
    if model.same_quantizer:
        used = sorted({*used, *(set(tensors) & {name.removeprefix("input_") for name in used})})
    left = left_over(tensors, used, where=path)
    return Imported(Loaded(path, description, params), used, left, notes)


def save(loaded: Loaded, out: str | Path) -> Exported:
    """Writes one `.pt` file that fairseq loads with no key missing or left over.

    Raises InputError for a bare encoder, which fairseq has no checkpoint for.
    """
    description = loaded.description
    head_classes.refuse(description, str(loaded.path), "fairseq")
    tuned = set(CTC.parts) <= set(loaded.params)
    if not tuned and not _pretraining_parts(description.model) <= set(loaded.params):
        raise InputError(
            f"{loaded.path} is an encoder without heads; fairseq's files have a CTC head or the "
            "quantizer and projections of pretraining"
        )
    _refuse_square_projection(description.model, str(loaded.path))
    refuse_output_adapter(description.model, str(loaded.path), "fairseq")
    tensors = names.split(loaded.params, FAIRSEQ)
    if description.model.same_quantizer and not tuned:  # one module that they save under two names
        shared = {k: x for k, x in tensors.items() if k.startswith("input_quantizer.")}
        tensors |= {k.removeprefix("input_"): x for k, x in shared.items()}
    if tuned:
        tensors = {k if k.startswith(HEAD) else PREFIX + k: x for k, x in tensors.items()}
    vocabulary = description.ctc_vocabulary if tuned else None
    state: dict[str, Any] = {
        "args": None,
        "cfg": fairseq_config.from_model(
            description.model, normalise=description.normalise, classes=len(vocabulary or ())
        ),
        "model": dict(sorted(tensors.items())),
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "CtcCriterion" if tuned else "Wav2vecCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "task_state": {}
        if vocabulary is None
        else {"target_dictionary": dictionary.to_object(vocabulary)},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    save_torch(state, out)
    return Exported([], epsilon_notes(description, "fairseq", EPSILON))


def _refuse_square_projection(model: ModelConfig, where: str) -> None:
    """Their network has no projection if the convolutions are as wide as the model."""
    if model.projects_features and model.conv_dim == model.d_model:
        raise InputError(
            f"{where}: a feature projection although the feature encoder's {model.conv_dim} "
            "channels are the model's width, which fairseq cannot express; "
            "export --to hf, torchaudio or safetensors"
        )


def _pretraining_parts(model: ModelConfig) -> set[str]:
    has_quantizer = model.quantize_targets and not model.same_quantizer
    return set(Contrastive.parts) - (set() if has_quantizer else {"quantizer"})


def _rename(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names without the fine-tuned prefix, in one spelling of the weight norm."""
    tensors = {name.removeprefix(PREFIX): x for name, x in unwrapped(tensors).items()}
    return {LEGACY_WEIGHT_NORM.get(name, name): x for name, x in tensors.items()}


def _configuration(path, said, tensors, hints: FileHints, notes, *, tuned: bool):
    """(ModelConfig, normalise, whether only the encoder can be read), by the file's settings, or
    else by its tensors and the command line."""
    configuration = fairseq_config.settings(said, tuned=tuned, where=str(path))
    bare = not tuned and configuration is not None and configuration.model.get("_name") == DATA2VEC
    if bare:
        notes.append("data2vec pretraining: the encoder is read, its regression head is not")
    if configuration is None:
        model = inferred.to_model(tensors, FAIRSEQ, hints, where=str(path))
        notes.append("it has no settings; the configuration was inferred from its tensors")
        normalise = hints.normalise
    else:
        model = fairseq_config.to_model(configuration.model, where=str(path))
        says = configuration.normalise if configuration.says_normalise else None
        inferred.refuse_other(hints, model, says, where=str(path))
        normalise = configuration.normalise if hints.normalise is None else hints.normalise
    if normalise is None:
        normalise = model.extractor_norm == "layer"
        notes.append(f"the file does not say if waveforms are normalised; assumed: {normalise}")
    return model, normalise, bare


def _symbols(path: Path, task_state, hints: FileHints, notes, *, classes: int) -> list[str]:
    """Names of the head's rows: from the command line, in the file, beside it, or LibriSpeech's."""
    if hints.dictionary is not None:
        return dictionary.read_symbols(hints.dictionary)
    inside = task_state.get("target_dictionary") if isinstance(task_state, Mapping) else None
    if isinstance(inside, Mapping) and isinstance(inside.get("symbols"), list):
        return inside["symbols"]
    beside = path.with_name("dict.ltr.txt")
    if beside.is_file():
        notes.append(f"the head's rows are named by {beside}")
        return dictionary.read_symbols(beside)
    symbols = dictionary.guess(classes, str(path))
    notes.append(f"no dictionary names the head's {classes} rows; assumed: LibriSpeech's")
    return symbols
