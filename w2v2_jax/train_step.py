"""One train step for every objective: gradients of sums, accumulation, one optimizer update."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.metrics import Mean, Sums, global_norm, merge
from w2v2_jax.models import row_random, sharding
from w2v2_jax.models.execution import LARGEST_SCALE
from w2v2_jax.objectives.base import TEACHER, Objective
from w2v2_jax.optimizer import AdamState, RateTable, trainable, updates_taken, with_frozen
from w2v2_jax.optimizer.loss_scale import LossScale, can_halve, first_scale, next_scale


class TrainState(NamedTuple):
    """Arrays only. step counts all batches, including skipped updates, which the optimizer's own
    count (and so its schedule) does not include. teacher: from `Objective.teacher`, None for an
    objective without one. loss_scale: of a float16 network, None for the others."""

    step: jax.Array
    params: Any
    opt_state: Any
    teacher: Any = None
    loss_scale: LossScale | None = None

    @property
    def weights(self) -> Any:
        """What an objective's `loss` and `evaluate` take as parameters."""
        return with_teacher(self.params, self.teacher)

    @property
    def training(self) -> dict[str, Any]:
        """What a checkpoint holds besides the parameters."""
        held = {"step": self.step, "opt_state": self.opt_state}
        parts = {TEACHER: self.teacher, "loss_scale": self.loss_scale}
        return held | {name: part for name, part in parts.items() if part is not None}


def with_teacher(params, teacher):
    """The parameters, together with the teacher if there is one."""
    return params if teacher is None else {**params, TEACHER: teacher}


def init_state(objective: Objective, tx: optax.GradientTransformation, seed) -> TrainState:
    """A fresh state whose parameters and moments are boxed with their logical axis names."""
    params = objective.init(jax.random.key(seed))
    teacher, loss_scale = objective.teacher(params), initial_scale(objective)
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), teacher, loss_scale)


def initial_scale(objective: Objective) -> LossScale | None:
    """The loss scale before the first update; None unless the network is computed in float16."""
    execution = objective.execution
    return first_scale(execution.loss_scale_start) if execution.dtype == "float16" else None


def microbatches(tree, accumulate: int, shards: int):
    """Rows [B, ...] -> [accumulate, B / accumulate, ...], each shard keeping its own rows.

    Consecutive rows stay together, so the groups of the diversity loss are the same for every
    number of microbatches and shards.
    """

    def split(x):
        rows, rest = divmod(x.shape[0], accumulate * shards)
        if rest:
            raise InputError(
                f"{x.shape[0]} rows do not divide into accumulate={accumulate} microbatches of "
                f"shards={shards}"
            )
        x = x.reshape(shards, accumulate, rows, *x.shape[1:])
        return x.swapaxes(0, 1).reshape(accumulate, shards * rows, *x.shape[3:])

    return jax.tree.map(split, tree)


