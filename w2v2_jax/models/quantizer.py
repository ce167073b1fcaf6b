"""Gumbel product quantizer: discrete speech units learned jointly (paper section 2).

Each of G codebooks picks one of V entries; in training a hard one-hot sample forward and the
soft distribution's gradient backward (straight-through, docs/traps.md#t31), all in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.layers import Dense
from w2v2_jax.models.sharding import named

# U(0, 1); Flax's default width is 0.01 (docs/traps.md#t22)
unit_uniform = nn.initializers.uniform(1.0)


class Quantized(NamedTuple):
    """codes [B, M, code_dim] float32, ids [B, M, G] chosen entries, probs [B, M, G, V].

    probs is the softmax without noise and without temperature (docs/traps.md#t30).
    """

    codes: jax.Array
    ids: jax.Array
    probs: jax.Array


def gumbel_temperature(step, *, start: float, end: float, decay: float):
    """max(start * decay^step, end); step counts optimizer updates (docs/traps.md#t32)."""
    rate = math.log(decay)  # on the host: 0.999995 itself has 3 digits left in float32
    return jnp.maximum(start * jnp.exp(rate * jnp.asarray(step, jnp.float32)), end)


def straight_through(logits: jax.Array, gumbel: jax.Array | None, temperature) -> jax.Array:
    """One-hot [..., V] of the noisy argmax with the gradient of the tempered softmax.

    gumbel None is evaluation: the noise-free argmax.
    """
    entries = logits.shape[-1]
    if gumbel is None:
        return jax.nn.one_hot(jnp.argmax(logits, -1), entries, dtype=logits.dtype)
    noisy = (logits + gumbel) / temperature
    soft = jax.nn.softmax(noisy, axis=-1)
    hard = jax.nn.one_hot(jnp.argmax(noisy, -1), entries, dtype=logits.dtype)
    return hard + (soft - jax.lax.stop_gradient(soft))


class Quantizer(nn.Module):
    """features [B, M, C] -> Quantized; gumbel [B, M, G, V] noise or None in evaluation."""

    config: ModelConfig

    @nn.compact
    def __call__(self, features, gumbel, temperature) -> Quantized:
        books, entries = self.config.codebooks, self.config.entries
        logits = Dense(
            books * entries,
            ("conv_out", None),
            nn.initializers.normal(1.0),
            nn.initializers.zeros,
            name="logits",
        )(features.astype(jnp.float32))
        table = self.param(
            "entries",
            named(unit_uniform, (None, None, None)),
            (books, entries, self.config.code_dim // books),
        )
        logits = rearrange(logits, "b m (g v) -> b m g v", g=books)
        choice = straight_through(logits, gumbel, temperature)
        codes = jnp.einsum("bmgv,gvd->bmgd", choice, table)
        return Quantized(
            rearrange(codes, "b m g d -> b m (g d)"),
            jnp.argmax(choice, -1),
            jax.nn.softmax(logits, axis=-1),
        )
