"""One update is the same however its rows are spread over microbatches, shards and devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.step_runs import TX, assert_same_run, run
from w2v2_jax import partition
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import adam, constant
from w2v2_jax.train_step import TrainState, _updated, init_state, microbatches

STEPS = 3
slow = pytest.mark.slow


@pytest.fixture(scope="module", params=["contrastive", "ctc"])
def task(request, noisy, random_params, make_batch):
    """(objective with all dropout, LayerDrop and noise on; parameters; batches)."""
    contrastive = request.param == "contrastive"
    if contrastive:
        objective = Contrastive(noisy, diversity_group_seconds=0.1, num_negatives=10)
    else:
        objective = CTC(noisy, num_classes=5)
    batches = [make_batch(labels=not contrastive, seed=seed) for seed in range(STEPS)]
    return objective, random_params(objective), batches


@pytest.fixture(scope="module")
def single(task):
    return run(*task)


def test_training_changes_every_parameter_tensor(task, single):
    _, params, _ = task
    for path, leaf in jax.tree_util.tree_leaves_with_path(single[-1][0].params):
        before = functools.reduce(lambda tree, key: tree[key.key], path, params)
        assert np.abs(leaf - before).max() > 0, path


@pytest.mark.parametrize("task", ["contrastive", pytest.param("ctc", marks=slow)], indirect=True)
def test_eight_microbatches_of_one_row_equal_one_of_eight(task, single):
    assert_same_run(single, run(*task, accumulate=8))


@pytest.mark.parametrize("task", ["contrastive", pytest.param("ctc", marks=slow)], indirect=True)
def test_eight_devices_split_by_rows_and_parameters_equal_one(task, single):
    assert_same_run(single, run(*task, mesh=(2, 2, 2)))


@slow
@pytest.mark.parametrize("mesh", [(8, 1, 1), (1, 8, 1)])
def test_eight_devices_equal_one(mesh, task, single):
    assert_same_run(single, run(*task, mesh=mesh))


@slow
@pytest.mark.parametrize("mesh", [(2, 1, 1), (4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2)])
def test_microbatches_on_shards_equal_one_of_eight(mesh, task, single):
    assert_same_run(single, run(*task, mesh=mesh, accumulate=2))


def test_draws_depend_on_the_step(task, single):
    objective, params, batches = task
    later = run(objective, params, batches[:1], step=1)
    assert later[0][0].step == 2
    assert later[0][1]["loss"].total != single[0][1]["loss"].total


def test_an_update_with_a_non_finite_gradient_is_skipped_counted_and_harmless(task, single):
    objective, params, batches = task
    waveforms = batches[0].waveforms.copy()
    waveforms[3, 10] = np.nan
    broken = batches[0]._replace(waveforms=waveforms)
    (first, metrics), (second, after) = run(objective, params, [broken, batches[1]])
    assert metrics["skipped"].total == 1.0 and after["skipped"].total == 0.0
    assert first.step == 1 and second.step == 2
    jax.tree.map(np.testing.assert_array_equal, first.params, params)
    jax.tree.map(np.testing.assert_array_equal, first.opt_state, TX.init(params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(second))
    assert metrics["non_finite"].total == 1.0 and after["non_finite"].total == 0.0
    assert single[0][1]["skipped"].total == 0.0


def test_a_batch_of_filler_rows_alone_changes_nothing_but_the_step(task, single):
    objective, params, batches = task
    filler = batches[0]._replace(weights=np.zeros(8, np.float32))
    state, metrics = run(objective, params, [batches[0], filler])[1]
    assert metrics["weight"].total == 0 and metrics["gradient_norm"].total == 0.0
    assert metrics["skipped"].total == 1 and metrics["non_finite"].total == 0
    assert metrics["empty_rows"].total == metrics["empty_rows"].weight == 8
    assert state.step == 2
    jax.tree.map(np.testing.assert_array_equal, state.params, single[0][0].params)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, single[0][0].opt_state)


def test_consecutive_rows_stay_together_and_on_their_shard():
    rows = jnp.arange(16)
    parts = microbatches({"rows": rows}, 2, 2)["rows"]  # 2 shards hold rows 0-7 and 8-15
    np.testing.assert_array_equal(parts, [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]])


@slow
def test_microbatching_keeps_diversity_groups_of_two_rows(quiet, random_params, make_batch):
    objective = Contrastive(quiet, diversity_group_seconds=0.125, num_negatives=10)
    one_row = Contrastive(quiet, diversity_group_seconds=0.1, num_negatives=10)
    batches, params = [make_batch(labels=False)], random_params(objective)
    whole = run(objective, params, batches)
    assert_same_run(whole, run(objective, params, batches, accumulate=2))
    other = run(one_row, params, batches)[0][1]["prob_perplexity"].total
    assert abs(other - whole[0][1]["prob_perplexity"].total) > 1e-2


def test_a_state_is_a_function_of_the_seed(quiet):
    objective = CTC(quiet, num_classes=5)
    make = jax.jit(lambda seed: partition.unbox(init_state(objective, TX, seed)))
    first, again, other = make(0), make(0), make(1)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert first.step == 0
    kernel = lambda state: state.params["encoder"]["feature_projection"]["kernel"]  # noqa: E731
    assert np.abs(kernel(first) - kernel(other)).min() > 0


def test_an_update_copies_no_moment_of_adam():
    tensors = {name: jnp.ones((64, 256)) for name in "ab"}
    tx = adam(constant(peak=1e-3))
    state = TrainState(jnp.zeros((), jnp.int32), tensors, tx.init(tensors), None, None)

    def step(state, gradients):
        return _updated(state, gradients, jnp.isfinite(gradients["a"].sum()), tx, ())

    compiled = jax.jit(step, donate_argnums=0).lower(state, tensors).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < tensors["a"].nbytes / 10
