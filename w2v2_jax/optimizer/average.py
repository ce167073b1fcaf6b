"""An exponential moving average of the parameters over the updates, as a part of the optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from w2v2_jax.optimizer.rates import RateTable, learning_like, trainable


class Average(NamedTuple):
    """The number of updates that were averaged, and the averages in float32, shaped like the
    parameters; None for frozen ones. A stack with frozen layers has averages of the others.

    In a checkpoint the averages are with the parameters, and the trained parameters are here.
    """

    count: jax.Array
    params: Any


def average_updates(decay: float, table: RateTable = ()) -> optax.GradientTransformation:
    """Leaves the updates as they are, and averages what they make of the parameters.

    At update n, the first being 1, the average keeps min(decay, (1 + n) / (10 + n)) of its old
    value (`tf.train.ExponentialMovingAverage` with num_updates=n): the average of a short run would
    otherwise be mostly its start. It has to come where updates are final.
    """

    def init(params):
        copies = jax.tree.map(jnp.copy, trainable(params, table))
        return Average(jnp.zeros((), jnp.int32), copies)

    def update(updates, state, params=None):
        count = state.count + 1
        new = optax.apply_updates(learning_like(state.params, params, table), updates)
        # The share of the new value, because 1 - .9999 in float32 would lose three digits.
        share = jnp.maximum(1 - decay, 9 / (10 + count))
        averages = jax.tree.map(lambda old, new: old + share * (new - old), state.params, new)
        return updates, Average(count, averages)

    return optax.GradientTransformation(init, update)


def _is_average(state) -> bool:
    return isinstance(state, Average)


def averages(opt_state) -> Any:
    """`Average.params` in the state of `adam`; None if the run has no average."""
    states = jax.tree.leaves(opt_state, is_leaf=_is_average)
    return next((state.params for state in states if _is_average(state)), None)


def with_averages(opt_state, params) -> Any:
    """The state of `adam` with this `Average.params`."""
    return jax.tree.map(
        lambda state: state._replace(params=params) if _is_average(state) else state,
        opt_state,
        is_leaf=_is_average,
    )
