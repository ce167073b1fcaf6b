"""fairseq2 checkpoints (`.pt`): pretraining and CTC, Omnilingual's among them, without torch.

A file holds only tensors. The settings are in the asset card that names it, so here they are
inferred from the shapes. The rows of a CTC head are named by the card's tokenizer, a SentencePiece
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from w2v2_jax.checkpoint.description import Description, Loaded, require_ctc
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import EPSILON
from w2v2_jax.interop import (
    dictionary,
    head_classes,
    inferred,
    names,
    sentencepiece_model,
    tokenizer,
    torch_read,
)
from w2v2_jax.interop.fairseq2_names import (
    COUNTER,
    FRONTEND,
    LEGACY_WEIGHT_NORM,
    MASK_EMBEDDING,
    NORMS,
    table,
)
from w2v2_jax.interop.files import (
    Exported,
    Imported,
    epsilon_notes,
    left_over,
    understood,
    unwrapped,
)
from w2v2_jax.interop.hugging_face_config import refuse_output_adapter, refuse_quantized_input
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.interop.torch_write import save as save_torch
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.vocabulary.units import CHARACTERS

# Tensors that only other networks of fairseq2 have -> what to say.
OTHERS = {
    "encoder.layers.0.conv_layer_norm.weight": "use_conformer=True",
    "llama_decoder.layers.0.self_attn.q_proj.weight": "a language-model decoder (wav2vec2_llama)",
}


def read(path: str | Path, hints: FileHints | None = None) -> Imported:
    """A `.pt` file -> description and float32 parameters.

    hints: settings that the file lacks (dictionary, normalise, strides, heads). Raises InputError
    that names what is wrong, or what could not be inferred.
    """
    with understood(Path(path)):
        return _read(Path(path), hints or FileHints(), [])


def _read(path: Path, hints: FileHints, notes: list[str]) -> Imported:
    tensors = _tensors(path)
    for name, what in OTHERS.items():
        if name in tensors:
            raise InputError(f"{path}: {what}; this network has none (tensor {name})")
    norm_order = _norm_order(tensors, path)
    if hints.norm_order not in (None, norm_order):
        raise InputError(f"--norm-order {hints.norm_order}: {path} says {norm_order} itself")
    rows, tuned = table(norm_order), "quantizer.entries" not in tensors
    if "final_proj.weight" not in tensors:
        raise InputError(f"{path} has neither a CTC head nor pretraining's projections: final_proj")
    shown = {name: x for name, x in tensors.items() if not (tuned and name.startswith("final"))}
    model = inferred.to_model(shown, rows, hints._replace(norm_order=norm_order), where=str(path))
    _refuse_even_stack(model, str(path))
    if MASK_EMBEDDING not in tensors:
        tensors[MASK_EMBEDDING] = np.random.default_rng(0).random(model.d_model, np.float32)
        notes.append(f"{MASK_EMBEDDING} is absent; initialised, as it only matters in training")
    classes = len(tensors["final_proj.weight"]) if tuned else 0
    objective = CTC if tuned else Contrastive
    shapes = names.expected(model, parts=objective.parts, classes=classes)
    params = names.join(tensors, shapes, rows, where=str(path))
    vocabulary = None
    if tuned:
        symbols = _symbols(hints, classes, path, notes)
        order = dictionary.to_rows(
            symbols, classes=classes, where=str(path), vocabulary=dictionary.like(hints.dictionary)
        )
        vocabulary = order.vocabulary
        params["head"] = tokenizer.in_our_order(params["head"], order.rows, notes)
    normalise = hints.normalise
    if normalise is None:
        normalise = model.extractor_norm == "layer"
        notes.append(f"the file does not say if waveforms are normalised; assumed: {normalise}")
    description = Description(objective.name, model, vocabulary, normalise)
    used = names.their_names(shapes, rows)
    left = left_over(set(tensors) - {COUNTER}, used, where=path)
    return Imported(Loaded(path, description, params), used, left, notes)


def save(loaded: Loaded, out: str | Path) -> Exported:
    """Writes one `.pt` file for an asset card of fairseq2; the note has the card's settings.

    Raises InputError for what fairseq2 has no network for.
    """
    description, where = loaded.description, str(loaded.path)
    head_classes.refuse(description, where, "fairseq2")
    model = description.model
    refuse_quantized_input(model, where, "fairseq2")
    refuse_output_adapter(model, where, "fairseq2")
    _refuse_even_stack(model, where)
    if model.adapter_dim:
        raise InputError(f"{where}: model.adapter_dim={model.adapter_dim}: fairseq2 has none")
    if model.projects_features and model.conv_dim == model.d_model:
        raise InputError(
            f"{where}: model.always_project_features=True: fairseq2 has no projection where the "
            "convolutions are as wide as the model; export --to hf, torchaudio or safetensors"
        )
    tuned = set(CTC.parts) <= set(loaded.params)
    if not tuned and not set(Contrastive.parts) <= set(loaded.params):
        raise InputError(
            f"{where} is an encoder without heads; fairseq2's files have a CTC head or the "
            "quantizer and projections of pretraining"
        )
    tensors = names.split(loaded.params, table(model.norm_order))
    if not tuned:
        tensors[COUNTER] = np.zeros((), np.int64)
    save_torch({"model": dict(sorted(tensors.items()))}, out)
    return Exported([], _notes(description, tuned=tuned))


def _refuse_even_stack(model: ModelConfig, where: str) -> None:
    """Their stacked positional convolutions pad an even kernel on the other side from fairseq's,
    and are at least 3 frames wide."""
    if model.position_depth > 1 and (model.position_kernel % 2 == 0 or model.position_kernel < 3):
        raise InputError(
            f"{where}: model.position_kernel={model.position_kernel} with "
            f"model.position_depth={model.position_depth}: fairseq2's are odd and at least 3"
        )


def write_tokenizer(loaded: Loaded, path: str | Path) -> None:
    """The SentencePiece model (fairseq2's `char_tokenizer`) that names the rows of a CTC head.

    Raises InputError for a checkpoint without one, and for symbols that are not characters.
    """
    require_ctc(loaded.description, str(loaded.path))
    vocabulary = loaded.description.ctc_vocabulary
    if vocabulary.units != CHARACTERS:
        raise InputError(
            f"--tokenizer: the symbols of {loaded.path} are {vocabulary.units}; fairseq2's "
            "tokenizer is one of characters"
        )
    sentencepiece_model.write_characters(path, vocabulary.symbols)


def _notes(description: Description, *, tuned: bool) -> list[str]:
    """What an asset card must say of the file."""
    model = description.model
    encoder = {
        "model_dim": model.d_model,
        "num_encoder_layers": model.num_layers,
        "num_encoder_attn_heads": model.num_heads,
        "ffn_inner_dim": model.ffn_dim,
        "feature_dim": model.conv_dim,
        "feature_extractor_bias": model.conv_bias,
        "feature_extractor_layer_descs": [list(layer) for layer in model.conv_layers],
        "feature_extractor_layer_norm_convs": model.extractor_norm == "layer",
        "layer_norm_features": model.norm_order == "post",
        "norm_order": model.norm_order.upper(),
        "pos_encoder_depth": model.position_depth,  # its kernel is that of all of them together
        "pos_conv_kernel_size": model.position_kernel * model.position_depth,
        "num_pos_conv_groups": model.position_groups,
    }
    pretraining = {
        "quantized_dim": model.code_dim,
        "final_dim": model.final_dim,
        "num_codebooks": model.codebooks,
        "num_codebook_entries": model.entries,
    }
    classes = len(description.vocabulary or ())
    own = {"target_vocab_size": classes, "use_masking": True} if tuned else pretraining
    family = "wav2vec2_asr" if tuned else "wav2vec2"
    notes = [
        f"card: model_family: {family}, model_config: {own | {'encoder_config': encoder}}",
        f"normalize_audio: {description.normalise}",
    ]
    if tuned:
        symbols = " ".join(description.ctc_vocabulary.symbols[:12])
        notes.append(f"rows of final_proj, for its tokenizer: {symbols} ... (0 is the blank)")
    return notes + epsilon_notes(description, "fairseq2", EPSILON)


def _tensors(path: Path) -> dict[str, np.ndarray]:
    with torch_read.opened(path) as file:
        state = file.value if isinstance(file.value, Mapping) else {}
        weights = state.get("model", state)
        weights = weights if isinstance(weights, Mapping) else {}
        tensors = unwrapped(file.arrays(weights))
    tensors = {LEGACY_WEIGHT_NORM.get(name, name): x for name, x in tensors.items()}
    if FRONTEND + "post_extract_layer_norm.weight" not in tensors:
        first = any(name == "mask_emb" or name.startswith("w2v_encoder.") for name in tensors)
        old = "; convert --from fairseq reads it" if first else ""
        raise InputError(
            f"{path}: not a fairseq2 wav2vec 2.0 file: it has no tensor "
            f"{FRONTEND}post_extract_layer_norm.weight{old}"
        )
    return tensors


def _norm_order(tensors: Mapping[str, np.ndarray], path: Path) -> str:
    orders = [order for order, name in NORMS.items() if name + "weight" in tensors]
    if len(orders) != 1:
        many = "both" if orders else "neither"
        raise InputError(
            f"{path} has {many} of {NORMS['post']}weight (post-LN) and {NORMS['pre']}weight "
            "(pre-LN); this network has one of the two"
        )
    return orders[0]


def _symbols(hints: FileHints, classes: int, path: Path, notes: list[str]) -> list[str]:
    """Names of the head's rows: of the tokenizer or dictionary given, else LibriSpeech's."""
    named = hints.dictionary
    if named is None:
        beside = sorted(path.parent.glob("*tokenizer*.model"))
        if len(beside) != 1:
            symbols = dictionary.guess(classes, str(path))
            notes.append(f"no dictionary names the head's {classes} rows; assumed: LibriSpeech's")
            return symbols
        notes.append(f"the head's rows are named by {beside[0]}")
        named = str(beside[0])
    if Path(named).suffix != ".model":
        return dictionary.read_symbols(named)
    return symbols_of(sentencepiece_model.read_pieces(named), where=named)


def symbols_of(pieces: list[sentencepiece_model.Piece], *, where: str) -> list[str]:
    """A character tokenizer's pieces as our symbols: the first, CTC's blank, is `<s>`, a space `|`.

    Raises InputError if the blank is a character.
    """
    if pieces[0].kind == sentencepiece_model.NORMAL:
        raise InputError(f"{where}: row 0, CTC's blank, is the character {pieces[0].text!r}")
    symbols = [piece.text for piece in pieces]
    if symbols[0] != "<s>" and "<s>" in symbols:
        symbols[symbols.index("<s>")] = symbols[0]
    symbols[0] = "<s>"
    return ["|" if symbol == sentencepiece_model.SPACE else symbol for symbol in symbols]
