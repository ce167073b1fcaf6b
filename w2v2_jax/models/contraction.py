"""Matrix products of a bfloat16 network: bfloat16 operands forward and backward, float32 sums."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from w2v2_jax.models.backend import platform


def contract(spec: str, a: jax.Array, b: jax.Array, out: str | None = None) -> jax.Array:
    """einsum(spec, a, b) of two operands in a's dtype; the result has dtype `out`, or a's.

    spec: every index of an operand is in the result or in the other operand. b may be a float32
    parameter: it is cast, and its gradient is float32 without having been rounded. JAX's own
    gradient of a product with a float32 result multiplies in float32, at half the speed or less.
    """
    if a.dtype == jnp.float32:
        return jnp.einsum(spec, a, b)
    if platform() == "tpu":  # its matrix unit rounds float32 operands itself, at no cost
        return jnp.einsum(spec, a, b.astype(a.dtype), preferred_element_type=out)
    return _contract(spec, out or a.dtype.name, a, b)


def _product(spec: str, a: jax.Array, b: jax.Array, out) -> jax.Array:
    # XLA:CPU has fast bfloat16 products for float32 results alone: 2.0 times float32's speed,
    # where a bfloat16 result makes it convert the operands and multiply in float32.
    wide = jnp.float32 if platform() == "cpu" or out == jnp.float32 else None
    return jnp.einsum(spec, a, b, preferred_element_type=wide).astype(out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _contract(spec, out, a, b):
    return _product(spec, a, b.astype(a.dtype), jnp.dtype(out))


def _forward(spec, out, a, b):
    return _contract(spec, out, a, b), (a, b)


def _backward(spec, out, saved, gradient):
    a, b = saved
    operands, result = spec.split("->")
    first, second = operands.split(",")
    gradient = gradient.astype(a.dtype)
    for_a = _product(f"{result},{second}->{first}", gradient, b.astype(a.dtype), a.dtype)
    return for_a, _product(f"{first},{result}->{second}", a, gradient, b.dtype)


_contract.defvjp(_forward, _backward)
