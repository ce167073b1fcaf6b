"""MMS: one network, and for each language a small adapter in every block and a CTC head.

A directory's model.safetensors holds one language; `adapter.<lang>.safetensors` beside it hold the
blocks' `adapter_layer` tensors and the head of the others (arXiv 2305.13516, section 5; names of
transformers' `Wav2Vec2ForCTC.load_adapter`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import Exported, plain_name, read_tensors
from w2v2_jax.paths import read_json, write_json

PARTS = (".adapter_layer.", "lm_head.")


def languages(path: Path) -> list[str]:
    """The languages whose adapters are in a directory."""
    return sorted(file.name.split(".")[1] for file in path.glob("adapter.*.safetensors"))


def with_language(
    path: Path, tensors: dict[str, np.ndarray], language: str, *, config: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The model's tensors with a language's adapters and head in place of those it came with.

    Raises InputError if the model has no adapters, the language has none, or the file holds
    other tensors than the blocks' adapters and the head.
    """
    if not config.get("adapter_attn_dim"):
        raise InputError(f"{path} has no adapters, so language {language!r} cannot be chosen")
    file = path / plain_name(f"adapter.{language}.safetensors", path)
    if not file.is_file():
        known = languages(path)
        raise InputError(
            f"{path} has no adapter for language {language!r}; "
            + (f"it has {', '.join(known[:20])}{', ...' * (len(known) > 20)}" if known else "")
            + f"{'; ' * bool(known)}fetch {file.name} beside model.safetensors"
        )
    chosen, _ = read_tensors(file)
    adapter_names = {name for name in tensors if any(part in name for part in PARTS)}
    if set(chosen) != adapter_names:
        odd = sorted(set(chosen) ^ adapter_names)[0]
        where = "is not a tensor of the model" if odd in chosen else "is missing"
        raise InputError(f"{file}: {odd} {where}")
    return {**tensors, **chosen}


def exporter(export: Callable, language: str) -> Callable:
    """An exporter of Hugging Face directories that also writes the adapter file of a language."""

    def with_adapter(loaded: Loaded, out: Path) -> Exported:
        said = export(loaded, out)
        write(loaded, out, language)
        return said

    return with_adapter


def write(loaded: Loaded, folder: Path, language: str) -> None:
    """Adds `adapter.<lang>.safetensors` to a directory that was written from this checkpoint, and
    names the language in its tokenizer files. So `load_adapter` and `set_target_lang` of
    transformers find it, in this directory or beside another copy of the same network.

    Raises InputError for a network without adapters or CTC head, or for an unusable name.
    """
    description = loaded.description
    if not description.model.adapter_dim or not description.objective_class.ctc_head:
        raise InputError(
            f"{loaded.path}: --language {language} needs a CTC checkpoint with adapters "
            "(model.adapter_dim above 0)"
        )
    if not language or not language.replace("-", "").replace("_", "").isalnum():
        raise InputError(
            f"--language {language!r} is not a language code; use letters, such as fra"
        )
    tensors = load_file(folder / "model.safetensors")
    chosen = {name: x for name, x in tensors.items() if any(part in name for part in PARTS)}
    save_file(chosen, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    write_json(folder / "vocab.json", {language: read_json(folder / "vocab.json")})
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", {**settings, "target_lang": language})
