"""The heads of a network in ONNX operators: CTC, classifiers, x-vectors; see `onnx_graph`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.export.onnx_graph import Graph, dense, mask
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.heads import tdnn_loss

LEAST = np.float32(1.0)  # frames that a mean is at least divided by


class Output(NamedTuple):
    """value: a result's name inside the graph; name and shape: what callers see of it."""

    value: str
    name: str
    shape: tuple[str | int, ...]


class Hidden(NamedTuple):
    """context [B, T, D], frames [B] int64, states: every block's input and the last output."""

    context: str
    counts: str
    states: Sequence[str]


def _frames(graph: Graph, hidden: Hidden) -> Output:
    counts = graph.op("Cast", hidden.counts, to=graph.onnx.TensorProto.INT32)
    return Output(counts, "frames", ("batch",))


def _seen(graph: Graph, config: ModelConfig, hidden: Hidden) -> str:
    """What a head sees [B, T, D]: the context, or the learned sum of all layers."""
    if not config.layer_sum:
        return hidden.context
    weights = graph.parameter("layer_weights").astype(np.float64)
    shares = np.exp(weights - weights.max())
    shares = (shares / shares.sum()).astype(np.float32)
    parts = [
        graph.op("Mul", state, graph.constant(f"layer_weights/{layer}", share))
        for layer, (state, share) in enumerate(zip(hidden.states, shares, strict=True))
    ]
    return graph.op("Sum", *parts)


def _mean(graph: Graph, x: str, counts: str) -> str:
    """Means of x [B, T, C] over each row's first counts [B] frames, [B, C]."""
    real = graph.op("Unsqueeze", mask(graph, x, 1, counts), graph.ints(2))
    total = graph.op(
        "ReduceSum", graph.op("Where", real, x, graph.scalar(0.0)), graph.ints(1), keepdims=0
    )
    return graph.op("Div", total, _divisor(graph, counts))


def _divisor(graph: Graph, counts: str) -> str:
    """counts [B] as floats [B, 1], at least 1."""
    counts = graph.op("Cast", counts, to=graph.onnx.TensorProto.FLOAT)
    counts = graph.op("Max", counts, graph.scalar(LEAST))
    return graph.op("Unsqueeze", counts, graph.ints(1))


def ctc(graph: Graph, config: ModelConfig, hidden: Hidden, classes: int) -> list[Output]:
    """logits [B, T, C] and frames [B]."""
    logits = dense(graph, hidden.context, "head")
    shape = ("batch", "frames", classes)
    return [Output(logits, "logits", shape), _frames(graph, hidden)]


def classify(graph: Graph, config: ModelConfig, hidden: Hidden, classes: int) -> list[Output]:
    """logits [B, C] of whole recordings."""
    x = dense(graph, _seen(graph, config, hidden), "projector")
    logits = dense(graph, _mean(graph, x, hidden.counts), "classifier")
    return [Output(logits, "logits", ("batch", classes))]


def frames(graph: Graph, config: ModelConfig, hidden: Hidden, classes: int) -> list[Output]:
    """logits [B, T, C] of every frame, and frames [B]."""
    logits = dense(graph, _seen(graph, config, hidden), "classifier")
    shape = ("batch", "frames", classes)
    return [Output(logits, "logits", shape), _frames(graph, hidden)]


def xvector(graph: Graph, config: ModelConfig, hidden: Hidden, classes: int) -> list[Output]:
    """embeddings [B, E]; `models/heads.py` says of which frames."""
    x = dense(graph, _seen(graph, config, hidden), "projector")
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    for index, (_, width, dilation) in enumerate(config.tdnn_layers):
        path = f"tdnn/layer_{index}"
        kernel = graph.parameter(f"{path}/kernel").transpose(2, 1, 0)
        x = graph.op(
            "Conv",
            x,
            graph.constant(f"{path}/kernel", kernel),
            graph.constant(f"{path}/bias", graph.parameter(f"{path}/bias")),
            kernel_shape=[width],
            dilations=[dilation],
        )
        x = graph.op("Relu", x)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    counts = graph.op("Sub", hidden.counts, graph.scalar(tdnn_loss(config), np.int64))
    mean = _mean(graph, x, counts)
    centred = graph.op("Sub", x, graph.op("Unsqueeze", mean, graph.ints(1)))
    variance = _mean(graph, graph.op("Mul", centred, centred), counts)
    fewer = graph.op("Sub", counts, graph.scalar(1, np.int64))  # torch divides by one frame less
    ratio = graph.op("Div", _divisor(graph, counts), _divisor(graph, fewer))
    deviation = graph.op("Sqrt", graph.op("Mul", variance, ratio))
    both = graph.op("Concat", mean, deviation, axis=-1)
    embeddings = dense(graph, both, "embedding")
    return [Output(embeddings, "embeddings", ("batch", config.embedding_dim))]


HEADS: dict[str, Callable[[Graph, ModelConfig, Hidden, int], list[Output]]] = {
    "ctc": ctc,
    "classify": classify,
    "frames": frames,
    "xvector": xvector,
}
