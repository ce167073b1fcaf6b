"""What the values of a `ModelConfig` may be, each alone and together.

Each function takes the configuration, and raises InputError with the setting, its value and what
would work.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import is_number
from w2v2_jax.models.gabor_kernels import LEAST_WIDTH, PHASES

CHOICES = {
    "extractor_norm": ("group", "layer"),
    "norm_order": ("post", "pre"),
}
# The largest allowed sizes: larger than any network that exists, so that a file's header cannot
# cause hours of work.
SIZES = {
    "d_model": 1 << 16,
    "num_layers": 1000,
    "num_heads": 1 << 12,
    "ffn_dim": 1 << 20,
    "position_kernel": 1 << 14,
    "position_depth": 100,
    "position_groups": 1 << 16,
    "codebooks": 1 << 10,
    "entries": 1 << 20,
    "code_dim": 1 << 16,
    "final_dim": 1 << 16,
    "mask_length": 1 << 20,
    "channel_mask_length": 1 << 20,
    "head_dim": 1 << 16,
    "embedding_dim": 1 << 16,
    "adapter_dim": 1 << 16,
    "mask_min_spans": 1 << 20,
    "mask_equalise_rows": 1 << 20,
    "output_adapter_kernel": 1 << 10,
    "output_adapter_stride": 1 << 10,
}
MAY_BE_0 = ("adapter_dim", "mask_min_spans", "mask_equalise_rows")  # which means none
MOST_CONV_LAYERS, MOST_CONV = 100, 1 << 16
SWITCHES = (
    "conv_bias",
    "masked_group_norm",
    "quantize_input",
    "quantize_targets",
    "same_quantizer",
    "always_project_features",
    "layer_sum",
    "filterbank_init",
)


def check(config: Any) -> None:
    """All checks of a `ModelConfig`, whose lists of layers are tuples already."""
    _check_sizes(config)
    for field, known in CHOICES.items():
        if getattr(config, field) not in known:
            value = getattr(config, field)
            raise InputError(f"model.{field}={value!r} is not known; use one of {list(known)}")
    for whole, part in (
        ("d_model", "num_heads"),
        ("d_model", "position_groups"),
        ("code_dim", "codebooks"),
    ):
        if getattr(config, whole) % getattr(config, part):
            raise InputError(
                f"model.{part}={getattr(config, part)} does not divide "
                f"model.{whole}={getattr(config, whole)}"
            )
    _check_filterbank(config)
    _check_quantizers(config)
    _check_lora(config)
    _check_output_adapter(config)
    if config.adapter_dim and config.norm_order != "pre":
        raise InputError(
            f"model.adapter_dim={config.adapter_dim} needs model.norm_order='pre'; use 0"
        )
    for setting in dataclasses.fields(config):
        rate = setting.name.endswith(("dropout", "_prob", "layer_drop"))
        value = getattr(config, setting.name)
        if rate and not (is_number(value) and 0 <= value < 1):
            raise InputError(f"model.{setting.name}={value!r} must be a number in [0, 1)")


def _check_sizes(config: Any) -> None:
    for field, most in SIZES.items():
        value = getattr(config, field)
        least = field not in MAY_BE_0
        if type(value) is not int or not least <= value <= most:
            raise InputError(f"model.{field}={value!r} must be a whole number, {least:d} to {most}")
    scale = config.feature_grad_scale
    if not (is_number(scale) and 0 <= scale < math.inf):
        raise InputError(
            f"model.feature_grad_scale={config.feature_grad_scale!r} must be a number, at least 0"
        )
    for field in SWITCHES:
        if getattr(config, field) not in (True, False):
            raise InputError(f"model.{field}={getattr(config, field)!r} must be True or False")
    for field, last in (("conv_layers", "stride"), ("tdnn_layers", "dilation")):
        layers = getattr(config, field)
        sane = all(
            len(layer) == 3 and 1 <= min(layer) <= max(layer) <= MOST_CONV for layer in layers
        )
        if not 1 <= len(layers) <= MOST_CONV_LAYERS or not sane:
            raise InputError(
                f"model.{field}={str(layers)[:100]} must be 1 to {MOST_CONV_LAYERS} times "
                f"(channels, kernel, {last}), each 1 to {MOST_CONV}"
            )


def _check_filterbank(config: Any) -> None:
    channels, width, _ = config.conv_layers[0]
    if config.filterbank_init and (channels % PHASES or width < LEAST_WIDTH):
        raise InputError(
            f"model.filterbank_init=True needs a first layer of model.conv_layers whose "
            f"channels divide by {PHASES} and whose kernel is at least {LEAST_WIDTH}, not "
            f"{channels} and {width}; (160, 480, 160) is one"
        )


def _check_lora(config: Any) -> None:
    rank, alpha = config.lora_rank, config.lora_alpha
    if type(rank) is not int or not 0 <= rank <= config.d_model:
        raise InputError(
            f"model.lora_rank={rank!r} must be a whole number, 0 to {config.d_model}, the width"
        )
    if not 0 < alpha < math.inf:
        raise InputError(f"model.lora_alpha={alpha!r} must be a number above 0")


def _check_output_adapter(config: Any) -> None:
    layers, width = config.output_adapter_layers, config.output_dim
    if type(layers) is not int or not 0 <= layers <= MOST_CONV_LAYERS:
        raise InputError(
            f"model.output_adapter_layers={layers!r} must be a whole number, 0 to "
            f"{MOST_CONV_LAYERS}"
        )
    if type(width) is not int or not 0 <= width <= SIZES["d_model"]:
        raise InputError(
            f"model.output_dim={width!r} must be a whole number, 0 to {SIZES['d_model']}"
        )
    if width and not layers:
        raise InputError(f"model.output_dim={width} needs model.output_adapter_layers; use 0")
    if layers and config.output_adapter_kernel < 3:  # a frame of zeros stands at either end
        raise InputError(
            f"model.output_adapter_kernel={config.output_adapter_kernel} must be at least 3"
        )
    if layers and config.layer_sum:
        raise InputError(
            f"model.output_adapter_layers={layers} needs model.layer_sum=False: the layers "
            "that are summed have more frames; use 0"
        )


def _check_quantizers(config: Any) -> None:
    if config.always_project_features and config.quantize_input:
        raise InputError(
            "model.always_project_features=True needs model.quantize_input=False: a quantized "
            "input has a projection of its codes instead; use False"
        )
    if config.same_quantizer and not (config.quantize_input and config.quantize_targets):
        raise InputError(
            "model.same_quantizer=True needs model.quantize_input=True and "
            "model.quantize_targets=True; use False"
        )
    width, two = config.input_code_dim, config.quantize_input and not config.same_quantizer
    if type(width) is not int or not 0 <= width <= SIZES["code_dim"]:
        raise InputError(
            f"model.input_code_dim={width!r} must be a whole number, 0 to {SIZES['code_dim']}"
        )
    if width and not two:
        raise InputError(
            f"model.input_code_dim={width} needs model.quantize_input=True and "
            "model.same_quantizer=False; use 0"
        )
    if two and config.input_codes % config.codebooks:
        raise InputError(
            f"model.codebooks={config.codebooks} does not divide {config.input_codes}, the width "
            "of the input's codes; set model.input_code_dim"
        )
