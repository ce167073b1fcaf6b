"""MMS: one network, and for each language a small adapter in every block and a CTC head.

A directory's model.safetensors holds one language; `adapter.<lang>.safetensors` beside it hold the
blocks' `adapter_layer` tensors and the head of the others (arXiv 2305.13516, section 5; names of
transformers' `Wav2Vec2ForCTC.load_adapter`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import plain_name, read_tensors

PARTS = (".adapter_layer.", "lm_head.")


def languages(path: Path) -> list[str]:
    """The languages whose adapters lie in a directory."""
    return sorted(file.name.split(".")[1] for file in path.glob("adapter.*.safetensors"))


def with_language(
    path: Path, tensors: dict[str, np.ndarray], language: str, *, config: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The model's tensors with a language's adapters and head in place of those it came with.

    Raises InputError where the model has no adapters, the language has none, or the file holds
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
