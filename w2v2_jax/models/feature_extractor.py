"""Raw waveform -> latent features: the multi-layer convolutional encoder (paper section 2).

No padding anywhere: a layer gives floor((length - kernel) / stride) + 1 frames, so frames that
come from real samples never see padding, and only the GroupNorm of layer 0 looks across time.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models import pieces
from w2v2_jax.models.backend import platform
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.contraction import add_bias, contract, convolve
from w2v2_jax.models.first_layer import folded_group_norm, patches_of, summed_group_norm
from w2v2_jax.models.layers import (
    EPSILON,
    LayerNorm,
    gelu,
    named,
    spread,
    torch_linear_bias,
)

# torch kaiming_normal_: fan_in, gain sqrt(2), not truncated.
conv_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=(0, 1), out_axis=2)


def frame_counts(num_samples, conv_layers):
    """Frames made from `num_samples` (int or integer array, numpy or jax); 0 where too short."""
    count = num_samples
    for _, kernel, stride in conv_layers:
        count = (count - kernel) // stride + 1
        count = count * (count > 0)  # stays an int for ints
    return count


def frame_mask(counts: jax.Array, length: int) -> jax.Array:
    """[B] counts -> [B, length] bool, True on real frames."""
    return jnp.arange(length)[None] < counts[:, None]


def strided_matmul(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Unpadded convolution of x [B, L, I] with kernel [k, I, O] as matmuls on views of x."""
    width, _, out = kernel.shape
    frames = (x.shape[1] - width) // stride + 1
    total = None
    for first in range(0, width, stride):
        taps = kernel[first : first + stride]
        if taps.shape[0] == stride:
            view = x[:, first : first + frames * stride].reshape(x.shape[0], frames, -1)
            part = contract("btk,ko->bto", view, taps.reshape(-1, out))
        else:
            part = sum(
                contract(
                    "bti,io->bto",
                    x[:, first + j : first + j + (frames - 1) * stride + 1 : stride],
                    taps[j],
                )
                for j in range(taps.shape[0])
            )
        total = part if total is None else total + part
    return total


