"""Learning-rate schedules."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from w2v2_jax.errors import InputError

Schedule = Callable[[jax.Array], jax.Array]


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
            f"schedule: peak={peak}, warmup={warmup} of train.steps={total} updates; needs a peak "
            "above 0 and 0 <= warmup <= train.steps"
        )
