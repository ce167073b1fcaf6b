"""What a file of another framework is, for those who name it where a checkpoint is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from w2v2_jax.errors import InputError
from w2v2_jax.interop import torch_read
from w2v2_jax.interop.files import understood
from w2v2_jax.interop.safetensors_file import METADATA

# Formats by a tensor that each of their files has, the first that is there: its whole name, or how
# it begins. Wrappers may stand before it.
TENSORS = (
    ("safetensors", METADATA),  # not a tensor's name but that of the description beside them
    ("fairseq2", "encoder_frontend."),
    ("torchaudio", "encoder.transformer."),
    ("fairseq", "mask_emb"),
    ("fairseq", "w2v_encoder."),
    ("hf", "wav2vec2."),
    ("hf", "data2vec_audio."),
    ("hf", "masked_spec_embed"),
)
PROGRAMS = {
    "*.onnx": "an ONNX program",
    "*.stablehlo": "a StableHLO program",
    "saved_model.pb": "a TensorFlow SavedModel",
}
WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
WRAPPER = "module."


def remedy(path: Path) -> str | None:
    """What stands at a path that is no checkpoint, and what to do; None if it is nothing known."""
    if not path.is_dir():
        return _of_file(path)
    if (path / "config.json").is_file():
        return None
    for pattern in PROGRAMS:
        if next(path.glob(pattern), None) is not None:
            return _of_program(path, pattern)
    weights = sorted(file for file in path.iterdir() if file.suffix in WEIGHTS)
    return _of_file(weights[0]) if len(weights) == 1 else None


def _of_program(path: Path, pattern: str) -> str:
    return (
        f"{path} is {PROGRAMS[pattern]}, from which no checkpoint can be made; name the checkpoint "
        "that it was exported from"
    )


def _of_file(path: Path) -> str | None:
    for pattern in PROGRAMS:
        if path.match(pattern):
            return _of_program(path, pattern)
    if path.suffix not in WEIGHTS:
        return None
    kind = _kind(path)
    if kind is None:
        return (
            f"{path} is a file of weights, of no network that this package knows; "
            "w2v2 convert --from hf|fairseq|fairseq2|torchaudio|safetensors says what it lacks"
        )
    if kind == "hf":
        there = (path.parent / "config.json").is_file()
        name = "name its folder" if there else "put its config.json beside it and name the folder"
        return f"{path} is a file of a Hugging Face model: {name}, {path.parent}"
    return (
        f"{path} is a {kind} file: first w2v2 convert --from {kind} --input {path} --out DIR, and "
        "name DIR"
    )


def _kind(path: Path) -> str | None:
    """The format of a file of weights by what its tensors are called. Raises InputError for a
    damaged one."""
    with understood(path):
        return _by_name(_names(path))


def _names(path: Path) -> set[str]:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy") as file:
                return {*file.keys(), *(file.metadata() or {})}
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: not a whole safetensors file: {error}") from error
    with torch_read.opened(path) as file:
        state = file.value if isinstance(file.value, Mapping) else {}
        weights = state.get("model", state)
        names = weights if isinstance(weights, Mapping) else {}
        return {name for name in names if isinstance(name, str)}


def _by_name(names: set[str]) -> str | None:
    plain = {name.removeprefix(WRAPPER) for name in names}
    for kind, start in TENSORS:
        if any(name.startswith(start) for name in plain):
            return kind
    return None
