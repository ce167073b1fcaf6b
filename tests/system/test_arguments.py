"""Types of options that several commands have."""

import argparse

import pytest

from w2v2_jax.system.arguments import whole


@pytest.mark.parametrize("text", ["0", "-1", "256", "1.5", "nan", "", "1e2", "many"])
def test_what_is_no_whole_number_in_bounds_is_refused_with_them(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number, 1 to 255"):
        whole(1, 255)(text)


def test_the_bounds_themselves_are_taken():
    assert [whole(1, 255)(text) for text in ("1", "255")] == [1, 255]
