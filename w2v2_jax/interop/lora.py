"""LoRA: low-rank updates merged into a network's weights, and PEFT's files of them, in and out.

PEFT's folder has `adapter_config.json` and `adapter_model.safetensors` but no network: for the q,
k, v and output projections of every block lora_A [r, in] and lora_B [out, r], and a CTC head whole.
`lora_head` writes and reads the symbols of that head, `lora_network` the network's settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.checkpoint.record import record_of
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import HUGGING_FACE_EPSILON
from w2v2_jax.interop import lora_head, lora_network, names
from w2v2_jax.interop.files import (
    Exported,
    Imported,
    epsilon_notes,
    read_tensors,
    understood,
)
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE
from w2v2_jax.paths import read_json, write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
ATTENTION = names.STACKED + "attention/"
PARTS = ("lora_qkv_down", "lora_qkv_up", "lora_out_down", "lora_out_up")
MODULES = ("q_proj", "k_proj", "v_proj", "out_proj")
# Settings of PEFT that change what the files mean, and the one value that is understood.
FIXED: dict[str, Any] = {
    "peft_type": "LORA",
    "use_dora": False,
    "use_rslora": False,
    "bias": "none",
    "fan_in_fan_out": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
    "lora_bias": False,
    "megatron_config": None,
    "trainable_token_indices": None,
}


def merged(loaded: Loaded) -> Loaded:
    """The checkpoint with its low-rank updates added to the weights; unchanged if it has none."""
    model = loaded.description.model
    if not model.lora_rank:
        return loaded
    flat = trees.flatten(loaded.params)
    qkv_down, qkv_up, out_down, out_up = (
        np.asarray(flat.pop(ATTENTION + part), np.float64) for part in PARTS
    )
    scale = model.lora_alpha / model.lora_rank
    for name, update in (
        ("qkv_kernel", np.einsum("ldcr,lcrhs->ldchs", qkv_down, qkv_up)),
        ("out_kernel", np.einsum("lhsr,lrd->lhsd", out_down, out_up)),
    ):
        flat[ATTENTION + name] = (flat[ATTENTION + name] + scale * update).astype(np.float32)
    plain = dataclasses.replace(model, lora_rank=0)
    description = loaded.description._replace(model=plain)
    return Loaded(loaded.path, description, trees.nest(flat))


def save(loaded: Loaded, out: str | Path) -> Exported:
    """Writes PEFT's folder: the low-rank updates, and a CTC head with its symbols beside them.

    Raises InputError for a checkpoint without them.
    """
    out, model = Path(out), loaded.description.model
    if not model.lora_rank:
        raise InputError(f"{loaded.path}: model.lora_rank=0: it has no low-rank updates (LoRA)")
    flat = trees.flatten(loaded.params)
    qkv_down, qkv_up, out_down, out_up = (np.asarray(flat[ATTENTION + part]) for part in PARTS)
    tensors = {}
    for layer in range(model.num_layers):
        for number, module in enumerate(MODULES):
            if module == "out_proj":
                down = out_down[layer].reshape(model.d_model, -1)
                up = out_up[layer]
            else:
                down = qkv_down[layer][:, number]
                up = qkv_up[layer][number].reshape(model.lora_rank, -1)
            a, b = _names(layer, module)
            tensors[a], tensors[b] = np.ascontiguousarray(down.T), np.ascontiguousarray(up.T)
    head = {name: x for name, x in loaded.params.items() if name == "head"}
    tensors |= {PREFIX + name: x for name, x in names.split(head, HUGGING_FACE).items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(sorted(tensors.items())), out / WEIGHTS, metadata={"format": "pt"})
    write_json(out / CONFIG, _settings(loaded, with_head=bool(head)), indent=2)
    lora_network.write(out, loaded)
    if head:
        lora_head.write(out, loaded.description)
    left = len(flat) - len(PARTS) - 2 * bool(head)
    start = record_of(loaded.path).get("facts", {}).get("config", {}).get("init_from")
    whose = f"{start}, which the run started from" if start else "the network it was tuned from"
    note = f"the {left} other parameters are those of {whose}: PEFT's base is that network"
    notes = epsilon_notes(loaded.description, "transformers", HUGGING_FACE_EPSILON)
    return Exported([], [f"{note} as a Hugging Face folder", *notes])


def _names(layer: int, module: str) -> tuple[str, str]:
    stem = f"{PREFIX}wav2vec2.encoder.layers.{layer}.attention.{module}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"


def _settings(loaded: Loaded, *, with_head: bool) -> dict[str, Any]:
    model = loaded.description.model
    alpha = model.lora_alpha
    return {
        **{name: value for name, value in FIXED.items() if value is not None},
        "r": model.lora_rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": list(MODULES),
        "modules_to_save": ["lm_head"] if with_head else None,
        "base_model_name_or_path": None,
        "task_type": None,
        "inference_mode": True,
    }


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a PEFT folder; InputError if it is none, or has some that are not read."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else None
    if config is None:
        raise InputError(f"{folder} is not a folder of PEFT: it has no {CONFIG}")
    for name, value in FIXED.items():
        if config.get(name) not in (None, value):
            raise InputError(f"{folder}/{CONFIG}: {name}={config[name]!r}; only {value!r} is read")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} is not a folder of PEFT: it has no {WEIGHTS}")
    return config


def with_updates(imported: Imported, folder: str | Path) -> Imported:
    """A network that was read, with the low-rank updates (and head) of a PEFT folder.

    Raises InputError naming a setting or tensor that does not fit the network.
    """
    with understood(Path(folder)):
        return _with_updates(imported, Path(folder))


def _with_updates(imported: Imported, folder: Path) -> Imported:
    loaded = imported.loaded
    config = read_config(folder)
    loaded = lora_network.checked(loaded, folder)
    model = loaded.description.model
    rank: Any = config.get("r")
    model = dataclasses.replace(
        model, lora_rank=rank, lora_alpha=float(config.get("lora_alpha", 8))
    )
    tensors = dict(read_tensors(folder / WEIGHTS)[0])
    updates, used, absent = _read_updates(tensors, model, folder)
    head = {
        theirs: tensors[PREFIX + theirs]
        for theirs in ("lm_head.weight", "lm_head.bias")
        if PREFIX + theirs in tensors
    }
    notes = [f"no updates of {', '.join(absent)}: they are 0"] if absent else []
    if head:
        loaded = lora_head.with_head(imported._replace(loaded=loaded), head, folder, notes)
        used += [PREFIX + name for name in head]
    left = sorted(set(tensors) - set(used))
    if left:
        raise InputError(f"{folder}: {left[0]} is no update of q, k, v or output projections")
    if config.get("lora_dropout"):
        notes.append(f"lora_dropout={config['lora_dropout']} is not applied when training here")
    params = trees.nest({**trees.flatten(loaded.params), **updates})
    description = loaded.description._replace(model=model)
    return Imported(
        Loaded(loaded.path, description, params),
        [*imported.matched, *used],
        imported.left,
        [*imported.notes, *notes],
    )


def _read_updates(
    tensors: Mapping[str, np.ndarray], model, folder: Path
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Our arrays, the names used, and the modules without an update."""
    layers, rank, dim, heads = model.num_layers, model.lora_rank, model.d_model, model.num_heads
    used, absent = list[str](), set(MODULES)
    downs = {module: np.zeros((layers, dim, rank), np.float32) for module in MODULES}
    ups = {module: np.zeros((layers, rank, dim), np.float32) for module in MODULES}
    for layer in range(layers):
        for module in MODULES:
            pair = _names(layer, module)
            present = [name for name in pair if name in tensors]
            if not present:
                continue
            for name, shape in zip(pair, ((rank, dim), (dim, rank)), strict=True):
                if name not in tensors or tensors[name].shape != shape:
                    size = list(tensors[name].shape) if name in tensors else "absent"
                    raise InputError(f"{folder}: {name} is {size}, not {list(shape)}")
            downs[module][layer], ups[module][layer] = (
                np.asarray(tensors[name], np.float32).T for name in pair
            )
            used += pair
            absent.discard(module)
    size = dim // heads
    qkv = MODULES[:3]
    return (
        {
            ATTENTION + "lora_qkv_down": np.stack([downs[m] for m in qkv], axis=2),
            ATTENTION + "lora_qkv_up": np.stack(
                [ups[m].reshape(layers, rank, heads, size) for m in qkv], axis=1
            ),
            ATTENTION + "lora_out_down": downs["out_proj"].reshape(layers, heads, size, rank),
            ATTENTION + "lora_out_up": ups["out_proj"],
        },
        used,
        [module for module in MODULES if module in absent],
    )
