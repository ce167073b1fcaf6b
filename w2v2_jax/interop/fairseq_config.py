"""fairseq's settings (`Wav2Vec2Config`, `Wav2Vec2CtcConfig`, tasks) <-> our configuration.

Files of 2020 hold one flat argparse Namespace `args`; later ones a `cfg` of sections. A fine-tuned
file keeps the pretraining settings in `w2v_args` and its own rates beside them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import present, switch
from w2v2_jax.models.config import ModelConfig

# (their name, their default for an absent key, our name): values that are copied unchanged.
FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("encoder_embed_dim", 768, "d_model"),
    ("encoder_layers", 12, "num_layers"),
    ("encoder_attention_heads", 12, "num_heads"),
    ("encoder_ffn_embed_dim", 3072, "ffn_dim"),
    ("conv_bias", False, "conv_bias"),
    ("conv_pos", 128, "position_kernel"),
    ("conv_pos_groups", 16, "position_groups"),
    ("latent_groups", 2, "codebooks"),
    ("latent_vars", 320, "entries"),
    ("dropout", 0.1, "dropout"),
    ("attention_dropout", 0.1, "attention_dropout"),
    ("activation_dropout", 0.0, "activation_dropout"),
    ("dropout_input", 0.0, "input_dropout"),
    ("dropout_features", 0.0, "quantizer_dropout"),
    ("encoder_layerdrop", 0.0, "layer_drop"),
    ("feature_grad_mult", 1.0, "feature_grad_scale"),
    ("mask_length", 10, "mask_length"),
    ("mask_channel_length", 10, "channel_mask_length"),
)
CONV_LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
# Settings with one supported value, which is also the meaning of an absent key.
FIXED: dict[str, Any] = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "target_glu": False,
    "quantizer_depth": 1,
    "conv_pos_batch_norm": False,
}
LEAST_STACKED_KERNEL = 3  # of their positional convolutions if there are several
MOST_LAYERS = 100  # no feature encoder is that deep
NORMS = {"default": "group", "layer_norm": "layer"}
# Rates that fine-tuning sets again: (name in fine-tuning, name in Wav2Vec2Config).
TUNED = {
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "dropout_input": "dropout_input",
    "layerdrop": "encoder_layerdrop",
    "feature_grad_mult": "feature_grad_mult",
    "mask_prob": "mask_prob",
    "mask_length": "mask_length",
    "mask_channel_prob": "mask_channel_prob",
    "mask_channel_length": "mask_channel_length",
    "final_dropout": "final_dropout",
}


class FairseqSettings(NamedTuple):
    """model: of Wav2Vec2Config, with a fine-tuned file's own rates; normalise: of the task, and
    whether it says so, or leaves it at fairseq's default."""

    model: dict[str, Any]
    normalise: bool
    says_normalise: bool


def settings(state: Mapping[str, Any], *, tuned: bool, where: str) -> FairseqSettings | None:
    """The settings in a file's plain `cfg` or `args`; None if it has neither."""
    cfg, args = state.get("cfg"), state.get("args")
    if isinstance(cfg, Mapping) and isinstance(cfg.get("model"), Mapping):
        section, task = dict(cfg["model"]), dict(cfg.get("task") or {})
    elif isinstance(args, Mapping):
        section = task = dict(args)
    else:
        return None
    if task.get("sample_rate") not in (None, SAMPLE_RATE):
        raise InputError(
            f"{where}: sample_rate={task['sample_rate']!r}, this network takes {SAMPLE_RATE}"
        )
    both = {**present(section), **present(task)}
    scale = switch(both, "normalize", False, where=where), "normalize" in both
    if not tuned:
        return FairseqSettings(section, *scale)
    inner = section.get("w2v_args")
    if not isinstance(inner, Mapping):
        raise InputError(f"{where}: fine-tuned, but its settings hold no w2v_args")
    model = dict(inner["model"]) if isinstance(inner.get("model"), Mapping) else dict(inner)
    model |= {
        theirs: section[name] for name, theirs in TUNED.items() if section.get(name) is not None
    }
    if not switch(present(section), "apply_mask", False, where=where):
        model |= {"mask_prob": 0.0, "mask_channel_prob": 0.0}
    return FairseqSettings(model, *scale)


