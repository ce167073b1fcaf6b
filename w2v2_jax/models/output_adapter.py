"""Convolutions that shorten the context after the Transformer: transformers' `Wav2Vec2Adapter`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.layers import Dense, LayerNorm, torch_conv_kernel, torch_linear_bias
from w2v2_jax.models.mixed_precision import add_bias, convolve
from w2v2_jax.models.sharding import named


class GatedConvolution(nn.Module):
    """x [B, T, E] -> the gated linear unit of a convolution with one frame of zeros at either end,
    [B, T', E]."""

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x):
        config, dtype = self.config, jnp.dtype(self.execution.dtype)
        width = x.shape[-1]
        shape = (config.output_adapter_kernel, width, 2 * width)
        kernel = self.param("kernel", named(torch_conv_kernel, (None, None, None)), shape)
        init_bias = torch_linear_bias(shape[0] * shape[1])
        bias = self.param("bias", named(init_bias, (None,)), shape[2:])
        stride = config.output_adapter_stride
        x = add_bias(convolve(x.astype(dtype), kernel, stride=stride, pad=(1, 1)), bias[None, None])
        values, gates = jnp.split(x, 2, axis=-1)
        return (values * jax.nn.sigmoid(gates)).astype(dtype)


class OutputAdapter(nn.Module):
    """context [B, T, D], counts [B] -> (context [B, T', E], counts [B]): a projection where the
    width changes, then `output_adapter_layers` gated convolutions.

    Padded frames are zero before each of them, so that a row has the same output as alone. No layer
    is dropped in training, because transformers' LayerDrop would change the number of frames.
    """

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x, counts):
        config, execution = self.config, self.execution
        if config.output_width != config.d_model:
            project = Dense(
                config.output_width, ("embed", None), dtype=execution.dtype, name="projection"
            )
            x = LayerNorm(execution.dtype, name="norm")(project(x))
        for index in range(config.output_adapter_layers):
            x = jnp.where(frame_mask(counts, x.shape[1])[..., None], x, 0)
            x = GatedConvolution(config, execution, name=f"conv_{index}")(x)
            counts = frame_counts(counts, config.output_layers[-1:])
        return x, counts
