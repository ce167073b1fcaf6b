"""Attention for TPU: softmax over real frames, dropout and weighted sum in few passes.

The vector unit and the memory are the bottleneck of 781 x 781 scores there and the matrix unit
idles: scores never reach memory in float32 (they are multiplied once for their maximum and once
for the weights), each exponential is taken once, masks and shifts are two more features of the
matmul, and the division by the softmax's sum moves to the [T, S] result.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from w2v2_jax.models import noise

HIDDEN = -1e30  # the score of a frame that is not real
LOWEST = -1e9  # no maximum of real scores lies lower; one over hidden frames alone does
SAVED = "attention"  # what a remat policy keeps so that `tight` repeats only its weights
WEIGHTS = "attention_weights"  # and these too, [B, H, T, T]
apart = jax.lax.optimization_barrier  # keeps the compiler from fusing or sharing across it


def scores_of(query: jax.Array, key: jax.Array) -> jax.Array:
    """[B, H, T, S] x [B, H, T, S] -> [B, H, T, T] in float32, for the softmax."""
    return jnp.einsum("bhqs,bhks->bhqk", query, key, preferred_element_type=jnp.float32)


def _widened(query, key, real):
    """query and key with two more features [B, H, T, S + 2]: their product has hidden frames at
    -inf in effect and each row's maximum at 0, without work for the vector unit.

    The maximum may be rounded to bfloat16: softmax does not change when a row is shifted.
    """
    one = jnp.ones_like(key[..., :1])
    hidden = jnp.where(real, 0.0, HIDDEN)[:, None, :, None].astype(key.dtype) * one
    query, key = jnp.concatenate([query, one], -1), jnp.concatenate([key, hidden], -1)
    top = scores_of(query, key).max(-1, keepdims=True)  # [B, H, T, 1], the scores themselves unkept
    top = jnp.maximum(top, LOWEST).astype(query.dtype)
    return jnp.concatenate([query, -top], -1), jnp.concatenate([key, one], -1)


def _drop(x, keys, rate: float):
    """Dropout without the scale."""
    if keys is None or rate == 0.0:
        return x
    return jnp.where(noise.kept(keys, rate, x.shape[1:]), x, jnp.zeros((), x.dtype))


def _share(keys, rate: float) -> float:
    return 1.0 if keys is None else 1.0 - rate


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def tight(query, key, value, real, keys, rate: float):
    """softmax(query key^T) value: query (scaled), key, value [B, H, T, S], real [B, T] bool ->
    [B, H, T, S]; dropout of the weights at `rate` with keys [B], or None for none."""
    return _tight_forward(query, key, value, real, keys, rate)[0]


def _tight_forward(query, key, value, real, keys, rate: float):
    weights = jnp.exp(scores_of(*apart(_widened(query, key, real))))  # times its row's `total`
    total = weights.sum(-1, keepdims=True)  # [B, H, T, 1]
    total = jnp.where(total > 0.0, total, 1.0)  # a row without a real frame: attends to nothing
    weights, total = apart((weights.astype(value.dtype), total))
    weights, total = checkpoint_name(weights, WEIGHTS), checkpoint_name(total, SAVED)
    out = jnp.einsum(
        "bhqk,bhks->bhqs", _drop(weights, keys, rate), value, preferred_element_type=jnp.float32
    )
    out = checkpoint_name((out / (total * _share(keys, rate))).astype(value.dtype), SAVED)
    return out, (query, key, value, real, keys, weights, total, out)


def _tight_backward(rate: float, saved, gradient):
    query, key, value, _, keys, weights, total, out = saved
    inner = (out.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(-1, keepdims=True) / total
    gradient = (gradient / (total * _share(keys, rate))).astype(value.dtype)
    slope = _drop(scores_of(gradient, value), keys, rate) - inner
    slope = apart((weights * slope).astype(value.dtype))  # of the scores
    value_slope = jnp.einsum("bhqk,bhqs->bhks", _drop(weights, keys, rate), gradient)
    query_slope = jnp.einsum("bhqk,bhks->bhqs", slope, key)
    key_slope = jnp.einsum("bhqk,bhqs->bhks", slope, query)
    return query_slope, key_slope, value_slope, None, None


tight.defvjp(_tight_forward, _tight_backward)