def to_model(fields: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Wav2Vec2Config's settings -> ModelConfig; InputError for what this network cannot express."""
    for name, value in FIXED.items():
        if fields.get(name) not in (None, value):
            raise InputError(f"{where}: {name}={fields[name]!r} is not supported; only {value!r}")
    values = {ours: fields.get(theirs, default) for theirs, default, ours in FIELDS}
    before = switch(present(fields), "layer_norm_first", False, where=where)
    mode = fields.get("extractor_mode", "default")
    if mode not in NORMS:
        raise InputError(f"{where}: extractor_mode={mode!r} is not known; use {', '.join(NORMS)}")
    try:
        final = fields.get("final_dim") or values["d_model"]
        depth = fields.get("pos_conv_depth") or 1
        if depth > 1:  # their conv_pos is that of all of them together
            values["position_kernel"] = max(
                LEAST_STACKED_KERNEL, values["position_kernel"] // depth
            )
            values["position_depth"] = depth
        return ModelConfig(
            **values,
            conv_layers=conv_layers(str(fields.get("conv_feature_layers", CONV_LAYERS))),
            extractor_norm=NORMS[mode],
            norm_order="pre" if before else "post",
            final_dim=final,
            code_dim=fields.get("latent_dim") or final,
            **quantizers(fields),
            final_dropout=fields.get("final_dropout", 0.0),
            # Their mask probabilities are shares of the sequence, ours those of a start
            # (docs/traps.md#t8).
            mask_start_prob=fields.get("mask_prob", 0.65) / values["mask_length"],
            channel_mask_start_prob=(
                fields.get("mask_channel_prob", 0.0) / values["channel_mask_length"]
            ),
        )
    except (TypeError, ValueError, ArithmeticError, SyntaxError) as error:
        raise InputError(f"{where}: its settings are unusable: {error}") from error


def quantizers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is quantized, by which quantizer, and the width of the input's own codes.

    As in their `Wav2Vec2Model`, without quantized targets there is no quantizer to share.
    """
    inputs, targets = (fields.get(x) or False for x in ("quantize_input", "quantize_targets"))
    same = inputs and targets and (fields.get("same_quantizer") or False)
    input_quantizer = inputs and not same
    return {
        "quantize_input": inputs,
        "quantize_targets": targets,
        "same_quantizer": same,
        "input_code_dim": (fields.get("latent_dim") or 0) if input_quantizer else 0,
    }


def conv_layers(text: str) -> tuple[tuple[int, int, int], ...]:
    """Their "[(512, 10, 5)] + [(512, 3, 2)] * 4" without evaluating Python."""

    def value(node: ast.AST) -> Any:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [value(x) for x in elements]
            case ast.Constant(value=int(number)) if 0 < number < 10**5:
                return number
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))):
                layers = value(left)
                if isinstance(layers, list) and 0 < len(layers) * times <= MOST_LAYERS:
                    return layers * times
        raise ValueError(
            f"conv_feature_layers={text!r} is not a list of (channels, kernel, stride)"
        )

    layers = [tuple(layer) for layer in value(ast.parse(text.strip(), mode="eval"))]
    if not layers or any(len(layer) != 3 for layer in layers):
        raise ValueError(
            f"conv_feature_layers={text!r} is not a list of (channels, kernel, stride)"
        )
    return tuple(layers)


def from_model(model: ModelConfig, *, normalise: bool, classes: int) -> dict[str, Any]:
    """The `cfg` of a file: of a pretraining one, or with classes > 0 of a fine-tuned one."""
    quantized = model.quantize_targets or model.quantize_input
    pretraining = {
        "common": {"seed": 1, "tpu": False},
        "model": {"_name": "wav2vec2", **_model(model)},
        "task": {"_name": "audio_pretraining", **_task(normalise), "labels": None},
        "criterion": {
            "_name": "wav2vec",
            "infonce": True,
            # Without a quantizer the penalty is the only further term.
            "loss_weights": [0.1, 10.0] if quantized else [10.0],
            "log_keys": ["prob_perplexity", "code_perplexity", "temp"],
        },
        "lr_scheduler": None,
    }
    if not classes:
        return pretraining
    rates = _model(model)
    tuned = {name: rates[theirs] for name, theirs in TUNED.items() if theirs in rates}
    masked = rates["mask_prob"] > 0 or rates["mask_channel_prob"] > 0
    return {
        "common": pretraining["common"],
        "model": {
            "_name": "wav2vec_ctc",
            "w2v_path": "",
            "data": "",
            "normalize": normalise,
            "apply_mask": masked,
            **tuned,
            "final_dropout": model.final_dropout,
            "ddp_backend": "legacy_ddp",
            "w2v_args": pretraining,
        },
        "task": {"_name": "audio_finetuning", **_task(normalise), "labels": "ltr"},
        "criterion": {"_name": "ctc", "zero_infinity": True, "sentence_avg": True},
        "lr_scheduler": None,
    }


def _model(model: ModelConfig) -> dict[str, Any]:
    layers = ", ".join(str(layer) for layer in model.conv_layers)
    return {
        **{theirs: getattr(model, ours) for theirs, _, ours in FIELDS},
        **({} if model.position_depth == 1 else stacked_positions(model)),
        "activation_fn": "gelu",
        "layer_type": "transformer",
        "conv_feature_layers": f"[{layers}]",
        "extractor_mode": next(k for k, v in NORMS.items() if v == model.extractor_norm),
        "layer_norm_first": model.norm_order == "pre",
        "final_dim": model.final_dim,
        "latent_dim": _latent_dim(model),
        "quantize_targets": model.quantize_targets,
        **(
            {"quantize_input": True, "same_quantizer": model.same_quantizer}
            if model.quantize_input
            else {}
        ),
        "mask_prob": round(model.mask_start_prob * model.mask_length, 12),
        "mask_channel_prob": round(model.channel_mask_start_prob * model.channel_mask_length, 12),
    }


def stacked_positions(model: ModelConfig) -> dict[str, int]:
    """conv_pos and pos_conv_depth of several positional convolutions."""
    if model.position_kernel < LEAST_STACKED_KERNEL:
        raise InputError(
            f"model.position_kernel={model.position_kernel} with model.position_depth="
            f"{model.position_depth}: fairseq's are at least {LEAST_STACKED_KERNEL}; "
            "export --to hf or safetensors"
        )
    depth = model.position_depth
    return {"conv_pos": model.position_kernel * depth, "pos_conv_depth": depth}


def _latent_dim(model: ModelConfig) -> int:
    """Their single width of all codes; 0 means final_dim for the targets (and a shared quantizer),
    and the model width for the input's own codes."""
    input_quantizer = model.quantize_input and not model.same_quantizer
    sides = [(model.input_codes, model.d_model)] if input_quantizer else []
    if model.quantize_targets or not model.quantize_input:
        sides.append((model.code_dim, model.final_dim))
    # A shared quantizer's codes must be final_dim wide: that is what their project_inp takes.
    for latent in (0, *(width for width, _ in sides if not model.same_quantizer)):
        if all((latent or default) == width for width, default in sides):
            return latent
    raise InputError(
        f"model.code_dim={model.code_dim}, model.final_dim={model.final_dim} and codes of the "
        f"input of {model.input_codes}: fairseq has one latent_dim for all; use "
        "model.input_code_dim=model.code_dim, or for a shared quantizer code_dim=final_dim"
    )


def _task(normalise: bool) -> dict[str, Any]:
    return {"data": "", "sample_rate": SAMPLE_RATE, "normalize": normalise, "tpu": False}
