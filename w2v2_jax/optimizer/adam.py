"""fairseq's Adam as one optax chain."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from w2v2_jax.errors import InputError
from w2v2_jax.optimizer.average import average_updates
from w2v2_jax.optimizer.rates import (
    RateTable,
    freezes,
    learning_like,
    rate_table,
    trainable,
    value_at,
    value_by_path,
    with_frozen,
)
from w2v2_jax.optimizer.schedules import Schedule
from w2v2_jax.trees import name_of

LAYERS, LAST_NORM = "encoder/transformer/layers/", "encoder/transformer/norm/"
ADAPTER = "encoder/output_adapter/"
OF_NETWORK = ("num_layers", "norm_order")  # arguments of `adam` that are no settings


class AdamState(NamedTuple):
    """The count of updates, and the first and second moments in float32, shaped like the
    parameters; None for frozen parameters. A stack with frozen layers has moments of the others."""

    count: jax.Array
    first: optax.Params
    second: optax.Params


def scale_by_fairseq_adam(
    b1: float, b2: float, eps: float, table: RateTable = ()
) -> optax.GradientTransformation:
    """Adam with eps added to sqrt(v) before bias correction (fairseq `optim/adam.py`).

    optax.scale_by_adam adds it after; the two differ while 1 - b2^t is small. Parameters whose
    value in the table is 0 have no moments. `update` takes `taken`, a boolean scalar: where it is
    false the state stays as it was, and the updates have no meaning.
    """

    def init(params):
        params = trainable(params, table)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(gradients, state, params=None, *, taken=True, **_):
        del params
        gradients = learning_like(state.first, gradients, table)
        count = jnp.where(taken, state.count + 1, state.count)
        # Left as they were here, not by the caller: XLA for CPU then reads the new moments for the
        # parameters. Otherwise it computes them a second time, from copies of all the old ones.
        left = lambda new, old: jnp.where(taken, new, old)  # noqa: E731
        first = jax.tree.map(lambda m, g: left(b1 * m + (1 - b1) * g, m), state.first, gradients)
        second = jax.tree.map(
            lambda v, g: left(b2 * v + (1 - b2) * g * g, v), state.second, gradients
        )
        t = count.astype(jnp.float32)
        size = jnp.sqrt(1 - b2**t) / (1 - b1**t)
        updates = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) + eps), first, second)
        return updates, AdamState(count, first, second)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_layer(
    decay: float, *, num_layers: int, norm_order: str, table: RateTable
) -> optax.GradientTransformation:
    """Multiplies the update of layer i of L by decay ** (L - i), of what comes before the layers by
    decay ** (L + 1) and of what comes after them by 1 (discriminative fine-tuning, arXiv
    1801.06146, section 3.2). table: for the layers that it freezes."""

    def value(path, leaf):
        name = name_of(path)
        if name.startswith(LAYERS):
            rates = value_at(path, table)
            each = rates if isinstance(rates, tuple) else (rates,) * num_layers
            powers = [decay ** (num_layers - i) for i, rate in enumerate(each) if rate]
            return np.array(powers, np.float32).reshape(-1, *(1,) * (leaf.ndim - 1))
        after = name.startswith(ADAPTER) or (norm_order == "pre" and name.startswith(LAST_NORM))
        before = name.startswith("encoder/") and not after
        return decay ** (num_layers + 1) if before else 1.0

    def update(updates, state, params=None):
        del params
        scales = jax.tree_util.tree_map_with_path(value, updates)
        return jax.tree.map(lambda u, scale: u * scale, updates, scales), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def scale_by_path(table: RateTable) -> optax.GradientTransformation:
    """Multiplies each parameter's update by its value in the table (0 freezes it)."""

    def update(updates, state, params=None):
        del params
        scales = value_by_path(updates, table)
        return jax.tree.map(lambda u, scale: u * scale, updates, scales), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def updates_of_0() -> optax.GradientTransformation:
    """Adds updates of 0 for frozen parameters, if the tree to be updated contains them."""

    def update(updates, state, params=None):
        still = jax.tree.map(jnp.zeros_like, params)
        return with_frozen(updates, still), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adam(
    schedule: Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.98,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    clip_norm: float = 0.0,
    rate_by_path: tuple[tuple[str, float], ...] = (),
    layer_decay: float = 1.0,
    ema_decay: float = 0.0,
    num_layers: int = 0,
    norm_order: str = "post",
) -> optax.GradientTransformation:
    """fairseq's Adam: decoupled weight decay on *all* parameters, and by default no clipping.

    b1, b2: decay of the first and the second moment from one update to the next.
    eps: added to the square root of the second moment.
    weight_decay: each update subtracts this share of a parameter, times the learning rate.
    clip_norm: gradients with a larger norm are scaled down to it; 0 turns clipping off.
    rate_by_path: pairs (regex on "encoder/transformer/...", multiplier); the first match counts.
        A parameter with multiplier 0 has no moments and, in `train_step`, no gradient.
        "layers[0:6]" and "layers[-1]" in a regex are layers by number.
    layer_decay: the rate of layer i of L is multiplied by layer_decay ** (L - i), of what comes
        before the layers by layer_decay ** (L + 1); 1 leaves all as they are.
    ema_decay: share of its old value that an average of the parameters keeps at an update, after a
        warm-up (`average_updates`); validated, exported and loaded is then the average, while
        training goes on without it. 0: no average.
    num_layers, norm_order: no settings: of the network.
    """
    if not eps > 0:  # a parameter without a gradient yet has no second moment either
        raise InputError(f"optimizer.eps={eps} must be positive")
    for name, share in (("b1", b1), ("b2", b2), ("ema_decay", ema_decay)):
        if not 0 <= share < 1:
            raise InputError(f"optimizer.{name}={share} must be in [0, 1)")
    multipliers = {f"rate_by_path of {pattern!r}": rate for pattern, rate in rate_by_path}
    amounts = {"weight_decay": weight_decay, "clip_norm": clip_norm, **multipliers}
    for name, value in amounts.items():
        if not value >= 0:
            raise InputError(f"optimizer.{name}={value} must not be negative")
    chain = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    if not 0 < layer_decay <= 1:
        raise InputError(f"optimizer.layer_decay={layer_decay} must be above 0 and at most 1")
    rates = rate_table(rate_by_path, num_layers)
    chain.append(scale_by_fairseq_adam(b1, b2, eps, rates))
    if weight_decay:
        chain.append(optax.add_decayed_weights(weight_decay))
    if rate_by_path:
        chain.append(scale_by_path(rates))
    if layer_decay != 1:
        chain.append(
            scale_by_layer(layer_decay, num_layers=num_layers, norm_order=norm_order, table=rates)
        )
    chain.append(optax.scale_by_learning_rate(schedule))
    if ema_decay:
        chain.append(average_updates(ema_decay, rates))
    if freezes(rates):
        chain.append(updates_of_0())
    return optax.chain(*chain)


def updates_taken(opt_state, steps=None) -> jax.Array:
    """The schedule's count in the state of `adam`; skipped updates do not count. Of another
    optimizer without a schedule, the first count that it has (that of optax.adamw); `steps` if it
    counts nothing, as optax.sgd."""
    kind = optax.ScaleByScheduleState
    states = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, kind))
    schedules = (state.count for state in states if isinstance(state, kind))
    others = (
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(opt_state)
        if path and getattr(path[-1], "name", "") == "count"
    )
    return next(itertools.chain(schedules, others, [steps]))
