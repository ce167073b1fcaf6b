"""The context network and the head in ONNX operators; see `onnx_graph`."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.export.onnx_graph import (
    IR_VERSION,
    MASKED,
    OPSET,
    Graph,
    dense,
    feature_extractor,
    layer_norm,
    linear,
    mask,
    masked_waveforms,
    output_adapter,
    position,
)
from w2v2_jax.models.config import ModelConfig

LAYERS = "encoder/transformer/layers"


def attention(graph: Graph, config: ModelConfig, x: str, real: str, layer: int) -> str:
    """x [B, T, D], real [B, 1, 1, T] -> [B, T, D]."""
    path, dim, heads = f"{LAYERS}/attention", config.d_model, config.num_heads
    kernel = graph.parameter(f"{path}/qkv_kernel", layer).reshape(dim, 3 * dim).copy()
    bias = graph.parameter(f"{path}/qkv_bias", layer).reshape(3 * dim).copy()
    scale = np.float32((dim // heads) ** -0.5)
    kernel[:, :dim] *= scale  # here the scale of the queries is part of their weights
    bias[:dim] *= scale
    x = linear(graph, x, f"{path}/qkv/{layer}", kernel, bias)
    x = graph.op("Reshape", x, graph.ints(0, 0, 3, heads, dim // heads))
    x = graph.op("Transpose", x, perm=[2, 0, 3, 1, 4])  # [3, B, H, T, d]
    query, key, value = (
        graph.op("Gather", x, graph.scalar(index, np.int64), axis=0) for index in range(3)
    )
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = graph.op("Where", real, scores, graph.constant("masked", MASKED))
    x = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    x = graph.op("Reshape", graph.op("Transpose", x, perm=[0, 2, 1, 3]), graph.ints(0, 0, dim))
    kernel = graph.parameter(f"{path}/out_kernel", layer).reshape(dim, dim)
    return linear(
        graph, x, f"{path}/out/{layer}", kernel, graph.parameter(f"{path}/out_bias", layer)
    )


def block(graph: Graph, config: ModelConfig, x: str, real: str, layer: int) -> str:
    """One Transformer layer, post-LN or pre-LN, with its adapter where the model has one."""
    pre = config.norm_order == "pre"
    y = layer_norm(graph, x, f"{LAYERS}/attention_norm", layer) if pre else x
    x = graph.op("Add", x, attention(graph, config, y, real, layer))
    x = x if pre else layer_norm(graph, x, f"{LAYERS}/attention_norm", layer)
    y = layer_norm(graph, x, f"{LAYERS}/feed_forward_norm", layer) if pre else x
    y = graph.op("Gelu", dense(graph, y, f"{LAYERS}/feed_forward_in", layer))
    x = graph.op("Add", x, dense(graph, y, f"{LAYERS}/feed_forward_out", layer))
    x = x if pre else layer_norm(graph, x, f"{LAYERS}/feed_forward_norm", layer)
    if config.adapter_dim:
        y = layer_norm(graph, x, f"{LAYERS}/adapter/norm", layer)
        y = graph.op("Relu", dense(graph, y, f"{LAYERS}/adapter/down", layer))
        x = graph.op("Add", x, dense(graph, y, f"{LAYERS}/adapter/up", layer))
    return x


def network(graph: Graph, config: ModelConfig, *, epsilon: float | None) -> tuple[str, str]:
    """The inputs `waveforms` and `num_samples` -> the names of logits [B, T, C] and frames [B].

    epsilon: as in `masked_waveforms`."""
    int32, int64 = graph.onnx.TensorProto.INT32, graph.onnx.TensorProto.INT64
    num_samples = graph.op("Cast", "num_samples", to=int64)
    x = masked_waveforms(graph, num_samples, epsilon=epsilon)
    x, counts = feature_extractor(graph, config, x, num_samples)
    real = mask(graph, x, 1, counts)  # [B, T]
    x = layer_norm(graph, x, "encoder/feature_norm")
    if config.projects_features:
        x = dense(graph, x, "encoder/feature_projection")
    frames = graph.op("Unsqueeze", real, graph.ints(2))
    x = graph.op("Where", frames, x, graph.scalar(0.0))
    x = graph.op("Add", x, position(graph, config, x, frames))
    pre = config.norm_order == "pre"
    x = x if pre else layer_norm(graph, x, "encoder/transformer/norm")
    real = graph.op("Unsqueeze", real, graph.ints(1, 2))
    for layer in range(config.num_layers):
        x = block(graph, config, x, real, layer)
    x = layer_norm(graph, x, "encoder/transformer/norm") if pre else x
    if config.output_adapter_layers:
        x, counts = output_adapter(graph, config, x, counts)
    return dense(graph, x, "head"), graph.op("Cast", counts, to=int32)


def build(onnx, loaded: Loaded) -> Any:
    """The ModelProto of a CTC checkpoint; batch, samples and frames are dynamic."""
    config, vocabulary = loaded.description.model, loaded.description.ctc_vocabulary
    graph = Graph(onnx, trees.flatten(loaded.params))
    description = loaded.description
    epsilon = description.normalise_epsilon if description.normalise else None
    results = network(graph, config, epsilon=epsilon)
    for name, result in zip(("logits", "frames"), results, strict=True):
        graph.nodes.append(onnx.helper.make_node("Identity", [result], [name], name))
    value, proto = onnx.helper.make_tensor_value_info, onnx.TensorProto
    made = onnx.helper.make_graph(
        graph.nodes,
        "wav2vec2",
        [
            value("waveforms", proto.FLOAT, ["batch", "samples"]),
            value("num_samples", proto.INT32, ["batch"]),
        ],
        [
            value("logits", proto.FLOAT, ["batch", "frames", len(vocabulary)]),
            value("frames", proto.INT32, ["batch"]),
        ],
        [onnx.numpy_helper.from_array(x, name) for name, x in graph.constants.items()],
    )
    return onnx.helper.make_model(
        made,
        producer_name="w2v2_jax",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
