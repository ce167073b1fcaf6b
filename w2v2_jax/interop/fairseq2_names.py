"""fairseq2's parameter names (`models/wav2vec2`, `models/wav2vec2/asr`), Omnilingual's too.

The single norm of post-LN networks is in the frontend, and that of pre-LN networks in the encoder.
A CTC head has the name of pretraining's context projection.
"""

from __future__ import annotations

from w2v2_jax.interop.names import STACKED, Table, legacy_weight_norm

FRONTEND = "encoder_frontend."
CONV = FRONTEND + "feature_extractor.layers.{i}."
POSITION = FRONTEND + "pos_encoder.conv."
STACK = FRONTEND + "pos_encoder.layers.{i}.conv."  # pos_encoder_depth above 1
BLOCK = "encoder.layers.{i}."
NORMS = {"post": FRONTEND + "layer_norm.", "pre": "encoder.layer_norm."}
MASK_EMBEDDING = "masker.temporal_mask_embed"
COUNTER = "quantizer.num_updates"  # of the temperature; begins again in either direction


def table(norm_order: str) -> Table:
    """The names for a network with this order of norms."""
    norm = NORMS[norm_order]
    return (
        ("encoder/feature_extractor/conv_{i}/kernel", (CONV + "conv.weight",), "convolution"),
        ("encoder/feature_extractor/conv_{i}/bias", (CONV + "conv.bias",), "same"),
        ("encoder/feature_extractor/conv_{i}/norm_scale", (CONV + "group_norm.weight",), "same"),
        ("encoder/feature_extractor/conv_{i}/norm_bias", (CONV + "group_norm.bias",), "same"),
        ("encoder/feature_extractor/conv_{i}/norm/scale", (CONV + "layer_norm.weight",), "same"),
        ("encoder/feature_extractor/conv_{i}/norm/bias", (CONV + "layer_norm.bias",), "same"),
        ("encoder/feature_norm/scale", (FRONTEND + "post_extract_layer_norm.weight",), "same"),
        ("encoder/feature_norm/bias", (FRONTEND + "post_extract_layer_norm.bias",), "same"),
        ("encoder/feature_projection/kernel", (FRONTEND + "model_dim_proj.weight",), "linear"),
        ("encoder/feature_projection/bias", (FRONTEND + "model_dim_proj.bias",), "same"),
        ("encoder/mask_embedding", (MASK_EMBEDDING,), "same"),
        ("encoder/transformer/position/magnitude", (POSITION + "weight_g",), "magnitude"),
        ("encoder/transformer/position/direction", (POSITION + "weight_v",), "convolution"),
        ("encoder/transformer/position/bias", (POSITION + "bias",), "same"),
        ("encoder/transformer/position/conv_{i}/kernel", (STACK + "weight",), "convolution"),
        ("encoder/transformer/position/conv_{i}/bias", (STACK + "bias",), "same"),
        ("encoder/transformer/norm/scale", (norm + "weight",), "same"),
        ("encoder/transformer/norm/bias", (norm + "bias",), "same"),
        (
            STACKED + "attention/qkv_kernel",
            tuple(BLOCK + f"self_attn.{x}_proj.weight" for x in "qkv"),
            "qkv",
        ),
        (
            STACKED + "attention/qkv_bias",
            tuple(BLOCK + f"self_attn.{x}_proj.bias" for x in "qkv"),
            "qkv_bias",
        ),
        (STACKED + "attention/out_kernel", (BLOCK + "self_attn.output_proj.weight",), "out"),
        (STACKED + "attention/out_bias", (BLOCK + "self_attn.output_proj.bias",), "same"),
        (STACKED + "attention_norm/scale", (BLOCK + "self_attn_layer_norm.weight",), "same"),
        (STACKED + "attention_norm/bias", (BLOCK + "self_attn_layer_norm.bias",), "same"),
        (STACKED + "feed_forward_in/kernel", (BLOCK + "ffn.inner_proj.weight",), "linear"),
        (STACKED + "feed_forward_in/bias", (BLOCK + "ffn.inner_proj.bias",), "same"),
        (STACKED + "feed_forward_out/kernel", (BLOCK + "ffn.output_proj.weight",), "linear"),
        (STACKED + "feed_forward_out/bias", (BLOCK + "ffn.output_proj.bias",), "same"),
        (STACKED + "feed_forward_norm/scale", (BLOCK + "ffn_layer_norm.weight",), "same"),
        (STACKED + "feed_forward_norm/bias", (BLOCK + "ffn_layer_norm.bias",), "same"),
        ("quantizer/logits/kernel", ("quantizer.entry_proj.weight",), "linear"),
        ("quantizer/logits/bias", ("quantizer.entry_proj.bias",), "same"),
        ("quantizer/entries", ("quantizer.entries",), "entries"),
        ("target_projection/kernel", ("final_target_proj.weight",), "linear"),
        ("target_projection/bias", ("final_target_proj.bias",), "same"),
        ("context_projection/kernel", ("final_proj.weight",), "linear"),
        ("context_projection/bias", ("final_proj.bias",), "same"),
        ("head/kernel", ("final_proj.weight",), "linear"),
        ("head/bias", ("final_proj.bias",), "same"),
    )


LEGACY_WEIGHT_NORM = legacy_weight_norm(POSITION)
