"""Relative positions by a weight-normalised grouped convolution over frames (paper section 2)."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from w2v2_jax.models.backend import platform
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.layers import gelu, standardised, torch_conv_kernel, torch_linear_bias
from w2v2_jax.models.mixed_precision import add_bias, contract, convolve, range_kept
from w2v2_jax.models.sharding import ROWS, WHOLE, named, run_per_device

# Output frames per block, measured for kernel 128 and 48 channels: larger blocks mean fewer copies
# of each frame but more multiplications by zero.
TOEPLITZ_BLOCK = {"cpu": 4, "gpu": 16}


def _with_whole_kernel(formulation, x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """formulation(x [B, T, D], kernel) where every device has its rows and the whole kernel."""
    formulation = functools.partial(formulation, groups=groups)
    return run_per_device(
        formulation, x, kernel, layouts=((ROWS,), WHOLE), result=(ROWS,), kernel=False
    )


def _grouped(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    width = kernel.shape[0]
    return convolve(x, kernel, pad=(width // 2, width - 1 - width // 2), groups=groups)


def _paired(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    width = kernel.shape[-1] // groups
    fitting = [n for n in range(1, groups + 1) if groups % n == 0 and n * width <= 128]
    joined = max(fitting, default=1)
    place = jnp.arange(kernel.shape[-1]) // width % joined  # of an output's group among its joined
    taps = [jnp.where((place == n)[None, None], kernel, 0) for n in range(joined)]
    return _grouped(x, jnp.concatenate(taps, axis=1), groups=groups // joined)


def grouped_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """XLA's grouped convolution; backward on CPU 28 times slower than `toeplitz_matmul`."""
    return _with_whole_kernel(_grouped, x, kernel, groups)


def paired_groups_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """`grouped_conv` with neighbouring groups joined as long as they fit into 128 channels, the
    width of a TPU's matrix unit: pairs of 48-wide groups, with zero weights between the two, need
    half the passes."""
    return _with_whole_kernel(_paired, x, kernel, groups)


