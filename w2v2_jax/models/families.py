"""The released families of wav2vec 2.0 as a table."""

from __future__ import annotations

import dataclasses

from w2v2_jax.errors import InputError, listed
from w2v2_jax.models.config import ModelConfig

# What tells one family's network from another's.
SHAPES = (
    "conv_layers",
    "extractor_norm",
    "norm_order",
    "d_model",
    "num_layers",
    "num_heads",
    "ffn_dim",
    "adapter_dim",
)
LARGE = dict(d_model=1024, num_layers=24, num_heads=16, ffn_dim=4096, code_dim=768, final_dim=768)
LAYER_NORM = dict(extractor_norm="layer", conv_bias=True, norm_order="pre")
XLS_R = dict(**LAYER_NORM, dropout=0.0, attention_dropout=0.1, input_dropout=0.0)
OMNI_1B = dict(
    d_model=1280, num_layers=48, num_heads=16, ffn_dim=5120, code_dim=1024, final_dim=1024
)
OMNI_3B = OMNI_1B | dict(d_model=2048, num_layers=60, ffn_dim=8192)
# Shapes of the released families; the training rates of a recipe are set by its experiment.
FAMILIES: dict[str, dict] = {
    "small": dict(
        conv_layers=(
            (32, 10, 5), (64, 3, 2), (64, 3, 2), (128, 3, 2), (128, 3, 2), (128, 2, 2), (128, 2, 2),
        ),
        d_model=192, num_layers=3, num_heads=4, ffn_dim=768, position_kernel=16,
        code_dim=256, final_dim=128, **LAYER_NORM,
    ),
    "base": {},
    "large": dict(**LARGE, layer_drop=0.2),
    "large_lv60k": dict(**LARGE, **LAYER_NORM, layer_drop=0.0),
    "xlsr_53": dict(**LARGE, **LAYER_NORM, layer_drop=0.0),
    "xls_r_300m": dict(**LARGE, **XLS_R, layer_drop=0.0),
    "xls_r_1b": dict(
        d_model=1280, num_layers=48, num_heads=16, ffn_dim=5120, code_dim=1024, final_dim=1024,
        **XLS_R, layer_drop=0.0,
    ),
    "mms_300m": dict(**LARGE, **XLS_R, layer_drop=0.0),
    "mms_1b": dict(
        d_model=1280, num_layers=48, num_heads=16, ffn_dim=5120, code_dim=1024, final_dim=1024,
        **XLS_R, layer_drop=0.0,
    ),
    "mms_1b_adapters": dict(  # fine-tuned: mms-1b-fl102, mms-1b-l1107, mms-1b-all
        d_model=1280, num_layers=48, num_heads=16, ffn_dim=5120, code_dim=1024, final_dim=1024,
        adapter_dim=16, **XLS_R, layer_drop=0.0,
    ),
    "xls_r_2b": dict(
        d_model=1920, num_layers=48, num_heads=16, ffn_dim=7680, code_dim=1024, final_dim=1024,
        **XLS_R, layer_drop=0.0,
    ),
    # Omnilingual ASR (arXiv 2511.09690): the shapes of XLS-R, deeper.
    "omni_300m": dict(**LARGE, **XLS_R, layer_drop=0.0),
    "omni_1b": dict(**OMNI_1B, **XLS_R, layer_drop=0.0),
    "omni_3b": dict(**OMNI_3B, **XLS_R, layer_drop=0.0),
    "omni_7b": dict(**(OMNI_3B | dict(num_layers=128)), **XLS_R, layer_drop=0.0),
}  # fmt: skip


def model_config(family: str, **overrides) -> ModelConfig:
    """Returns a family's configuration with overrides; unknown names are InputErrors."""
    if family not in FAMILIES:
        raise InputError(f"model.family={family!r} is not known; use one of {sorted(FAMILIES)}")
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    unknown = sorted(set(overrides) - known)
    if unknown:
        name = unknown[0]
        raise InputError(f"model.{name} is not a setting; {listed(name, sorted(known))}")
    return ModelConfig(**{**FAMILIES[family], **overrides})


def family_of(config: ModelConfig) -> str:
    """The first family of these shapes, and "12 x 768" if none has them."""
    for name in FAMILIES:
        shaped = model_config(name)
        if all(getattr(shaped, field) == getattr(config, field) for field in SHAPES):
            return name
    return f"{config.num_layers} x {config.d_model}"
