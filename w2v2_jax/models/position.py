"""Relative positions by a weight-normalised grouped convolution over frames (paper section 2)."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from w2v2_jax.models.backend import device_kind, platform, when_needed
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.layers import gelu, standardised, torch_conv_kernel, torch_linear_bias
from w2v2_jax.models.mixed_precision import add_bias, contract, convolve, range_kept
from w2v2_jax.models.sharding import ROWS, WHOLE, named, run_per_device

# Output frames per block, measured for kernel 128 and 48 channels: larger blocks mean fewer copies
# of each frame but more multiplications by zero.
TOEPLITZ_BLOCK = {"cpu": 4, "gpu": 16}

# Frames per block of the kernel's gradient: by libtpu's schedules for v6e faster than 16.
GRADIENT_BLOCK = 8
# TPUs for which libtpu does not compile the gradients of a convolution with so many taps in groups.
WITHOUT_CONVOLUTION_GRADIENTS = ("TPU v6",)


def _with_whole_kernel(formulation, x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """formulation(x [B, T, D], kernel) where every device has its rows and the whole kernel."""
    formulation = functools.partial(formulation, groups=groups)
    return run_per_device(
        formulation, x, kernel, layouts=((ROWS,), WHOLE), result=(ROWS,), kernel=False
    )


def _padding(kernel: jax.Array) -> tuple[int, int]:
    return kernel.shape[0] // 2, kernel.shape[0] - 1 - kernel.shape[0] // 2


def _grouped(x: jax.Array, kernel: jax.Array, *, groups: int) -> jax.Array:
    return convolve(x, kernel, pad=_padding(kernel), groups=groups)


def _paired(x: jax.Array, kernel: jax.Array, *, groups: int, pad=None) -> jax.Array:
    width = kernel.shape[-1] // groups
    fitting = [n for n in range(1, groups + 1) if groups % n == 0 and n * width <= 128]
    joined = max(fitting, default=1)
    place = jnp.arange(kernel.shape[-1]) // width % joined  # of an output's group among its joined
    taps = [jnp.where((place == n)[None, None], kernel, 0) for n in range(joined)]
    pad = pad or _padding(kernel)
    return convolve(x, jnp.concatenate(taps, axis=1), pad=pad, groups=groups // joined)


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
    parts = [
        convolve(inputs, weights, pad=_padding(kernel))
        for inputs, weights in zip(
            jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True
        )
    ]
    return jnp.concatenate(parts, -1)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, width: int, groups: int) -> jax.Array:
    """Of tap k the sum over rows and frames of x[b, t + k - width // 2, i] * gradient[b, t, o], in
    float32 [k, I / groups, O].

    Each block of `gradient` is multiplied with the blocks of x that its taps reach. The products
    of frames that are k apart belong to tap k.
    """
    block = GRADIENT_BLOCK
    blocks, reach = -(-x.shape[1] // block), -(-(width + block - 1) // block)
    before = width // 2
    after = (blocks + reach - 1) * block - x.shape[1] - before
    x = jnp.pad(x, ((0, 0), (before, max(after, 0)), (0, 0)))[:, : (blocks + reach - 1) * block]
    gradient = jnp.pad(gradient, ((0, 0), (0, blocks * block - gradient.shape[1]), (0, 0)))
    x, gradient = (
        rearrange(x, "b (n p) (g i) -> b n p g i", p=block, g=groups) for x in (x, gradient)
    )

    def products(first):
        reached = jax.lax.dynamic_slice_in_dim(x, first, blocks, 1)
        wide = dict(preferred_element_type=jnp.float32)
        return jnp.einsum("bnsgi,bnpgo->gsipo", reached, gradient, **wide)

    found = jax.lax.map(products, jnp.arange(reach))
    found = rearrange(found, "n g s i p o -> p (n s) i g o")
    total = sum(found[p, p : p + width] for p in range(block))
    return rearrange(total, "k i g o -> k i (g o)")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _blocked(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    return _paired(x, kernel, groups=groups)


def _blocked_backward(groups, saved, gradient):
    x, kernel = saved
    gradient = gradient.astype(x.dtype)
    flipped = rearrange(kernel[::-1], "k i (g o) -> k o (g i)", g=groups)
    for_x = _paired(gradient, flipped, groups=groups, pad=_padding(kernel)[::-1])
    for_kernel = _kernel_gradient(x, gradient, kernel.shape[0], groups)
    return for_x.astype(x.dtype), for_kernel.astype(kernel.dtype)


_blocked.defvjp(
    lambda x, kernel, groups: (_blocked(x, kernel, groups), (x, kernel)), _blocked_backward
)


def blocked_backward(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """`paired_groups_conv`, with a backward pass that has no gradient of a convolution: that of x
    is a convolution with the flipped kernel, that of the kernel a product of blocks of frames."""
    return _with_whole_kernel(_blocked, x, kernel, groups)


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
    saved, gradient = when_needed(saved, gradient)
    return jax.vjp(lambda x, kernel: toeplitz_matmul(x, kernel, groups), *saved)[1](gradient)


toeplitz_backward.defvjp(
    lambda x, kernel, groups: (toeplitz_backward(x, kernel, groups), (x, kernel)),
    _toeplitz_backward,
)


FORMULATIONS = {
    "grouped_conv": grouped_conv,
    "paired_groups_conv": paired_groups_conv,
    "blocked_backward": blocked_backward,
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
        if platform() == "tpu" and device_kind().startswith(WITHOUT_CONVOLUTION_GRADIENTS):
            name = "blocked_backward"
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
