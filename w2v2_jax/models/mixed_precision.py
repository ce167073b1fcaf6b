"""Products and convolutions of a bfloat16 or float16 network: operands of that dtype forward and
backward, float32 sums, and gradients of float32 parameters that are not rounded before devices add
them up."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from w2v2_jax.models.backend import platform


def range_kept(dtype) -> str | None:
    """The dtype of a sum that may be large until it is normalised: float32 for float16, whose
    largest number is 65504. None: the operands' dtype, because bfloat16 has float32's range."""
    return "float32" if dtype == jnp.float16 else None


def contract(spec: str, a: jax.Array, b: jax.Array, out: str | None = None) -> jax.Array:
    """einsum(spec, a, b) of two operands in a's dtype; the result has dtype `out`, or a's.

    spec: every index of an operand is in the result or in the other operand. b may be a float32
    parameter: it is cast, and its gradient is float32 and was never rounded. JAX's own gradient is
    that of the cast operand, so devices would sum bfloat16; and for a product with a float32 result
    it multiplies in float32, at half the speed or less.
    """
    if a.dtype == jnp.float32:
        return jnp.einsum(spec, a, b)
    return _contract(spec, out or a.dtype.name, a, b)


def _product(spec: str, a: jax.Array, b: jax.Array, out) -> jax.Array:
    # XLA:CPU has fast bfloat16 products only for float32 results: 2.0 times float32's speed. With a
    # bfloat16 result it converts the operands and multiplies in float32.
    wide = jnp.float32 if platform() == "cpu" or out == jnp.float32 else None
    return jnp.einsum(spec, a, b, preferred_element_type=wide).astype(out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _contract(spec, out, a, b):
    return _product(spec, a, b.astype(a.dtype), jnp.dtype(out))


def _forward(spec, out, a, b):
    # Not `_contract` again: a remat policy that keeps matmuls must see one here.
    return _product(spec, a, b.astype(a.dtype), jnp.dtype(out)), (a, b)


def _backward(spec, out, saved, gradient):
    a, b = saved
    operands, result = spec.split("->")
    first, second = operands.split(",")
    gradient = gradient.astype(a.dtype)
    for_a = _product(f"{result},{second}->{first}", gradient, b.astype(a.dtype), a.dtype)
    return for_a, _product(f"{first},{result}->{second}", a, gradient, b.dtype)


_contract.defvjp(_forward, _backward)


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    pad: tuple[int, int] = (0, 0),
    groups: int = 1,
) -> jax.Array:
    """XLA's convolution of x [B, L, I] with kernel [k, I / groups, O] -> [B, T, O] in x's dtype, in
    float32 for float16 (`range_kept`).

    The kernel may be a float32 parameter, as b of `contract`. On GPU its gradient has been rounded
    once in bfloat16: cuDNN's convolutions have results of their operands' dtype. So those of
    float16 have float32 operands there, whose values were rounded to float16.
    """
    if kernel.dtype == x.dtype:
        return _convolution(x, kernel, stride, pad, groups)
    return _convolve(x, kernel, stride, pad, groups)


def _convolution(x, kernel, stride, pad, groups, out=None):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        (pad,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
        preferred_element_type=out,
    )


def _widened(*operands: jax.Array) -> tuple[jax.Array, ...]:
    """The operands of a convolution whose result must be float32: float32 for float16 on GPU."""
    if platform() == "gpu" and operands[0].dtype == jnp.float16:
        return tuple(x.astype(jnp.float32) for x in operands)
    return operands


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x, kernel, stride, pad, groups):
    out = range_kept(x.dtype)
    return _convolution(*_widened(x, kernel.astype(x.dtype)), stride, pad, groups, out)


def _convolve_forward(x, kernel, stride, pad, groups):
    return _convolve(x, kernel, stride, pad, groups), (x, kernel)


def _convolve_backward(stride, pad, groups, saved, gradient):
    x, kernel = saved
    narrow, gradient = kernel.astype(x.dtype), gradient.astype(x.dtype)
    (for_x,) = jax.vjp(lambda x: _convolution(x, narrow, stride, pad, groups), x)[1](gradient)
    # sum over rows and frames of x[b, t * stride + k - left, i] * gradient[b, t, o]
    end = (gradient.shape[1] - 1) * stride + kernel.shape[0] - x.shape[1] - pad[0]
    x, gradient = _widened(x, gradient)
    for_kernel = jax.lax.conv_general_dilated(
        x,
        gradient,
        (1,),
        ((pad[0], end),),
        rhs_dilation=(stride,),
        dimension_numbers=("CWN", "IWO", "WNC"),
        batch_group_count=groups,
        preferred_element_type=None if platform() == "gpu" else kernel.dtype,
    )
    return for_x, for_kernel.astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """x + bias in x's dtype; bias has x's rank, its axes of size 1 are x's repeated ones.

    The gradient of the bias is summed in float32 and leaves as its own dtype.
    """
    return x + bias.astype(x.dtype)


def _add_forward(x, bias):
    return add_bias(x, bias), bias


def _add_backward(bias, gradient):
    repeated = tuple(axis for axis, size in enumerate(bias.shape) if size == 1)
    total = gradient.astype(jnp.float32).sum(repeated, keepdims=True)
    return gradient, total.astype(bias.dtype)


add_bias.defvjp(_add_forward, _add_backward)