def summed_gradients(
    params,
    batch: Batch,
    keys,
    step,
    teacher=None,
    scale=None,
    *,
    objective,
    accumulate,
    shards,
    table: RateTable = (),
):
    """The gradients of the summed loss times `scale` (None: 1), and the sums, added over the
    microbatches. Parameters that the table freezes have None instead of a gradient; a teacher has
    no gradient.

    Devices along the data axis first add up their own microbatches and exchange the total once per
    update. Along fsdp no device has memory for a whole gradient, so the gradient of each
    microbatch is exchanged.
    """
    data = jax.sharding.get_abstract_mesh().shape.get("data", 1)
    local = functools.partial(accumulated, objective=objective, accumulate=accumulate, table=table)
    if accumulate == 1 or data == 1:
        return local(params, batch, keys, step, teacher, scale, shards=shards)

    def of_device(*arguments):
        return jax.lax.psum(local(*arguments, shards=shards // data), "data")

    whole, rows = PartitionSpec(), PartitionSpec("data")
    # Unchecked, so that parameters count as each device's own and no gradient is summed inside.
    exchanged = jax.shard_map(
        of_device,
        in_specs=(whole, rows, rows, whole, whole, whole),
        out_specs=whole,
        axis_names={"data"},
        check_vma=False,
    )
    return exchanged(params, batch, keys, step, teacher, scale)


def accumulated(
    params, batch: Batch, keys, step, teacher, scale, *, objective, accumulate, shards, table
):
    """`summed_gradients` of these rows, spread over `shards`."""
    whole, params = params, trainable(params, table)

    def loss(params, batch, keys):
        weights = with_teacher(with_frozen(params, whole, table), teacher)
        sums = objective.loss(weights, batch, keys, step)
        return sums.loss if scale is None else sums.loss * scale, sums

    gradient = jax.grad(loss, has_aux=True)
    if accumulate == 1:
        return gradient(params, batch, keys)
    parts = microbatches((batch, keys), accumulate, shards)
    first = jax.eval_shape(gradient, params, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)

    def add(total, part):
        # What the body of a loop takes from a stack has lost its sharding. With a tensor axis the
        # partitioner would then split activations and exchange them in every layer.
        part = jax.tree.map(sharding.constrain_rows, part)
        return merge(total, gradient(params, *part)), None

    total, _ = jax.lax.scan(add, zeros, parts)
    return total


def train_step(
    state: TrainState,
    batch: Batch,
    seed,
    *,
    objective: Objective,
    tx: optax.GradientTransformation,
    accumulate: int,
    shards: int = 1,
    table: RateTable = (),
) -> tuple[TrainState, dict[str, Mean]]:
    """One update. seed is a uint32 scalar, so that runs with different seeds share the program;
    all arguments after it are static.

    The summed gradient is divided by the global weight (masked frames, utterances), so rows may
    be spread over devices, hosts and microbatches in any way. An update whose loss or gradient
    is not finite is skipped and counted (bf16 has no loss scale that would skip it,
    docs/traps.md#t36), and so is one whose batch has no weight: Adam would move on its momentum
    alone. With a loss scale that can be halved, an infinite gradient counts as
    `loss_scale_overflow` instead of `non_finite`. table: `optimizer.rate_by_path`, which says what
    is frozen. tx: any optimizer of optax; one that counts nothing, such as optax.sgd, lets the
    decay of a teacher count skipped updates.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = row_random.row_keys(key, jnp.arange(batch.waveforms.shape[0]))
    loss_scale = state.loss_scale
    gradients, sums = summed_gradients(
        state.params,
        batch,
        keys,
        state.step,
        state.teacher,
        None if loss_scale is None else loss_scale.value,
        objective=objective,
        accumulate=accumulate,
        shards=shards,
        table=table,
    )
    scale = 1.0 / jnp.maximum(sums.weight, 1.0)
    if loss_scale is not None:
        scale = scale / loss_scale.value  # a power of 2: exact
    gradients = jax.tree.map(lambda g: g * scale, gradients)
    norm = global_norm(gradients)
    finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
    taken = finite & (sums.weight > 0)
    params, opt_state = _updated(state, gradients, taken, tx, table)
    teacher = _moved(state, params, opt_state, taken, objective)
    loss_scale, of_scale = _rescaled(loss_scale, sums.loss, finite, taken, objective)
    one = jnp.ones(())
    metrics = {
        **sums.metrics,
        "gradient_norm": Mean(norm, one),
        **_feature_norm(gradients["encoder"]["feature_extractor"]),
        "non_finite": Mean(1.0 - finite, one),
        "skipped": Mean(1.0 - taken, one),
        "empty_rows": Mean((batch.weights <= 0).sum(), one * batch.weights.shape[0]),
        "weight": Mean(sums.weight, one),
    }
    metrics |= of_scale
    return TrainState(state.step + 1, params, opt_state, teacher, loss_scale), metrics


def _updated(state: TrainState, gradients, taken, tx, table: RateTable):
    """Parameters and optimizer state after the update; as before it where it is not taken."""
    learning = trainable(state.params, table)
    tx = optax.with_extra_args_support(tx)  # optax's own take no `taken`
    updates, opt_state = tx.update(gradients, state.opt_state, learning, taken=taken)
    new = (optax.apply_updates(learning, updates), opt_state)
    old = (learning, state.opt_state)

    def of_adam(node) -> bool:  # keeps its own; to choose again would need a copy of the old ones
        return isinstance(node, AdamState)

    params, opt_state = jax.tree.map(
        lambda n, o: n if of_adam(n) else jnp.where(taken, n, o), new, old, is_leaf=of_adam
    )
    return with_frozen(params, state.params, table), opt_state


def _rescaled(scale: LossScale | None, loss, finite, taken, objective: Objective):
    """The loss scale after an update, and its metrics; no metrics without a scale. The loss is
    computed without the scale, so one that is not finite is a fault of something else."""
    if scale is None:
        return None, {}
    execution = objective.execution
    overflow = jnp.isfinite(loss) & ~finite & can_halve(scale, execution.loss_scale_floor)
    window, largest = execution.loss_scale_window, LARGEST_SCALE
    after = next_scale(scale, taken=taken, overflow=overflow, window=window, largest=largest)
    one = jnp.ones(())
    return after, {
        "non_finite": Mean(one * (~finite & ~overflow), one),
        "loss_scale": Mean(scale.value, one),
        "loss_scale_overflow": Mean(one * overflow, one),
    }


def _moved(state: TrainState, params, opt_state, taken, objective):
    """The teacher after the update that gave params; unchanged if that update was skipped."""
    if state.teacher is None:
        return None
    updates = updates_taken(opt_state, state.step + 1)
    moved = objective.follow(state.teacher, params, updates)
    return jax.tree.map(lambda new, old: jnp.where(taken, new, old), moved, state.teacher)


def _feature_norm(gradients) -> dict[str, Mean]:
    """The norm of the feature encoder's gradient; empty if it is frozen, because 0 is an alarm."""
    if not jax.tree.leaves(gradients):
        return {}
    return {"feature_gradient_norm": Mean(global_norm(gradients), jnp.ones(()))}


def eval_step(
    weights, batch: Batch, step, seed, *, objective: Objective, parts: int = 1, shards: int = 1
) -> tuple[Sums, dict[str, jax.Array]]:
    """Sums and scoring arrays of one evaluation batch; masks depend only on seed and rows.

    weights: `TrainState.weights`. parts: number of microbatches; it changes only the order of sums.
    """
    keys = row_random.row_keys(jax.random.key(seed), jnp.arange(batch.waveforms.shape[0]))
    if parts == 1:
        return objective.evaluate(weights, batch, keys, step)
    pieces = microbatches((batch, keys), parts, shards)
    first = jax.tree.map(lambda x: x[0], pieces)
    sums, _ = jax.eval_shape(objective.evaluate, weights, *first, step)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), sums)

    def add(total, piece):
        piece = jax.tree.map(sharding.constrain_rows, piece)  # as in `accumulated`
        sums, outputs = objective.evaluate(weights, *piece, step)
        return merge(total, sums), outputs

    total, outputs = jax.lax.scan(add, zeros, pieces)
    return total, whole_batch(outputs, shards)


def whole_batch(tree, shards: int):
    """[parts, B / parts, ...] -> [B, ...]: undoes `microbatches`."""

    def join(x):
        parts, rows = x.shape[0], x.shape[1] // shards
        x = x.reshape(parts, shards, rows, *x.shape[2:])
        return x.swapaxes(0, 1).reshape(parts * shards * rows, *x.shape[3:])

    return jax.tree.map(join, tree)
