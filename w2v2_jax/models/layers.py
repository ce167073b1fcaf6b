"""Primitives that all parts share: exact GELU, float32 LayerNorm, Dense, gradient scale."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models.backend import when_needed
from w2v2_jax.models.mixed_precision import add_bias, contract
from w2v2_jax.models.sharding import named

EPSILON = 1e-5  # torch's default, everywhere (docs/traps.md#t20)
SQRT_HALF = 0.7071067811865476
LOG2E = math.log2(math.e)  # kernels take exponentials in base 2, the hardware's own
INV_SQRT_TAU = 0.3989422804014327


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """Exact (erf) GELU (docs/traps.md#t16); its backward pass needs only the input."""
    half = x.astype(jnp.float32)
    return (half * 0.5 * (1.0 + jax.lax.erf(half * SQRT_HALF))).astype(x.dtype)


def _gelu_forward(x):
    return gelu(x), x


def _gelu_backward(x, gradient):
    x, gradient = when_needed(x, gradient)
    value = x.astype(jnp.float32)
    cdf = 0.5 * (1.0 + jax.lax.erf(value * SQRT_HALF))
    slope = cdf + value * INV_SQRT_TAU * jnp.exp(-0.5 * value * value)
    return ((gradient.astype(jnp.float32) * slope).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _scaled(x, scale):
    return x


_scaled.defvjp(lambda x, scale: (x, None), lambda scale, _, gradient: (gradient * scale,))


def scale_gradient(x: jax.Array, scale: float) -> jax.Array:
    """Identity whose gradient is multiplied by `scale` (fairseq GradMultiply); 0 cuts it."""
    return jax.lax.stop_gradient(x) if scale == 0.0 else _scaled(x, scale)


def channels(vector: jax.Array, x: jax.Array) -> jax.Array:
    """vector [C] with the rank of x [..., C]: rank promotion is an error in the tests."""
    return jax.lax.expand_dims(vector, range(x.ndim - 1))


def standardised(x: jax.Array) -> jax.Array:
    """Mean 0 and variance 1 over the last axis, in float32 (docs/traps.md#t21)."""
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + EPSILON)


class LayerNorm(nn.Module):
    """LayerNorm over the last axis, in float32, returned in `dtype`."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        shape = (x.shape[-1],)
        names = ("norm",)
        scale = self.param("scale", named(nn.initializers.ones, names), shape)
        bias = self.param("bias", named(nn.initializers.zeros, names), shape)
        normalised = standardised(x)
        return (normalised * channels(scale, x) + channels(bias, x)).astype(self.dtype)


def torch_linear_bias(fan_in: int):
    """torch's default bias initialisation: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def torch_linear_kernel(key, shape, dtype=jnp.float32):
    """torch's default Linear weight initialisation: uniform in +-1/sqrt(fan_in)."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def torch_conv_kernel(key, shape, dtype=jnp.float32):
    """torch's default Conv1d weight initialisation, of a kernel [k, in, out]."""
    taps, inputs, outputs = shape
    return torch_linear_kernel(key, (taps * inputs, outputs), dtype).reshape(shape)


class Dense(nn.Module):
    """x [..., I] @ kernel [I, O] + bias; axes name the kernel's two logical axes."""

    features: int
    axes: tuple[str | None, str | None]
    kernel_init: nn.initializers.Initializer = torch_linear_kernel
    bias_init: nn.initializers.Initializer | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        fan_in = x.shape[-1]
        bias_init = self.bias_init or torch_linear_bias(fan_in)
        kernel = self.param("kernel", named(self.kernel_init, self.axes), (fan_in, self.features))
        bias = self.param("bias", named(bias_init, self.axes[1:]), (self.features,))
        dtype = jnp.dtype(self.dtype)
        rows = "abcd"[: x.ndim - 1]
        out = contract(f"{rows}i,io->{rows}o", x.astype(dtype), kernel)
        return add_bias(out, channels(bias, x))
