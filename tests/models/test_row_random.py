"""Dropout's counter hash: rate, independence of batch and neighbours, and its bits' quality."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.models import row_random

ROWS, SHAPE = 16, (100, 64)


dropout = jax.jit(row_random.dropout, static_argnums=1)


def keys_of(rows, seed=0):
    return row_random.row_keys(jax.random.key(seed), jnp.arange(rows))


@functools.cache
def bits(tag=0):
    """[ROWS, T, D, 32] single bits as -1 and 1."""
    draw = jax.jit(lambda keys: row_random.row_bits(keys, SHAPE))
    words = np.asarray(draw(row_random.fold(keys_of(ROWS), tag)))
    return (((words[..., None] >> np.arange(32, dtype=np.uint32)) & 1) * 2.0 - 1.0).astype(
        "float32"
    )


def assert_no_correlation(a, b, axes):
    """Products of independent signs average to 0 within five standard errors."""
    product = a * b
    count = np.prod([product.shape[axis] for axis in axes])
    worst = np.abs(product.mean(axes)).max()
    assert worst < 5 / np.sqrt(count), worst * np.sqrt(count)


def test_no_bit_is_biased():
    assert_no_correlation(bits(), 1.0, (0, 1, 2))


def test_no_position_is_biased_over_rows_of_many_keys():
    words = np.asarray(jax.jit(lambda k: row_random.row_bits(k, (40,)))(keys_of(4000)))
    signs = (words >> 31) * 2.0 - 1.0
    assert_no_correlation(signs, 1.0, (0,))


@pytest.mark.parametrize("shift", [1, 2, 3, 16, 32])
@pytest.mark.parametrize("axis", [1, 2])
def test_neighbouring_elements_are_uncorrelated(axis, shift):
    left = np.take(bits(), range(shift, SHAPE[axis - 1]), axis)
    right = np.take(bits(), range(SHAPE[axis - 1] - shift), axis)
    assert_no_correlation(left, right, (0, 1, 2))


def test_four_corners_of_a_rectangle_are_uncorrelated():
    """Bits are made from a number per line and one per column; a sum of the two would fail."""
    for rows, columns in ((1, 1), (1, 7), (16, 32), (3, 5)):
        a, b = bits()[:, rows:], bits()[:, :-rows]
        corners = a[:, :, columns:] * a[:, :, :-columns] * b[:, :, columns:]
        assert_no_correlation(corners, b[:, :, :-columns], (0, 1, 2))


def test_rows_are_uncorrelated():
    for row in range(1, ROWS):
        assert_no_correlation(bits()[0], bits()[row], (0, 1))


def test_layers_are_uncorrelated():
    assert_no_correlation(bits(0), bits(1), (0, 1, 2))


def test_bits_of_one_word_are_uncorrelated():
    flat = bits().reshape(-1, 32)
    correlation = flat.T @ flat / len(flat) - np.eye(32)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(flat))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_dropout_zeroes_its_share_and_scales_the_rest(rate):
    out = np.asarray(dropout(jnp.full((32, 50, 64), 3.0), rate, keys_of(32)))
    error = np.sqrt(rate * (1 - rate) / out.size)
    assert (out == 0).mean() == pytest.approx(rate, abs=5 * error)
    np.testing.assert_allclose(out[out != 0], 3.0 / (1 - rate), rtol=1e-6)
    rows = (out == 0).mean((1, 2))
    assert np.abs(rows - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 3200)


def test_dropout_of_a_row_is_the_same_in_any_batch_and_in_longer_rows():
    keys = keys_of(8)
    whole = dropout(jnp.ones((8, 30, 4)), 0.3, keys)
    part = dropout(jnp.ones((2, 30, 4)), 0.3, keys[jnp.array([5, 2])])
    np.testing.assert_array_equal(part, whole[np.array([5, 2])])
    longer = dropout(jnp.ones((8, 45, 4)), 0.3, keys)
    np.testing.assert_array_equal(longer[:, :30], whole)


def test_rows_and_purposes_get_different_dropout():
    keys, x = keys_of(2), jnp.ones((2, 50, 8))
    first = dropout(x, 0.5, row_random.fold(keys, 1))
    second = dropout(x, 0.5, row_random.fold(keys, 2))
    assert 0.4 < (np.asarray(first[0]) != first[1]).mean() < 0.6
    assert 0.4 < (np.asarray(first) != second).mean() < 0.6


def test_no_keys_or_rate_0_change_nothing():
    x = jnp.arange(6.0).reshape(1, 6)
    assert row_random.dropout(x, 0.5, None) is x
    assert row_random.dropout(x, 0.0, keys_of(1)) is x
    assert row_random.fold(None, 3) is None


def test_dropouts_gradient_passes_where_the_value_does():
    keys, x = keys_of(4), jnp.ones((4, 50))
    gradient = jax.jit(jax.grad(lambda x: dropout(x, 0.25, keys).sum()))(x)
    np.testing.assert_array_equal(gradient, dropout(x, 0.25, keys))


def test_dropout_keeps_bfloat16():
    assert dropout(jnp.ones((2, 4), jnp.bfloat16), 0.5, keys_of(2)).dtype == jnp.bfloat16


def test_purposes_have_different_tags():
    tags = (row_random.MASK, row_random.CHANNEL_MASK, row_random.NEGATIVES, row_random.GUMBEL,
            row_random.INPUT, row_random.QUANTIZER, row_random.ENTRY, row_random.FINAL,
            row_random.LAYER)  # fmt: skip
    assert len(set(tags)) == len(tags)


def test_a_rows_key_depends_on_its_global_number_alone():
    key = jax.random.key(3)
    whole = jax.random.key_data(row_random.row_keys(key, jnp.arange(8)))
    half = jax.random.key_data(row_random.row_keys(key, jnp.arange(4, 8)))
    np.testing.assert_array_equal(half, whole[4:])
    assert len(np.unique(whole, axis=0)) == 8


def test_fingerprints_are_equal_for_equal_vectors_alone():
    x = np.random.default_rng(0).normal(size=(2, 500, 16)).astype(np.float32)
    x[1, :200] = x[0, 100:300]
    words = np.asarray(jax.jit(row_random.fingerprints)(x)).reshape(1000, 2)
    assert words.dtype == np.uint32
    vectors = x.reshape(1000, 16)
    equal = (vectors[:, None] == vectors[None]).all(-1)
    np.testing.assert_array_equal((words[:, None] == words[None]).all(-1), equal)
    assert equal.sum() == 1000 + 2 * 200
    for word in words.T:  # each alone tells nearly all apart
        assert len(np.unique(word)) >= 799
    moved = np.roll(x, 1, axis=-1), np.where(np.arange(16) == 3, np.nextafter(x, 9), x)
    for other in moved:  # another order, one last bit
        others = np.asarray(row_random.fingerprints(jnp.asarray(other)))
        assert not (others == words.reshape(2, 500, 2)).all(-1).any()
