"""The network as an ONNX graph, written operator by operator from the parameter tree.

`onnx` is the format's own package and follows every opset. Converters from JAX or TensorFlow
translate a traced program, including masks, gathers and reshapes of symbolic sizes, and produce
about a hundred nodes per layer. This network has a dozen kinds of operation, each with its own
ONNX operator (Conv, LayerNormalization, Gelu, MatMul, Softmax), which runtimes fuse and quantise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.layers import EPSILON

OPSET = 23  # Gelu asks for 20; tested with onnxruntime 1.32
IR_VERSION = 11
MASKED = np.float32(-1e30)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes and constants in the order in which they were added, and the model's parameters."""

    onnx: Any  # the package
    parameters: Mapping[str, np.ndarray]
    nodes: list = dataclasses.field(default_factory=list)
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        """Adds a node with one output and returns the output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value) -> str:
        """Stores an array under a name (once)."""
        self.constants.setdefault(name, np.asarray(value, order="C"))
        return name

    def ints(self, *values: int) -> str:
        """A vector of int64, for shapes and axes."""
        return self.constant(f"ints_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def scalar(self, value, dtype=np.float32) -> str:
        return self.constant(f"{np.dtype(dtype).name}_{value}", np.array(value, dtype))

    def parameter(self, path: str, layer: int | None = None) -> np.ndarray:
        """A parameter of the tree; of stacked layers, the part of one layer."""
        value = np.asarray(self.parameters[path], np.float32)
        return value if layer is None else value[layer]


def linear(graph: Graph, x: str, name: str, kernel, bias) -> str:
    """x [..., I] @ kernel [I, O] + bias [O]."""
    x = graph.op("MatMul", x, graph.constant(f"{name}/kernel", kernel))
    return graph.op("Add", x, graph.constant(f"{name}/bias", bias))


def dense(graph: Graph, x: str, path: str, layer: int | None = None) -> str:
    """`linear` with the kernel and bias under a path; layer: of stacked parameters."""
    name = path if layer is None else f"{path}/{layer}"
    kernel, bias = (graph.parameter(f"{path}/{part}", layer) for part in ("kernel", "bias"))
    return linear(graph, x, name, kernel, bias)


def layer_norm(graph: Graph, x: str, path: str, layer: int | None = None) -> str:
    """x [..., D] with mean 0 and variance 1 over D, scaled and shifted as under a path."""
    name = path if layer is None else f"{path}/{layer}"
    scale, bias = (
        graph.constant(f"{name}/{part}", graph.parameter(f"{path}/{part}", layer))
        for part in ("scale", "bias")
    )
    return graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def mask(graph: Graph, x: str, axis: int, counts: str) -> str:
    """[B, L] bool, True before a row's count [B] int64; L is the size of x along `axis`."""
    length = graph.op("Shape", x, start=axis, end=axis + 1)
    length = graph.op("Squeeze", length)
    positions = graph.op("Range", graph.scalar(0, np.int64), length, graph.scalar(1, np.int64))
    return graph.op("Less", positions, graph.op("Unsqueeze", counts, graph.ints(1)))


def moments(graph: Graph, x: str, real: str, axis: int) -> tuple[str, str]:
    """x minus its mean, and the variance, over the entries along `axis` where real is 1."""
    axes = graph.ints(axis)
    count = graph.op("ReduceSum", real, axes, keepdims=1)
    count = graph.op("Max", count, graph.scalar(1.0))
    total = graph.op("ReduceSum", graph.op("Mul", x, real), axes, keepdims=1)
    centred = graph.op("Sub", x, graph.op("Div", total, count))
    squares = graph.op("Mul", graph.op("Mul", centred, centred), real)
    total = graph.op("ReduceSum", squares, axes, keepdims=1)
    return centred, graph.op("Div", total, count)


def standardised(graph: Graph, x: str, real: str, axis: int, epsilon: float) -> str:
    """Zero mean and unit variance over the real entries along `axis`."""
    centred, variance = moments(graph, x, real, axis)
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.scalar(epsilon)))
    return graph.op("Div", centred, deviation)


def masked_waveforms(graph: Graph, num_samples: str, *, epsilon: float | None) -> str:
    """The input with zeros after each row's samples, normalised as in `input_scale` with the
    model's epsilon; epsilon None leaves it unnormalised."""
    real = mask(graph, "waveforms", 1, num_samples)
    x = graph.op("Where", real, "waveforms", graph.scalar(0.0))
    if epsilon is not None:
        weight = graph.op("Cast", real, to=graph.onnx.TensorProto.FLOAT)
        x, _ = moments(graph, x, weight, 1)  # twice: a large offset makes the first inexact
        x = standardised(graph, x, weight, 1, epsilon)
        x = graph.op("Where", real, x, graph.scalar(0.0))
    return x


def frame_counts(graph: Graph, counts: str, kernel: int, stride: int) -> str:
    """The number of frames that one convolution makes of `counts` int64; 0 if there are too few."""
    counts = graph.op("Sub", counts, graph.scalar(kernel, np.int64))
    counts = graph.op("Div", counts, graph.scalar(stride, np.int64))
    counts = graph.op("Add", counts, graph.scalar(1, np.int64))
    return graph.op("Max", counts, graph.scalar(0, np.int64))


