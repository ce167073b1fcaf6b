"""Raw waveform -> latent features: the multi-layer convolutional encoder (paper section 2).

No padding anywhere: a layer gives floor((length - kernel) / stride) + 1 frames, so frames that
come from real samples never see padding, and only the GroupNorm of layer 0 looks across time.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models import first_layer_tpu
from w2v2_jax.models.backend import platform
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.first_layer import folded_group_norm, patches_of, summed_group_norm
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.gabor_kernels import gabor_kernels
from w2v2_jax.models.layers import EPSILON, LayerNorm, gelu, torch_linear_bias
from w2v2_jax.models.mixed_precision import add_bias, contract, range_kept
from w2v2_jax.models.sharding import constrain_all_devices, named
from w2v2_jax.models.strided_conv import choose, formulation_name, viewed_matmul, viewed_rows

# torch kaiming_normal_: fan_in, gain sqrt(2), not truncated.
conv_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=(0, 1), out_axis=2)


def gabor_init(key: jax.Array, shape: tuple[int, int, int], dtype=jnp.float32) -> jax.Array:
    """`gabor_kernels` as [width, 1, channels], whatever the key."""
    return jnp.asarray(gabor_kernels(shape[0], shape[2]), dtype)[:, None]


class ConvLayer(nn.Module):
    """Convolution -> norm ("group", "layer" or none) -> GELU of one feature-encoder layer."""

    config: ModelConfig
    execution: Execution
    index: int
    cut: first_layer_tpu.Cut | None = None

    @nn.compact
    def __call__(self, x, real):
        """x [B, S] (layer 0) or [B, L, I]; real [B, T] frames of the result -> [B, T, O].

        With `cut`, x and the result have PIECES rows for each row of the batch; `real` does not.
        With "one_matmul", layer 0 may append frames of zeros to the result: see `rows_for_next`.
        """
        config, dtype = self.config, jnp.dtype(self.execution.dtype)
        out, width, stride = config.conv_layers[self.index]
        channels = 1 if self.index == 0 else x.shape[-1]
        drawn = gabor_init if self.index == 0 and config.filterbank_init else conv_init
        axes = (None, "conv_in", "conv_out")
        kernel = self.param("kernel", named(drawn, axes), (width, channels, out))
        bias = None
        if config.conv_bias:
            init = torch_linear_bias(width * channels)
            bias = self.param("bias", named(init, ("conv_out",)), (out,))
        viewed = formulation_name(self.execution.conv_formulation, dtype) == "one_matmul"
        grouped = config.extractor_norm == "group" and self.index == 0
        if grouped:  # a bias before this norm has no effect: its mean is subtracted
            scale = self.param("norm_scale", named(nn.initializers.ones, ("conv_out",)), (out,))
            shift = self.param("norm_bias", named(nn.initializers.zeros, ("conv_out",)), (out,))
            if self.cut is not None:
                return self.pieced_group_norm(x, real, kernel[:, 0], scale, shift)
            patches = patches_of(x.astype(jnp.float32), width, stride, real.shape[1])
            if viewed:
                arrays = kernel[:, 0], scale, shift, real, dtype
                return summed_group_norm(patches, *arrays, self.rows_for_next(real.shape[1]))
            return gelu(folded_group_norm(patches, kernel[:, 0], scale, shift, real, dtype))
        if self.index == 0 and self.cut is not None:
            x = first_layer_tpu.convolve(
                first_layer_tpu.taps(x.astype(dtype), width, stride), kernel[:, 0]
            )
        elif self.index == 0:
            patches = patches_of(x.astype(dtype), width, stride, real.shape[1])
            x = contract("btk,ko->bto", patches, kernel[:, 0], range_kept(dtype))
        elif viewed:
            x = viewed_matmul(x.astype(dtype), kernel, stride, real.shape[1])
        else:
            x = choose(self.execution.conv_formulation, dtype)(x.astype(dtype), kernel, stride)
        x = x if bias is None else add_bias(x, bias[None, None])
        if config.extractor_norm == "layer":
            x = LayerNorm(self.execution.dtype, name="norm")(x)
        return gelu(x.astype(dtype))

    def rows_for_next(self, frames: int) -> int:
        """Number of rows, at least `frames`, for which the next layer needs no copy for padding."""
        layers, index = self.config.conv_layers, self.index + 1
        if index == len(layers):
            return frames
        _, width, stride = layers[index]
        return max(
            frames, viewed_rows(frame_counts(frames, layers[index : index + 1]), width, stride)
        )

    def pieced_group_norm(self, x, real, kernel, scale, shift):
        """Layer 0 of BASE over pieces; computed again in the backward pass because its tensors are
        the largest of the model."""
        _, width, stride = self.config.conv_layers[0]
        patches = first_layer_tpu.taps(x.astype(jnp.float32), width, stride)
        weight = first_layer_tpu.owned(real, self.cut, patches.shape[0])
        centred, covariance = first_layer_tpu.statistics(patches, weight)
        centred = centred.astype(self.execution.dtype)
        normalise = functools.partial(first_layer_tpu.group_norm, epsilon=EPSILON)
        layer = jax.checkpoint(lambda *arguments: gelu(normalise(*arguments)))
        return layer(centred, covariance, kernel, scale, shift)


class FeatureExtractor(nn.Module):
    """waveforms [B, S], num_samples [B] -> latents [B, T, C] (fairseq ConvFeatureExtractionModel).

    Raises ValueError when S is shorter than the receptive field (400 samples when released).
    """

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, waveforms, num_samples):
        config, x = self.config, constrain_all_devices(waveforms)
        cut = None
        if platform() == "tpu":
            cut = first_layer_tpu.cut_of(
                frame_counts(x.shape[1], config.conv_layers[:1]), config.conv_layers
            )
            x = constrain_all_devices(first_layer_tpu.cut(x, cut))
        for index in range(len(config.conv_layers)):
            layers = config.conv_layers[: index + 1]
            frames = frame_counts(waveforms.shape[1], layers)  # symbolic when exported
            if frames < 1:
                raise ValueError(f"{waveforms.shape[1]} samples are too few for one frame")
            counts = frame_counts(num_samples, layers)
            if not config.masked_group_norm:
                counts = jnp.full_like(counts, frames)
            layer = ConvLayer(config, self.execution, index, cut, name=f"conv_{index}")
            x = layer(x, frame_mask(counts, frames))
            x = constrain_all_devices(x)
        return x if cut is None else first_layer_tpu.join(x, frames)
