"""Attention: the formulation for TPU is the plain one, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.models import noise
from w2v2_jax.models.tight_attention import tight

SHAPE = (3, 2, 11, 4)
REAL = jnp.arange(11)[None] < jnp.array([[11], [7], [1]])


def plain(query, key, value, real, keys, rate):
    scores = jnp.einsum("bhqs,bhks->bhqk", query, key)
    weights = jax.nn.softmax(jnp.where(real[:, None, None, :], scores, -1e30), axis=-1)
    return jnp.einsum("bhqk,bhks->bhqs", noise.dropout(weights, rate, keys), value)


def random(seed, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=SHAPE) * scale, jnp.float32)


@functools.partial(jax.jit, static_argnums=(0, 5))
def found(formulation, operands, target, real, keys, rate):
    """(output, gradients of its product with target)."""

    def value(*operands):
        out = formulation(*operands, real, keys, rate)
        return (out * target).sum(), out

    gradients, out = jax.grad(value, (0, 1, 2), has_aux=True)(*operands)
    return out, gradients


@pytest.mark.parametrize(
    ("scale", "rate"), [(1.0, 0.0), (1.0, 0.3), (9.0, 0.0)], ids=["plain", "dropout", "large"]
)
def test_tight_attention_is_plain_attention_with_its_gradients(scale, rate):
    # At scale 9 scores reach hundreds: a softmax without a shift would overflow.
    operands = (random(0, scale), random(1, scale), random(2))
    keys = jax.random.split(jax.random.key(0), 3) if rate else None
    got, expected = (
        found(formulation, operands, random(3), REAL, keys, rate) for formulation in (tight, plain)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), got, expected)


def test_a_row_without_a_real_frame_stays_finite_with_its_gradients():
    operands = (random(0), random(1), random(2))
    got = found(tight, operands, random(3), REAL & False, None, 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))