def conv_per_group(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """One ungrouped convolution per group."""
    width = kernel.shape[0]
    parts = [
        convolve(inputs, weights, pad=(width // 2, width - 1 - width // 2))
        for inputs, weights in zip(
            jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True
        )
    ]
    return jnp.concatenate(parts, -1)


def _gathered(x: jax.Array, blocks: int, block: int, span: int) -> jax.Array:
    """[B, L, D] -> [B, blocks, span, D]: `span` frames from every `block`-th on."""
    starts = jnp.arange(blocks)[:, None] * block + jnp.arange(span)[None]
    return x[:, starts]


def _joined(x: jax.Array, blocks: int, block: int, span: int) -> jax.Array:
    """The same from neighbouring blocks: its gradient is a sum of shifted blocks, no scatter."""
    reach = -(-span // block)
    x = jnp.pad(x, ((0, 0), (0, (blocks + reach - 1) * block - x.shape[1]), (0, 0)))
    x = rearrange(x, "b (n s) d -> b n s d", s=block)
    return jnp.concatenate([x[:, i : i + blocks] for i in range(reach)], axis=2)[:, :, :span]


def _toeplitz(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    batch, frames, _ = x.shape
    width = kernel.shape[0]
    on_cpu = platform() == "cpu"
    block = TOEPLITZ_BLOCK["cpu" if on_cpu else "gpu"]
    blocks = -(-frames // block)
    span = block + width - 1
    if not on_cpu:
        span += -span % block  # whole blocks, so that `_joined` need not cut any
    left = width // 2
    x = jnp.pad(x, ((0, 0), (left, blocks * block - frames + span - block - left), (0, 0)))
    windows = (_gathered if on_cpu else _joined)(x, blocks, block, span)  # CPU: 0.8 of the time
    windows = rearrange(windows, "b n s (g i) -> g (b n) (s i)", g=groups)
    taps = rearrange(kernel, "k i (g o) -> g k i o", g=groups)
    shifted = [jnp.pad(taps, ((0, 0), (p, span - width - p), (0, 0), (0, 0))) for p in range(block)]
    matrix = rearrange(jnp.stack(shifted), "p g s i o -> g (s i) (p o)")
    out = contract("gns,gso->gno", windows, matrix, range_kept(x.dtype))
    out = rearrange(out, "g (b n) (p o) -> b (n p) (g o)", b=batch, p=block)
    return out[:, :frames]


def toeplitz_matmul(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """The same as one batched matmul of blocks of P output frames with a Toeplitz matrix. Each
    device makes the matrix for itself, because it and its gradient are much larger than the
    kernel."""
    return _with_whole_kernel(_toeplitz, x, kernel, groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def toeplitz_backward(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """`conv_per_group` forward, `toeplitz_matmul` backward: the faster of the two on CPU."""
    return conv_per_group(x, kernel, groups)


def _toeplitz_backward(groups, saved, gradient):
    return jax.vjp(lambda x, kernel: toeplitz_matmul(x, kernel, groups), *saved)[1](gradient)


toeplitz_backward.defvjp(
    lambda x, kernel, groups: (toeplitz_backward(x, kernel, groups), (x, kernel)),
    _toeplitz_backward,
)


FORMULATIONS = {
    "grouped_conv": grouped_conv,
    "paired_groups_conv": paired_groups_conv,
    "conv_per_group": conv_per_group,
    "toeplitz_matmul": toeplitz_matmul,
    "toeplitz_backward": toeplitz_backward,
}


def choose(name: str):
    """The formulation of a name; "auto" is the fastest one measured on the device."""
    if name == "auto":
        name = {
            "cpu": "toeplitz_backward",
            "tpu": "paired_groups_conv",
            "gpu": "toeplitz_matmul",
        }.get(platform(), "grouped_conv")
    return FORMULATIONS[name]


class PositionalConvolution(nn.Module):
    """x [B, T, D] (zero where padded, docs/traps.md#t19) -> GELU(conv(x)) [B, T, D].

    An even kernel loses its last output frame (docs/traps.md#t14), so frame t sees t-64 .. t+63.
    The weight norm is over input and output channels: one magnitude per tap (docs/traps.md#t15).
    """

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x):
        config = self.config
        width, dim = config.position_kernel, config.d_model
        deviation = math.sqrt(4.0 / (width * dim))
        direction = self.param(
            "direction",
            named(nn.initializers.normal(deviation), (None, None, "position_out")),
            (width, dim // config.position_groups, dim),
        )
        norm = jnp.sqrt(jnp.square(direction).sum((1, 2), keepdims=True))  # [k, 1, 1]
        magnitude = self.param(
            "magnitude",
            named(lambda key, shape: norm.reshape(shape), (None,)),
            (width,),
        )
        bias = self.param("bias", named(nn.initializers.zeros, ("position_out",)), (dim,))
        kernel = direction * (magnitude[:, None, None] / norm)
        dtype = jnp.dtype(self.execution.dtype)
        formulation = choose(self.execution.position_formulation)
        out = formulation(x.astype(dtype), kernel, config.position_groups)
        return gelu(add_bias(out, bias[None, None])).astype(dtype)


class PlainConvolution(nn.Module):
    """x [B, T, D] -> GELU(norm(conv(x))) [B, T, D], the norm without parameters."""

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x):
        config, dtype = self.config, jnp.dtype(self.execution.dtype)
        shape = (config.position_kernel, config.d_model // config.position_groups, config.d_model)
        kernel = self.param("kernel", named(torch_conv_kernel, (None, None, "position_out")), shape)
        init_bias = torch_linear_bias(shape[0] * shape[1])
        bias = self.param("bias", named(init_bias, ("position_out",)), shape[2:])
        formulation = choose(self.execution.position_formulation)
        x = formulation(x.astype(dtype), kernel, config.position_groups)
        return gelu(standardised(add_bias(x, bias[None, None])).astype(dtype))


class StackedConvolutions(nn.Module):
    """x [B, T, D] (zero where padded), real [B, T] -> [B, T, D]: `position_depth` convolutions one
    after the other (fairseq's pos_conv_depth, data2vec-audio).

    Padded frames are zero before each of them, so that a row has the same output as alone.
    """

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x, real):
        for index in range(self.config.position_depth):
            x = PlainConvolution(self.config, self.execution, name=f"conv_{index}")(x)
            x = jnp.where(real[..., None], x, 0)
        return x
