"""Hugging Face's config.json and feature extractor settings <-> our network configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import is_number
from w2v2_jax.interop.files import switch
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.layers import EPSILON

# (their name, their default for an absent key, our name): values that carry over unchanged.
FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("hidden_size", 768, "d_model"),
    ("num_hidden_layers", 12, "num_layers"),
    ("num_attention_heads", 12, "num_heads"),
    ("intermediate_size", 3072, "ffn_dim"),
    ("conv_bias", False, "conv_bias"),
    ("num_conv_pos_embedding_groups", 16, "position_groups"),
    ("hidden_dropout", 0.1, "dropout"),
    ("attention_dropout", 0.1, "attention_dropout"),
    ("activation_dropout", 0.1, "activation_dropout"),
    ("feat_proj_dropout", 0.0, "input_dropout"),
    ("final_dropout", 0.1, "final_dropout"),
    ("layerdrop", 0.1, "layer_drop"),
    ("mask_time_length", 10, "mask_length"),
    ("mask_time_min_masks", 2, "mask_min_spans"),
    ("mask_feature_length", 10, "channel_mask_length"),
    ("use_weighted_layer_sum", False, "layer_sum"),
    ("classifier_proj_size", 256, "head_dim"),
    ("xvector_output_dim", 512, "embedding_dim"),
)
# By model_type, what only one of the two kinds of network has.
OWN_FIELDS: dict[str, tuple[tuple[str, Any, str], ...]] = {
    "wav2vec2": (
        ("feat_extract_norm", "group", "extractor_norm"),
        ("num_conv_pos_embeddings", 128, "position_kernel"),
        ("num_codevector_groups", 2, "codebooks"),
        ("num_codevectors_per_group", 320, "entries"),
        ("codevector_dim", 256, "code_dim"),
        ("proj_codevector_dim", 256, "final_dim"),
        ("feat_quantizer_dropout", 0.0, "quantizer_dropout"),
    ),
    "data2vec-audio": (
        ("conv_pos_kernel_size", 19, "position_kernel"),
        ("num_conv_pos_embeddings", 5, "position_depth"),
    ),
}
# With add_adapter.
ADAPTER_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("num_adapter_layers", 3, "output_adapter_layers"),
    ("adapter_kernel_size", 3, "output_adapter_kernel"),
    ("adapter_stride", 2, "output_adapter_stride"),
)
# Settings with one supported value, which is also what an absent key means.
FIXED: dict[str, Any] = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": EPSILON,
}
GELU = ("gelu", "gelu_python")  # the same function under two names
CONV_DEFAULTS = {
    "conv_dim": (512,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
}
TDNN_DEFAULTS = {
    "tdnn_dim": (512, 512, 512, 512, 1500),
    "tdnn_kernel": (5, 3, 3, 1, 1),
    "tdnn_dilation": (1, 2, 3, 1, 1),
}


def to_model(config: dict[str, Any], *, where: str) -> ModelConfig:
    """config.json -> ModelConfig; InputError for what this network cannot express.

    Absent keys mean Hugging Face's defaults. The order of norms cannot be seen in the tensors,
    so do_stable_layer_norm decides it.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in OWN_FIELDS:
        raise InputError(f"{where}: model_type={kind!r}; use {' or '.join(map(repr, OWN_FIELDS))}")
    for name, value in FIXED.items():
        if config.get(name, value) not in (GELU if value == "gelu" else (value,)):
            raise InputError(f"{where}: {name}={config[name]!r} is not supported; only {value!r}")
    masked = switch(config, "apply_spec_augment", True, where=where)
    stable = kind == "wav2vec2" and switch(config, "do_stable_layer_norm", False, where=where)
    fields = FIELDS + OWN_FIELDS[kind]
    fields += ADAPTER_FIELDS if switch(config, "add_adapter", False, where=where) else ()
    try:
        # Their mask probabilities are shares of the sequence, ours those of starting a span
        # (docs/traps.md#t8).
        time = _start_prob(config, "mask_time", 0.05)
        channel = _start_prob(config, "mask_feature", 0.0)
        values = {ours: config.get(theirs, default) for theirs, default, ours in fields}
        if kind == "data2vec-audio":
            _check_depth(values["position_depth"])
            values["extractor_norm"] = "layer"
        model = ModelConfig(
            **values,
            output_dim=_output_dim(config),
            conv_layers=_layers(config, CONV_DEFAULTS),
            tdnn_layers=_layers(config, TDNN_DEFAULTS),
            norm_order="pre" if stable else "post",
            # Their post-LN blocks have no adapters, whatever this says.
            adapter_dim=(config.get("adapter_attn_dim") or 0) if stable else 0,
            mask_start_prob=time if masked else 0.0,
            channel_mask_start_prob=channel if masked else 0.0,
        )
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{where}: {error}") from error
    # Their network projects whatever the widths (docs/traps.md#t58).
    square = model.conv_dim == model.d_model
    return dataclasses.replace(model, always_project_features=square)


