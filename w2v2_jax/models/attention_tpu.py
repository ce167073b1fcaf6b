"""Attention for TPU: softmax over real frames, dropout and weighted sum in few passes.

On a TPU the vector unit and the memory limit 781 x 781 scores, while the matrix unit is idle. So
scores are computed again instead of stored in float32 (once for their maximum, once for the
weights, once in the backward pass), every exponential is taken once, and the division by the
softmax's sum is done on the [T, S] result.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from w2v2_jax.models import row_random

EXCLUDED = (
    -1e30
)  # the score of a frame that is not real; finite, so that a row without any stays so
SAVED = "attention"  # a remat policy may keep this, so that `few_passes` does not run again
apart = jax.lax.optimization_barrier  # keeps the compiler from fusing or sharing across it


def scores_of(query: jax.Array, key: jax.Array) -> jax.Array:
    """[B, H, T, S] x [B, H, T, S] -> [B, H, T, T] in float32, for the softmax."""
    return jnp.einsum("bhqs,bhks->bhqk", query, key, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def few_passes(query, key, value, real, keys, rate: float):
    """softmax(query key^T) value: query (scaled), key, value [B, H, T, S], real [B, T] bool ->
    [B, H, T, S]; dropout of the weights at `rate` with keys [B], or None for none."""
    return _few_passes_forward(query, key, value, real, keys, rate)[0]


def _bias(real: jax.Array) -> jax.Array:
    return jnp.where(real, 0.0, EXCLUDED)[:, None, None, :]


def _drop(x, keys, rate: float):
    """Dropout without the scale."""
    if keys is None or rate == 0.0:
        return x
    return jnp.where(row_random.kept(keys, rate, x.shape[1:]), x, jnp.zeros((), x.dtype))


def _share(keys, rate: float) -> float:
    return 1.0 if keys is None else 1.0 - rate


def _few_passes_forward(query, key, value, real, keys, rate: float):
    bias = _bias(real)
    top = (scores_of(query, key) + bias).max(-1, keepdims=True)
    again, top = apart((query, top))
    weights = jnp.exp(scores_of(again, key) + bias - top)
    total = weights.sum(-1, keepdims=True)  # [B, H, T, 1]
    weights, total = apart((weights.astype(value.dtype), total))
    weights = _drop(weights, keys, rate)
    out = jnp.einsum("bhqk,bhks->bhqs", weights, value, preferred_element_type=jnp.float32)
    out = checkpoint_name((out / (total * _share(keys, rate))).astype(value.dtype), SAVED)
    logsum = checkpoint_name(top + jnp.log(total), SAVED)
    return out, (query, key, value, real, keys, out, logsum)


def _few_passes_backward(rate: float, saved, gradient):
    query, key, value, real, keys, out, logsum = saved
    dtype, share = value.dtype, _share(keys, rate)
    query, logsum = apart((query, logsum))
    inner = (out.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(-1, keepdims=True)
    weights = apart(jnp.exp(scores_of(query, key) + _bias(real) - logsum).astype(dtype))
    slope = _drop(scores_of(gradient, value) / share, keys, rate) - inner
    slope = apart((weights * slope).astype(dtype))  # of the scores
    dropped = _drop(weights, keys, rate)
    value_slope = jnp.einsum("bhqk,bhqs->bhks", dropped, gradient) / jnp.asarray(share, dtype)
    query_slope = jnp.einsum("bhqk,bhks->bhqs", slope, key)
    key_slope = jnp.einsum("bhqk,bhqs->bhks", slope, query)
    return query_slope, key_slope, value_slope, None, None


few_passes.defvjp(_few_passes_forward, _few_passes_backward)
