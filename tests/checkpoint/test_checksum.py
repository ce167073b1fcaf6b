"""Checksums on the device and on the host are of the same words, whatever their width."""

import jax.numpy as jnp
import numpy as np

from w2v2_jax.checkpoint.checksum import sum_on_host, sums

TREE = {
    "a": np.array([1.5, -2.0, 3e-5], np.float32),
    "b": np.array([1.5, -2.0], jnp.bfloat16),
    "c": np.array([7, -8, 9], np.int8),
}


def test_arrays_of_four_two_and_one_byte_have_the_same_sum_on_device_and_host():
    assert sums(TREE, {})["params"] == sum_on_host(TREE) > 0
    assert sums({}, TREE)["training"] == sum_on_host(TREE)


def test_a_sum_is_of_the_words_each_array_s_times_its_odd_number():
    words = [np.array([1, 2], np.uint32), np.array([3], np.uint32), np.array([5], np.uint32)]
    assert sum_on_host(words) == sums(words, {})["params"] == (1 + 2) + 3 * 3 + 5 * 5
    most = [np.full(3, 2**32 - 1, np.uint32)]
    assert sum_on_host(most) == sums(most, {})["params"] == 2**32 - 3


def test_exchanged_arrays_have_another_sum():
    first, second = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    assert sum_on_host([first, second]) != sum_on_host([second, first])