def _start_prob(config: dict[str, Any], name: str, default: float) -> float:
    """The probability to start a span, of their share of a sequence; ValueError names what no
    number of frames is."""
    length, share = config.get(f"{name}_length", 10), config.get(f"{name}_prob", default)
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"{name}_length={length!r} must be a whole number of at least 1")
    if not is_number(share):
        raise ValueError(f"{name}_prob={share!r} must be a number")
    return share / length


def _layers(config: dict[str, Any], defaults: Mapping[str, tuple[int, ...]]) -> tuple:
    """One tuple per layer from the lists of each property; ValueError if their lengths differ."""
    lists = [config.get(name, default) for name, default in defaults.items()]
    if len({len(one) for one in lists}) > 1:
        lengths, names = [str(len(one)) for one in lists], list(defaults)
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} have {', '.join(lengths[:-1])} and "
            f"{lengths[-1]} entries; they must be equally long"
        )
    return tuple(zip(*lists, strict=True))


def _check_depth(depth: Any) -> None:
    if depth == 1:
        raise ValueError(
            "num_conv_pos_embeddings=1: a single positional convolution with a layer norm is not "
            "supported; only 2 and more"
        )


def _output_dim(config: dict[str, Any]) -> int:
    """Our output_dim: 0 if no projection changes the width of the context."""
    if not config.get("add_adapter", False):
        return 0
    if config.get("num_adapter_layers", 3) == 0:
        raise ValueError(
            "add_adapter=True with num_adapter_layers=0 is not supported; use 1 or more"
        )
    width, hidden = config.get("output_hidden_size"), config.get("hidden_size", 768)
    return 0 if width in (None, hidden) else width


def refuse_stacked_positions(model: ModelConfig, where: str) -> None:
    """Their networks with stacked positional convolutions are data2vec-audio's, with one order of
    norms."""
    if model.position_depth > 1 and (
        model.extractor_norm != "layer" or model.norm_order != "post" or model.adapter_dim
    ):
        raise InputError(
            f"{where}: model.position_depth={model.position_depth}: Hugging Face has such networks "
            "(data2vec-audio) only with model.extractor_norm='layer', model.norm_order='post' and "
            "model.adapter_dim=0; export --to fairseq or safetensors"
        )


def refuse_output_adapter(model: ModelConfig, where: str, framework: str) -> None:
    """Convolutions after the Transformer are transformers' alone."""
    if model.output_adapter_layers:
        raise InputError(
            f"{where}: model.output_adapter_layers={model.output_adapter_layers}: {framework} has "
            "no such layers; export --to hf, onnx or safetensors"
        )


def refuse_missing_projection(model: ModelConfig, where: str, framework: str) -> None:
    """Raises InputError for a file of a framework whose network always projects features to the
    model width; fairseq's, if it is as wide as the convolutions, does not."""
    if not model.projects_features:
        raise InputError(
            f"{where}: the network has no feature projection, as the feature encoder's "
            f"{model.conv_dim} channels are the model's width; {framework} always has one"
        )


def refuse_quantized_input(model: ModelConfig, where: str, framework: str = "Hugging Face") -> None:
    """Only fairseq has networks whose context network sees quantized latents."""
    if model.quantize_input:
        raise InputError(
            f"{where}: model.quantize_input=True: {framework} has no quantized input; "
            "export --to fairseq or safetensors"
        )


def refuse_continuous_targets(model: ModelConfig, where: str) -> None:
    """Their pretraining network always has a quantizer; a fine-tuned one has none anyway."""
    if not model.quantize_targets:
        raise InputError(
            f"{where}: model.quantize_targets=False: Hugging Face has no pretraining with "
            "continuous targets; export --to fairseq or safetensors"
        )


def from_model(model: ModelConfig) -> dict[str, Any]:
    """The part of config.json that follows from the network."""
    channels, kernels, strides = zip(*model.conv_layers, strict=True)
    tdnn = map(list, zip(*model.tdnn_layers, strict=True))
    time = round(model.mask_start_prob * model.mask_length, 12)
    channel = round(model.channel_mask_start_prob * model.channel_mask_length, 12)
    masked = time > 0 or channel > 0
    kind = "data2vec-audio" if model.position_depth > 1 else "wav2vec2"
    fields = FIELDS + OWN_FIELDS[kind] + (ADAPTER_FIELDS if model.output_adapter_layers else ())
    only = {
        "do_stable_layer_norm": model.norm_order == "pre",
        "adapter_attn_dim": model.adapter_dim or None,
    }
    adapter = {"output_hidden_size": model.output_width} if model.output_adapter_layers else {}
    return {
        "model_type": kind,
        "dtype": "float32",
        **{theirs: getattr(model, ours) for theirs, _, ours in fields},
        **FIXED,
        "add_adapter": model.output_adapter_layers > 0,
        **adapter,
        "conv_dim": list(channels),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "num_feat_extract_layers": len(channels),
        **dict(zip(TDNN_DEFAULTS, tdnn, strict=True)),
        **(only if kind == "wav2vec2" else {}),
        # Probabilities of 0 would drop masked_spec_embed; the switch turns masking off instead.
        "mask_time_prob": time if masked else 0.05,
        "mask_feature_prob": channel,
        "apply_spec_augment": masked,
    }