def feature_extractor(graph: Graph, config: ModelConfig, x: str, counts: str) -> tuple[str, str]:
    """x [B, S], counts [B] samples -> features [B, T, C] and frames [B]."""
    x = graph.op("Unsqueeze", x, graph.ints(1))  # [B, 1, S]
    for index, (_, width, stride) in enumerate(config.conv_layers):
        path = f"encoder/feature_extractor/conv_{index}"
        kernel = graph.constant(
            f"{path}/kernel", graph.parameter(f"{path}/kernel").transpose(2, 1, 0)
        )
        inputs = [x, kernel]
        if config.conv_bias:
            inputs.append(graph.constant(f"{path}/bias", graph.parameter(f"{path}/bias")))
        x = graph.op("Conv", *inputs, strides=[stride], kernel_shape=[width])  # [B, C, L]
        counts = frame_counts(graph, counts, width, stride)
        if config.extractor_norm == "layer":
            x = graph.op("Transpose", x, perm=[0, 2, 1])
            x = layer_norm(graph, x, f"{path}/norm")
            x = graph.op("Transpose", x, perm=[0, 2, 1])
        elif index == 0:
            x = group_norm(graph, config, x, counts, path)
        x = graph.op("Gelu", x)
    return graph.op("Transpose", x, perm=[0, 2, 1]), counts


def group_norm(graph: Graph, config: ModelConfig, x: str, counts: str, path: str) -> str:
    """Normalises each channel of x [B, C, L] over time; over real frames only if the model does."""
    real = mask(graph, x, 2, counts)
    if not config.masked_group_norm:
        real = graph.op("Or", real, graph.op("Not", real))
    real = graph.op("Cast", real, to=graph.onnx.TensorProto.FLOAT)
    x = standardised(graph, x, graph.op("Unsqueeze", real, graph.ints(1)), 2, EPSILON)
    scale, shift = (
        graph.constant(f"{path}/{part}", graph.parameter(f"{path}/{part}")[:, None])
        for part in ("norm_scale", "norm_bias")
    )
    return graph.op("Add", graph.op("Mul", x, scale), shift)


def position(graph: Graph, config: ModelConfig, x: str, real: str) -> str:
    """What the positional convolutions add to x [B, T, D], zero beyond real [B, T, 1]."""
    path = "encoder/transformer/position"
    if config.position_depth == 1:
        direction = graph.parameter(f"{path}/direction")
        norm = np.sqrt(np.square(direction).sum((1, 2), keepdims=True))
        kernel = direction * (graph.parameter(f"{path}/magnitude")[:, None, None] / norm)
        return graph.op("Gelu", _position_conv(graph, config, x, path, kernel))
    ones, zeros = (
        graph.constant(f"{path}/{name}", np.full(config.d_model, value, np.float32))
        for name, value in (("ones", 1), ("zeros", 0))
    )
    for index in range(config.position_depth):
        kernel = graph.parameter(f"{path}/conv_{index}/kernel")
        x = _position_conv(graph, config, x, f"{path}/conv_{index}", kernel)
        x = graph.op("LayerNormalization", x, ones, zeros, axis=-1, epsilon=EPSILON)
        x = graph.op("Where", real, graph.op("Gelu", x), graph.scalar(0.0))
    return x


def _position_conv(graph: Graph, config: ModelConfig, x: str, path: str, kernel) -> str:
    """The convolution of x [B, T, D] over frames with kernel [k, in, out] and the path's bias."""
    width = len(kernel)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.op(
        "Conv",
        x,
        graph.constant(f"{path}/kernel", kernel.transpose(2, 1, 0)),
        graph.constant(f"{path}/bias", graph.parameter(f"{path}/bias")),
        group=config.position_groups,
        kernel_shape=[width],
        pads=[width // 2, width - 1 - width // 2],
    )
    return graph.op("Transpose", x, perm=[0, 2, 1])


def output_adapter(graph: Graph, config: ModelConfig, x: str, counts: str) -> tuple[str, str]:
    """Context [B, T, D] and frames [B] -> the shortened context and its frames."""
    path, width = "encoder/output_adapter", config.output_adapter_kernel
    if config.output_width != config.d_model:
        x = layer_norm(graph, dense(graph, x, f"{path}/projection"), f"{path}/norm")
    for index in range(config.output_adapter_layers):
        real = graph.op("Unsqueeze", mask(graph, x, 1, counts), graph.ints(2))
        x = graph.op("Where", real, x, graph.scalar(0.0))
        kernel = graph.parameter(f"{path}/conv_{index}/kernel").transpose(2, 1, 0)
        x = graph.op(
            "Conv",
            graph.op("Transpose", x, perm=[0, 2, 1]),
            graph.constant(f"{path}/conv_{index}/kernel", kernel),
            graph.constant(
                f"{path}/conv_{index}/bias", graph.parameter(f"{path}/conv_{index}/bias")
            ),
            kernel_shape=[width],
            strides=[config.output_adapter_stride],
            pads=[1, 1],
        )
        values, gates = (
            graph.op("Slice", x, graph.ints(first), graph.ints(last), graph.ints(1))
            for first, last in ((0, config.output_width), (config.output_width, 1 << 20))
        )
        x = graph.op("Mul", values, graph.op("Sigmoid", gates))
        x = graph.op("Transpose", x, perm=[0, 2, 1])
        counts = frame_counts(graph, counts, width - 2, config.output_adapter_stride)
    return x, counts
