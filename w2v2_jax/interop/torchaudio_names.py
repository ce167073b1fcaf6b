"""torchaudio's parameter names (`models/wav2vec2/model.py`, class Wav2Vec2Model).

It has an encoder and an optional `aux` head: no mask embedding, quantizer or projections.
"""

from __future__ import annotations

from w2v2_jax.interop.names import STACKED, Table, legacy_weight_norm

CONV = "feature_extractor.conv_layers.{i}."
PROJECTION = "encoder.feature_projection."
TRANSFORMER = "encoder.transformer."
POSITION = TRANSFORMER + "pos_conv_embed.conv."
BLOCK = TRANSFORMER + "layers.{i}."

TORCHAUDIO: Table = (
    ("encoder/feature_extractor/conv_{i}/kernel", (CONV + "conv.weight",), "convolution"),
    ("encoder/feature_extractor/conv_{i}/bias", (CONV + "conv.bias",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm_scale", (CONV + "layer_norm.weight",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm_bias", (CONV + "layer_norm.bias",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm/scale", (CONV + "layer_norm.weight",), "same"),
    ("encoder/feature_extractor/conv_{i}/norm/bias", (CONV + "layer_norm.bias",), "same"),
    ("encoder/feature_norm/scale", (PROJECTION + "layer_norm.weight",), "same"),
    ("encoder/feature_norm/bias", (PROJECTION + "layer_norm.bias",), "same"),
    ("encoder/feature_projection/kernel", (PROJECTION + "projection.weight",), "linear"),
    ("encoder/feature_projection/bias", (PROJECTION + "projection.bias",), "same"),
    ("encoder/transformer/position/magnitude",
     (POSITION + "parametrizations.weight.original0",), "magnitude"),
    ("encoder/transformer/position/direction",
     (POSITION + "parametrizations.weight.original1",), "convolution"),
    ("encoder/transformer/position/bias", (POSITION + "bias",), "same"),
    ("encoder/transformer/norm/scale", (TRANSFORMER + "layer_norm.weight",), "same"),
    ("encoder/transformer/norm/bias", (TRANSFORMER + "layer_norm.bias",), "same"),
    (STACKED + "attention/qkv_kernel",
     tuple(BLOCK + f"attention.{x}_proj.weight" for x in "qkv"), "qkv"),
    (STACKED + "attention/qkv_bias",
     tuple(BLOCK + f"attention.{x}_proj.bias" for x in "qkv"), "qkv_bias"),
    (STACKED + "attention/out_kernel", (BLOCK + "attention.out_proj.weight",), "out"),
    (STACKED + "attention/out_bias", (BLOCK + "attention.out_proj.bias",), "same"),
    (STACKED + "attention_norm/scale", (BLOCK + "layer_norm.weight",), "same"),
    (STACKED + "attention_norm/bias", (BLOCK + "layer_norm.bias",), "same"),
    (STACKED + "feed_forward_in/kernel",
     (BLOCK + "feed_forward.intermediate_dense.weight",), "linear"),
    (STACKED + "feed_forward_in/bias", (BLOCK + "feed_forward.intermediate_dense.bias",), "same"),
    (STACKED + "feed_forward_out/kernel", (BLOCK + "feed_forward.output_dense.weight",), "linear"),
    (STACKED + "feed_forward_out/bias", (BLOCK + "feed_forward.output_dense.bias",), "same"),
    (STACKED + "feed_forward_norm/scale", (BLOCK + "final_layer_norm.weight",), "same"),
    (STACKED + "feed_forward_norm/bias", (BLOCK + "final_layer_norm.bias",), "same"),
    ("head/kernel", ("aux.weight",), "linear"),
    ("head/bias", ("aux.bias",), "same"),
)  # fmt: skip

# The legacy ones are those of torchaudio before 2.1.
LEGACY_WEIGHT_NORM = legacy_weight_norm(POSITION)
