"""fairseq's parameter names (`models/wav2vec/wav2vec2.py`, `wav2vec2_asr.py`).

The names are those of Wav2Vec2Model; a fine-tuned file has PREFIX before all but the head's.
"""

from __future__ import annotations

from w2v2_jax.interop.names import STACKED, Table, legacy_weight_norm

PREFIX = "w2v_encoder.w2v_model."
HEAD = "w2v_encoder.proj."
CONV = "feature_extractor.conv_layers.{i}."
POSITION = "encoder.pos_conv.0."
STACK = "encoder.pos_conv.{i}.0."  # pos_conv_depth above 1
BLOCK = "encoder.layers.{i}."

FAIRSEQ: Table = (
    ("encoder/feature_extractor/conv_{i}/kernel", (CONV + "0.weight",), "convolution"),
    ("encoder/feature_extractor/conv_{i}/bias", (CONV + "0.bias",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm_scale", (CONV + "2.weight",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm_bias", (CONV + "2.bias",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm/scale", (CONV + "2.1.weight",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm/bias", (CONV + "2.1.bias",), "same"),
    ("encoder/feature_norm/scale", ("layer_norm.weight",), "same"),
    ("encoder/feature_norm/bias", ("layer_norm.bias",), "same"),
    ("encoder/feature_projection/kernel", ("post_extract_proj.weight",), "linear"),
    ("encoder/feature_projection/bias", ("post_extract_proj.bias",), "same"),
    ("encoder/input_quantizer/logits/kernel", ("input_quantizer.weight_proj.weight",), "linear"),
    ("encoder/input_quantizer/logits/bias", ("input_quantizer.weight_proj.bias",), "same"),
    ("encoder/input_quantizer/entries", ("input_quantizer.vars",), "entries"),
    ("encoder/input_projection/kernel", ("project_inp.weight",), "linear"),
    ("encoder/input_projection/bias", ("project_inp.bias",), "same"),
    ("encoder/mask_embedding", ("mask_emb",), "same"),
    ("encoder/transformer/position/magnitude", (POSITION + "weight_g",), "magnitude"),
    ("encoder/transformer/position/direction", (POSITION + "weight_v",), "convolution"),
    ("encoder/transformer/position/bias", (POSITION + "bias",), "same"),
    ("encoder/transformer/position/conv_{i}/kernel", (STACK + "weight",), "convolution"),
    ("encoder/transformer/position/conv_{i}/bias", (STACK + "bias",), "same"),
    ("encoder/transformer/norm/scale", ("encoder.layer_norm.weight",), "same"),
    ("encoder/transformer/norm/bias", ("encoder.layer_norm.bias",), "same"),
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
    (STACKED + "attention/out_kernel", (BLOCK + "self_attn.out_proj.weight",), "out"),
    (STACKED + "attention/out_bias", (BLOCK + "self_attn.out_proj.bias",), "same"),
    (STACKED + "attention_norm/scale", (BLOCK + "self_attn_layer_norm.weight",), "same"),
    (STACKED + "attention_norm/bias", (BLOCK + "self_attn_layer_norm.bias",), "same"),
    (STACKED + "feed_forward_in/kernel", (BLOCK + "fc1.weight",), "linear"),
    (STACKED + "feed_forward_in/bias", (BLOCK + "fc1.bias",), "same"),
    (STACKED + "feed_forward_out/kernel", (BLOCK + "fc2.weight",), "linear"),
    (STACKED + "feed_forward_out/bias", (BLOCK + "fc2.bias",), "same"),
    (STACKED + "feed_forward_norm/scale", (BLOCK + "final_layer_norm.weight",), "same"),
    (STACKED + "feed_forward_norm/bias", (BLOCK + "final_layer_norm.bias",), "same"),
    ("quantizer/logits/kernel", ("quantizer.weight_proj.weight",), "linear"),
    ("quantizer/logits/bias", ("quantizer.weight_proj.bias",), "same"),
    ("quantizer/entries", ("quantizer.vars",), "entries"),
    ("target_projection/kernel", ("project_q.weight",), "linear"),
    ("target_projection/bias", ("project_q.bias",), "same"),
    ("context_projection/kernel", ("final_proj.weight",), "linear"),
    ("context_projection/bias", ("final_proj.bias",), "same"),
    ("head/kernel", (HEAD + "weight",), "linear"),
    ("head/bias", (HEAD + "bias",), "same"),
)

LEGACY_WEIGHT_NORM = legacy_weight_norm(POSITION)
