"""Hugging Face's parameter names: our path, their names, the layout between them."""

from __future__ import annotations

from w2v2_jax.interop.names import STACKED, Table

CONV = "wav2vec2.feature_extractor.conv_layers.{i}."
PROJECTION = "wav2vec2.feature_projection."
POSITION = "wav2vec2.encoder.pos_conv_embed.conv."
STACK = "wav2vec2.encoder.pos_conv_embed.layers.{i}.conv."  # data2vec-audio
ADAPTER = "wav2vec2.adapter.layers.{i}.conv."
BLOCK = "wav2vec2.encoder.layers.{i}."
HUGGING_FACE: Table = (
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
    ("encoder/mask_embedding", ("wav2vec2.masked_spec_embed",), "same"),
    ("encoder/transformer/position/magnitude",
     (POSITION + "parametrizations.weight.original0",), "magnitude"),
    ("encoder/transformer/position/direction",
     (POSITION + "parametrizations.weight.original1",), "convolution"),
    ("encoder/transformer/position/bias", (POSITION + "bias",), "same"),
    ("encoder/transformer/position/conv_{i}/kernel", (STACK + "weight",), "convolution"),
    ("encoder/transformer/position/conv_{i}/bias", (STACK + "bias",), "same"),
    ("encoder/transformer/norm/scale", ("wav2vec2.encoder.layer_norm.weight",), "same"),
    ("encoder/transformer/norm/bias", ("wav2vec2.encoder.layer_norm.bias",), "same"),
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
    (STACKED + "adapter/norm/scale", (BLOCK + "adapter_layer.norm.weight",), "same"),
    (STACKED + "adapter/norm/bias", (BLOCK + "adapter_layer.norm.bias",), "same"),
    (STACKED + "adapter/down/kernel", (BLOCK + "adapter_layer.linear_1.weight",), "linear"),
    (STACKED + "adapter/down/bias", (BLOCK + "adapter_layer.linear_1.bias",), "same"),
    (STACKED + "adapter/up/kernel", (BLOCK + "adapter_layer.linear_2.weight",), "linear"),
    (STACKED + "adapter/up/bias", (BLOCK + "adapter_layer.linear_2.bias",), "same"),
    ("encoder/output_adapter/projection/kernel", ("wav2vec2.adapter.proj.weight",), "linear"),
    ("encoder/output_adapter/projection/bias", ("wav2vec2.adapter.proj.bias",), "same"),
    ("encoder/output_adapter/norm/scale", ("wav2vec2.adapter.proj_layer_norm.weight",), "same"),
    ("encoder/output_adapter/norm/bias", ("wav2vec2.adapter.proj_layer_norm.bias",), "same"),
    ("encoder/output_adapter/conv_{i}/kernel", (ADAPTER + "weight",), "convolution"),
    ("encoder/output_adapter/conv_{i}/bias", (ADAPTER + "bias",), "same"),
    ("quantizer/logits/kernel", ("quantizer.weight_proj.weight",), "linear"),
    ("quantizer/logits/bias", ("quantizer.weight_proj.bias",), "same"),
    ("quantizer/entries", ("quantizer.codevectors",), "entries"),
    ("target_projection/kernel", ("project_q.weight",), "linear"),
    ("target_projection/bias", ("project_q.bias",), "same"),
    ("context_projection/kernel", ("project_hid.weight",), "linear"),
    ("context_projection/bias", ("project_hid.bias",), "same"),
    ("head/kernel", ("lm_head.weight",), "linear"),
    ("head/bias", ("lm_head.bias",), "same"),
    ("layer_weights", ("layer_weights",), "same"),
    ("projector/kernel", ("projector.weight",), "linear"),
    ("projector/bias", ("projector.bias",), "same"),
    ("tdnn/layer_{i}/kernel", ("tdnn.{i}.kernel.weight",), "time_delay"),
    ("tdnn/layer_{i}/bias", ("tdnn.{i}.kernel.bias",), "same"),
    ("embedding/kernel", ("feature_extractor.weight",), "linear"),
    ("embedding/bias", ("feature_extractor.bias",), "same"),
    ("classifier/kernel", ("classifier.weight",), "linear"),
    ("classifier/bias", ("classifier.bias",), "same"),
    ("speakers", ("objective.weight",), "same"),
)  # fmt: skip
# torch spells a weight norm in two ways with equal values; files of both kinds are about.
LEGACY_WEIGHT_NORM = {
    POSITION + "parametrizations.weight.original0": POSITION + "weight_g",
    POSITION + "parametrizations.weight.original1": POSITION + "weight_v",
}
