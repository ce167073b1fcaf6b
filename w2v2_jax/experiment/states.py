"""What becomes of an experiment's state apart from updates: its start from given parameters, and an
average of the parameters in their place."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from w2v2_jax.experiment.build import Experiment
from w2v2_jax.optimizer import averages, trainable, with_averages, with_frozen
from w2v2_jax.train_step import TrainState


def started_from(experiment: Experiment, state: TrainState, params) -> TrainState:
    """A fresh state that starts from these parameters; a teacher and an average of the parameters
    start from them too."""
    shardings = experiment.state_shardings

    def copied(parts, places):  # copies, because an update reuses the buffers of its arguments
        if places is None:
            return None
        copy = lambda params: jax.tree.map(jnp.copy, parts(params))  # noqa: E731
        return jax.jit(copy, out_shardings=places)(params)

    teacher = copied(experiment.objective.teacher, shardings.teacher)
    learning = functools.partial(trainable, table=experiment.rates)
    average = copied(learning, averages(shardings.opt_state))
    opt_state = with_averages(state.opt_state, average)
    return state._replace(params=params, teacher=teacher, opt_state=opt_state)


def exchanged(experiment: Experiment, state: TrainState) -> TrainState:
    """The state with averaged and trained parameters in each other's place: from training to how it
    is validated and saved, and back. The same state if the run has no average."""
    average = averages(state.opt_state)
    if average is None:
        return state
    params = with_frozen(average, state.params, experiment.rates)
    learning = trainable(state.params, experiment.rates)
    opt_state = with_averages(state.opt_state, learning)
    # Moves nothing but stacks with frozen layers, which are new arrays.
    state = state._replace(params=params, opt_state=opt_state)
    return jax.device_put(state, experiment.state_shardings)
