"""Learning-rate schedules and fairseq's Adam as one optax chain."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from w2v2_jax.errors import InputError

Schedule = Callable[[jax.Array], jax.Array]
RateTable = tuple[tuple[str, float], ...]


def polynomial(*, peak: float, warmup: int, total: int, end: float = 0.0) -> Schedule:
    """Linear from 0 to `peak`, then linear to `end`. The first update has a learning rate of 0, as
    in fairseq, which counts the updates that are already done.

    peak: the highest learning rate.
    warmup: number of updates until the peak.
    total: the update at which the rate is `end`; by default train.steps.
    end: the last learning rate.
    """
    _check_schedule(peak=peak, total=total, warmup=warmup)
    if not end >= 0:
        raise InputError(f"schedule.end={end} must not be negative")
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, warmup),
            optax.linear_schedule(peak, end, max(total - warmup, 1)),
        ],
        [warmup],
    )


def tri_stage(
    *,
    peak: float,
    total: int,
    warmup: float = 0.1,
    hold: float = 0.4,
    decay: float = 0.5,
    start_scale: float = 0.01,
    end_scale: float = 0.05,
) -> Schedule:
    """A linear rise, a stretch at `peak`, then an exponential fall. The paper says that the fall
    is linear; the released code, and so the released models, used the exponential
    (docs/traps.md#t4).

    peak: the highest learning rate.
    total: number of updates that the shares refer to; by default train.steps.
    warmup, hold, decay: shares of the three stages; they sum to 1.
    start_scale: the first learning rate as a share of `peak`.
    end_scale: the last learning rate as a share of `peak`.
    """
    if abs(warmup + hold + decay - 1.0) > 1e-6:
        raise InputError(f"schedule: warmup + hold + decay = {warmup + hold + decay}, must be 1")
    for name, value in (
        ("warmup", warmup),
        ("hold", hold),
        ("decay", decay),
        ("start_scale", start_scale),
    ):
        if not value >= 0:
            raise InputError(f"schedule.{name}={value} must not be negative")
    if not end_scale > 0:
        raise InputError(f"schedule.end_scale={end_scale} must be positive, as its logarithm falls")
    first, second = int(warmup * total), int(hold * total)
    third = max(int(decay * total), 1)
    _check_schedule(peak=peak, total=total, warmup=first)

    def rate(count):
        count = jnp.asarray(count, jnp.float32)
        rising = start_scale + (1.0 - start_scale) * count / max(first, 1)
        falling = jnp.exp(jnp.log(end_scale) * (count - first - second) / third)
        scale = jnp.where(count < first, rising, jnp.where(count < first + second, 1.0, falling))
        return peak * jnp.maximum(scale, jnp.where(count < first, start_scale, end_scale))

    return rate


def constant(*, peak: float) -> Schedule:
    """The same rate at every update.

    peak: that learning rate.
    """
    _check_schedule(peak=peak, total=1, warmup=0)
    return optax.constant_schedule(peak)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "polynomial": polynomial,
    "tri_stage": tri_stage,
    "constant": constant,
}


def _check_schedule(*, peak: float, total: int, warmup: int) -> None:
    if peak <= 0 or total < 1 or not 0 <= warmup <= total:
        raise InputError(
            f"schedule: peak={peak}, total={total}, warmup={warmup}; "
            "needs peak > 0 and 0 <= warmup <= total"
        )


class AdamState(NamedTuple):
    """The count of updates, and the first and second moments in float32, shaped like the
    parameters; None for frozen parameters."""

    count: jax.Array
    first: optax.Params
    second: optax.Params


def scale_by_fairseq_adam(
    b1: float, b2: float, eps: float, table: RateTable = ()
) -> optax.GradientTransformation:
    """Adam with eps added to sqrt(v) before bias correction (fairseq `optim/adam.py`).

    optax.scale_by_adam adds it after; the two differ while 1 - b2^t is small. Parameters whose
    value in the table is 0 have no moments.
    """

    def init(params):
        params = trainable(params, table)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(gradients, state, params=None):
        del params
        gradients = trainable(gradients, table)
        count = state.count + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, gradients)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.second, gradients)
        t = count.astype(jnp.float32)
        size = jnp.sqrt(1 - b2**t) / (1 - b1**t)
        updates = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) + eps), first, second)
        return updates, AdamState(count, first, second)

    return optax.GradientTransformation(init, update)


def value_by_path(params, table: RateTable):
    """A tree of floats: for each parameter the value of the first regex that matches its path."""

    def value(path, _):
        return _value(path, table)

    return jax.tree_util.tree_map_with_path(value, params)


def _value(path, table: RateTable) -> float:
    name = "/".join(str(getattr(key, "key", key)) for key in path)
    return next((v for pattern, v in table if re.search(pattern, name)), 1.0)


def freezes(table: RateTable) -> bool:
    """Whether the table freezes any parameter."""
    return any(value == 0 for _, value in table)


def trainable(tree, table: RateTable):
    """The tree with None for every parameter whose value in the table is 0."""
    if not freezes(table):
        return tree
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: None if _value(path, table) == 0 else leaf,
        tree,
        is_leaf=lambda leaf: hasattr(leaf, "unbox"),  # with the box that has its axis names
    )


def with_frozen(learning, whole):
    """The inverse of `trainable`: takes a leaf from `whole` if `learning` has none."""
    return jax.tree.map(
        lambda leaf, other: other if leaf is None else leaf,
        learning,
        whole,
        is_leaf=lambda leaf: leaf is None,
    )


def scale_by_path(table: tuple[tuple[str, float], ...]) -> optax.GradientTransformation:
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
) -> optax.GradientTransformation:
    """fairseq's Adam: decoupled weight decay on *all* parameters, and by default no clipping.

    b1, b2: decay of the first and the second moment from one update to the next.
    eps: added to the square root of the second moment.
    weight_decay: each update subtracts this share of a parameter, times the learning rate.
    clip_norm: gradients with a larger norm are scaled down to it; 0 turns clipping off.
    rate_by_path: pairs (regex on "encoder/transformer/...", multiplier); the first match counts.
        A parameter with multiplier 0 has no moments and, in `train_step`, no gradient.
    """
    if not eps > 0:  # a parameter without a gradient yet has no second moment either
        raise InputError(f"optimizer.eps={eps} must be positive")
    for name, beta in (("b1", b1), ("b2", b2)):
        if not 0 <= beta < 1:
            raise InputError(f"optimizer.{name}={beta} must be in [0, 1)")
    rates = tuple((pattern, rate) for pattern, rate in rate_by_path)
    multipliers = {f"rate_by_path of {pattern!r}": rate for pattern, rate in rates}
    for name, value in {
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        **multipliers,
    }.items():
        if not value >= 0:
            raise InputError(f"optimizer.{name}={value} must not be negative")
    chain = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    chain.append(scale_by_fairseq_adam(b1, b2, eps, rates))
    if weight_decay:
        chain.append(optax.add_decayed_weights(weight_decay))
    if rate_by_path:
        chain.append(scale_by_path(rates))
    chain.append(optax.scale_by_learning_rate(schedule))
    if freezes(rates):
        chain.append(updates_of_0())
    return optax.chain(*chain)


def updates_taken(opt_state) -> jax.Array:
    """The schedule's count in the state of `adam`; skipped updates do not count."""
    kind = optax.ScaleByScheduleState
    states = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, kind))
    return next(state.count for state in states if isinstance(state, kind))