def viewed_rows(frames: int, width: int, stride: int) -> int:
    """Samples in the lines of `stride` that `frames` frames of `width` reach over."""
    return (frames + -(-width // stride) - 1) * stride


def viewed_matmul(x: jax.Array, kernel: jax.Array, stride: int, frames: int) -> jax.Array:
    """The first `frames` frames as one matmul on one view of x, `stride` samples a line: every line
    times the taps of each frame it belongs to, whose parts are then added up.

    A third more multiplications for three taps at stride two, but x is neither sliced nor
    gathered, and the padding to whole lines and the sum fuse into what comes before and after. x
    may be longer than the frames reach.
    """
    width, inputs, out = kernel.shape
    parts = -(-width // stride)  # lines that a frame reaches over
    lines, rows = frames + parts - 1, viewed_rows(frames, width, stride)
    x = x[:, :rows]
    x = jnp.pad(x, ((0, 0), (0, rows - x.shape[1]), (0, 0)))
    taps = jnp.pad(kernel, ((0, parts * stride - width), (0, 0), (0, 0)))
    taps = taps.reshape(parts, stride * inputs, out).swapaxes(0, 1).reshape(-1, parts * out)
    found = contract("btk,ko->bto", x.reshape(x.shape[0], lines, -1), taps)
    return sum(found[:, i : i + frames, i * out : (i + 1) * out] for i in range(parts))


def strided_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The same convolution through XLA's convolution, channels last."""
    return convolve(x, kernel, stride=stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def phased_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`strided_conv` with a backward pass for CPU.

    XLA:CPU computes the gradient of a strided convolution's input over zeros put between the
    frames, and that of its kernel over transposed copies of both operands: half the speed of the
    forward pass, and here four fifths of it.
    """
    return strided_conv(x, kernel, stride)


def _input_gradient(gradient, kernel, stride: int, length: int):
    """Every `stride`-th sample depends on the same taps: one plain convolution each such phase."""
    lines = -(-length // stride)
    phases = []
    for phase in range(stride):
        taps = kernel[phase::stride]
        before, after = taps.shape[0] - 1, lines - gradient.shape[1]
        if before < 0:  # a stride longer than the kernel skips samples
            phases.append(jnp.zeros((gradient.shape[0], lines, kernel.shape[1]), gradient.dtype))
            continue
        padded = jnp.pad(gradient, ((0, 0), (before, after), (0, 0)))
        phases.append(strided_conv(padded, taps[::-1].swapaxes(1, 2), 1))
    joined = jnp.stack(phases, axis=2)
    return joined.reshape(joined.shape[0], lines * stride, -1)[:, :length]


def _kernel_gradient(x, gradient, width: int, stride: int):
    """Matmuls on views of x, row by row: rows and frames contracted at once run at half speed."""
    frames = gradient.shape[1]

    def product(view):
        rows = jnp.einsum("btk,bto->bko", view, gradient, preferred_element_type=jnp.float32)
        return rows.sum(0)

    parts = []
    for first in range(0, width, stride):
        if first + stride <= width:
            view = x[:, first : first + frames * stride].reshape(x.shape[0], frames, -1)
            parts.append(product(view).reshape(stride, x.shape[-1], -1))
        else:
            parts += [
                product(x[:, j : j + (frames - 1) * stride + 1 : stride])[None]
                for j in range(first, width)
            ]
    return jnp.concatenate(parts)


def _phased_backward(stride, saved, gradient):
    x, kernel = saved
    return (
        _input_gradient(gradient, kernel, stride, x.shape[1]),
        _kernel_gradient(x, gradient, kernel.shape[0], stride).astype(kernel.dtype),
    )


phased_conv.defvjp(lambda x, k, stride: (phased_conv(x, k, stride), (x, k)), _phased_backward)


class ConvLayer(nn.Module):
    """Convolution -> norm ("group", "layer" or none) -> GELU of one feature-encoder layer."""

    config: ModelConfig
    index: int
    cut: pieces.Cut | None = None

    @nn.compact
    def __call__(self, x, real):
        """x [B, S] (layer 0) or [B, L, I]; real [B, T] frames of the result -> [B, T, O].

        With `cut`, x and the result have PIECES rows for each row of the batch, `real` has not.
        The result of layer 0 as "view" may have more frames, of zeros, see `rows_for_next`.
        """
        config, dtype = self.config, jnp.dtype(self.config.dtype)
        out, width, stride = config.conv_layers[self.index]
        channels = 1 if self.index == 0 else x.shape[-1]
        kernel = self.param(
            "kernel",
            named(conv_init, (None, "conv_in", "conv_out")),
            (width, channels, out),
        )
        bias = None
        if config.conv_bias:
            init = torch_linear_bias(width * channels)
            bias = self.param("bias", named(init, ("conv_out",)), (out,))
        viewed = formulation_name(config.conv_formulation, dtype) == "view"
        grouped = config.extractor_norm == "group" and self.index == 0
        if grouped:  # a bias before this norm has no effect: its mean is subtracted
            scale = self.param("norm_scale", named(nn.initializers.ones, ("conv_out",)), (out,))
            shift = self.param("norm_bias", named(nn.initializers.zeros, ("conv_out",)), (out,))
            if self.cut is not None:
                return self.pieced_group_norm(x, real, kernel[:, 0], scale, shift)
            patches = patches_of(x.astype(jnp.float32), width, stride, real.shape[1])
            if viewed:
                given = kernel[:, 0], scale, shift, real, dtype
                return summed_group_norm(patches, *given, self.rows_for_next(real.shape[1]))
            return gelu(folded_group_norm(patches, kernel[:, 0], scale, shift, real, dtype))
        if self.index == 0 and self.cut is not None:
            x = pieces.convolve(pieces.taps(x.astype(dtype), width, stride), kernel[:, 0])
        elif self.index == 0:
            patches = patches_of(x.astype(dtype), width, stride, real.shape[1])
            x = contract("btk,ko->bto", patches, kernel[:, 0])
        elif viewed:
            x = viewed_matmul(x.astype(dtype), kernel, stride, real.shape[1])
        else:
            x = choose(config.conv_formulation, dtype)(x.astype(dtype), kernel, stride)
        x = x if bias is None else add_bias(x, bias[None, None])
        if config.extractor_norm == "layer":
            x = LayerNorm(config.dtype, name="norm")(x)
        return gelu(x)

    def rows_for_next(self, frames: int) -> int:
        """Rows that save the next layer's view a copy which only pads: at least `frames`."""
        layers, index = self.config.conv_layers, self.index + 1
        if index == len(layers):
            return frames
        _, width, stride = layers[index]
        return max(
            frames, viewed_rows(frame_counts(frames, layers[index : index + 1]), width, stride)
        )

    def pieced_group_norm(self, x, real, kernel, scale, shift):
        """Layer 0 of BASE over pieces; computed again in the backward pass, its own tensors being
        the largest of the model."""
        _, width, stride = self.config.conv_layers[0]
        patches = pieces.taps(x.astype(jnp.float32), width, stride)
        weight = pieces.owned(real, self.cut, patches.shape[0])
        centred, covariance = pieces.statistics(patches, weight)
        centred = centred.astype(self.config.dtype)
        normalise = functools.partial(pieces.group_norm, epsilon=EPSILON)
        layer = jax.checkpoint(lambda *arguments: gelu(normalise(*arguments)))
        return layer(centred, covariance, kernel, scale, shift)


FORMULATIONS = {"matmul": strided_matmul, "conv": strided_conv, "phased": phased_conv}


def formulation_name(name: str, dtype) -> str:
    """The name itself, or for "auto" that of the fastest where it will run (docs/speed.md).

    XLA:CPU has fast bfloat16 matmuls but computes bfloat16 convolutions in float32.
    """
    if name != "auto":
        return name
    cpu = "matmul" if dtype == jnp.bfloat16 else "phased"
    return {"cpu": cpu, "gpu": "view"}.get(platform(), "conv")


def choose(name: str, dtype):
    """The convolution of a name other than "view"; "auto" as `formulation_name` says."""
    return FORMULATIONS[formulation_name(name, dtype)]


class FeatureExtractor(nn.Module):
    """waveforms [B, S], num_samples [B] -> latents [B, T, C] (fairseq ConvFeatureExtractionModel).

    Raises ValueError when S is shorter than the receptive field (400 samples when released).
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, waveforms, num_samples):
        config, x = self.config, spread(waveforms)
        where = None
        if platform() == "tpu":
            where = pieces.cut_of(
                frame_counts(x.shape[1], config.conv_layers[:1]), config.conv_layers
            )
            x = spread(pieces.cut(x, where))
        for index in range(len(config.conv_layers)):
            layers = config.conv_layers[: index + 1]
            frames = frame_counts(waveforms.shape[1], layers)  # symbolic when exported
            if frames < 1:
                raise ValueError(f"{waveforms.shape[1]} samples are too few for one frame")
            counts = frame_counts(num_samples, layers)
            if not config.masked_group_norm:
                counts = jnp.full_like(counts, frames)
            x = ConvLayer(config, index, where, name=f"conv_{index}")(x, frame_mask(counts, frames))
            x = spread(x)
        return x if where is None else pieces.join(x, frames)
