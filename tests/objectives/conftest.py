"""What the tests of an objective share; each module has a fixture `objective` of its own."""

import jax
import jax.numpy as jnp
import pytest

from w2v2_jax.models import row_random


@pytest.fixture(scope="module")
def params(objective, random_params):
    return random_params(objective)


@pytest.fixture(scope="module")
def keys():
    return row_random.row_keys(jax.random.key(2), jnp.arange(8))


@pytest.fixture(scope="module")
def loss(objective):
    return jax.jit(objective.loss)


@pytest.fixture(scope="module")
def terms(objective):
    return jax.jit(objective.terms)
