"""The average of the parameters over updates: its values, its bytes, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.program_cases import programs
from tests.helpers.recipes import smoke
from tests.helpers.step_runs import run, with_untaken
from w2v2_jax import partition, trees
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build, states
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import adam, averages, constant, rate_table, trainable
from w2v2_jax.train_step import init_state
from w2v2_jax.vocabulary import LIBRISPEECH

DECAY = 0.3  # reached at the third update: (1 + 3) / (10 + 3) is above it
TX = adam(constant(peak=1e-2), eps=1e-2, ema_decay=DECAY)
LOWER = (("layers[0:1]/", 0.0), ("feature_extractor|position", 0.0))


def size(tree) -> int:
    """Bytes of the arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def by_numpy(start, parameters):
    """The average after each of the updates that gave these parameters."""
    average, history = wide(start), []
    for n, params in enumerate(parameters, 1):
        keep = min(DECAY, (1 + n) / (10 + n))
        average = jax.tree.map(lambda a, p, k=keep: k * a + (1 - k) * p, average, wide(params))
        history.append(average)
    return history


def close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("rates", [(), (("head", 0.0),)])
def test_it_has_its_closed_form_and_changes_no_update(rates):
    params = {"encoder": jnp.arange(3.0), "head": jnp.ones(2)}
    start, seen = params, []
    tx, plain = (adam(constant(peak=0.1), rate_by_path=rates, ema_decay=d) for d in (DECAY, 0.0))
    state, other, expected = tx.init(params), plain.init(params), params
    for n in range(6):
        gradients = jax.tree.map(lambda x, n=n: x - n, params)
        updates, state = tx.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        updates, other = plain.update(gradients, other, expected)
        expected = jax.tree.map(jnp.add, expected, updates)
        same(params, expected)
        seen.append((params, averages(state)))
    table = rate_table(rates, 0)
    for (_, average), wanted in zip(seen, by_numpy(start, [p for p, _ in seen]), strict=True):
        close(average, trainable(wanted, table))
        assert {leaf.dtype for leaf in jax.tree.leaves(average)} == {jnp.dtype("float32")}
    assert np.abs(average["encoder"] - params["encoder"]).max() > 1e-3


def test_a_decay_near_1_loses_no_digits():
    tx, count = adam(constant(peak=1.0), weight_decay=0.0, ema_decay=0.9999), 100_000
    state, params = tx.init({"x": jnp.zeros(1)}), {"x": jnp.ones(1)}
    old = jax.tree.map(lambda x: jnp.asarray(count) if x.dtype == jnp.int32 else x, state)
    _, state = tx.update({"x": jnp.zeros(1)}, old, params)
    np.testing.assert_allclose(averages(state)["x"], 1e-4, rtol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_a_decay_outside_0_to_1_is_refused(decay):
    with pytest.raises(InputError, match=r"optimizer\.ema_decay=.* must be in \[0, 1\)"):
        adam(constant(peak=0.1), ema_decay=decay)


@pytest.fixture(scope="module")
def objective(quiet):
    return CTC(quiet, num_classes=5)


@pytest.mark.parametrize("rates", [(), (("^head/", 1.0), (".", 0.0)), LOWER])
def test_it_takes_the_bytes_of_what_learns_and_none_for_frozen_parameters_and_layers(
    objective, random_params, rates
):
    params = random_params(objective)
    average, plain = (
        adam(constant(peak=0.1), rate_by_path=rates, ema_decay=d, num_layers=2).init(params)
        for d in (DECAY, 0.0)
    )
    learning = trainable(params, rate_table(rates, 2))
    assert size(average) - size(plain) == size(learning) + 4  # a count
    assert size(learning) < size(params) or not rates
    same(averages(average), learning)


def test_it_is_sharded_as_the_parameters_are(objective):
    boxed = jax.eval_shape(lambda: init_state(objective, TX, 0))
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2, devices=jax.devices())
    state = partition.shardings(boxed, mesh)
    spec = lambda tree: jax.tree.map(lambda s: s.spec, tree)  # noqa: E731
    assert spec(averages(state.opt_state)) == spec(state.params)
    used = spec(state.params)["encoder"]["transformer"]["layers"]["feed_forward_in"]["kernel"]
    assert tuple(used) == (None, "fsdp", "tensor")


@pytest.fixture(scope="module")
def batches(make_batch):
    return with_untaken([make_batch(seed=seed) for seed in range(5)])


@pytest.fixture(scope="module")
def history(objective, random_params, batches):
    return run(objective, random_params(objective), batches, tx=TX)


def test_it_averages_after_updates_that_were_taken_and_skipped_ones_leave_it(
    objective, random_params, history
):
    skipped = [float(metrics["skipped"].total) for _, metrics in history]
    assert skipped == [0, 1, 0, 1, 0]
    taken = [state for (state, _), skip in zip(history, skipped, strict=True) if not skip]
    expected = by_numpy(random_params(objective), [state.params for state in taken])
    for state, average in zip(taken, expected, strict=True):
        close(averages(state.opt_state), average)
    for before, after in ((0, 1), (2, 3)):
        same(history[before][0].opt_state, history[after][0].opt_state)


@pytest.mark.slow
@pytest.mark.parametrize(("mesh", "accumulate"), [((1, 1, 1), 2), ((2, 1, 1), 2), ((2, 2, 2), 1)])
def test_microbatches_and_devices_make_the_average_of_one(
    objective, random_params, batches, history, mesh, accumulate
):
    params = random_params(objective)
    spread = run(objective, params, batches, mesh=mesh, accumulate=accumulate, tx=TX)
    for (a, _), (b, _) in zip(history, spread, strict=True):
        close(averages(a.opt_state), averages(b.opt_state))


def built(spec, *, devices=1, **optimizer):
    config = smoke(spec)
    config["optimizer"] = {**config["optimizer"], **optimizer}
    if devices == 8:
        config["mesh"] = dict(data=2, fsdp=2, tensor=2)
    places = jax.devices("cpu")[:devices]
    return build.build(read_settings(config), vocabulary=LIBRISPEECH, devices=places)


def test_exchanged_twice_a_state_is_itself_and_lies_where_it_lay():
    run = built("quickstart.py:finetune", devices=8, ema_decay=DECAY, rate_by_path=LOWER)
    state = run.init()
    trained = jax.tree.map(lambda x: x + 1, state.params)
    trained = jax.device_put(trained, run.state_shardings.params)
    state = states.started_from(run, state, trained)
    same(averages(state.opt_state), trainable(trained, run.rates))  # a start is its own average
    state = state._replace(params=jax.tree.map(lambda x: x * 2, trained))
    shown = states.exchanged(run, state)
    for name, leaf in trees.flatten(shown.params).items():
        plain, doubled = (trees.flatten(tree)[name] for tree in (trained, state.params))
        if "/layers/" in name:
            np.testing.assert_array_equal(leaf, np.concatenate([doubled[:1], plain[1:]]))
        else:
            frozen = "feature_extractor" in name or "position" in name
            np.testing.assert_array_equal(leaf, doubled if frozen else plain)
    same(states.exchanged(run, shown), state)
    for tree in (shown, states.exchanged(run, shown)):
        where = jax.tree.map(lambda x, place: x.sharding == place, tree, run.state_shardings)
        assert all(jax.tree.leaves(where))


def test_without_it_state_and_programs_are_those_of_before():
    spec = "finetune.py:base_10h"
    off, average = built(spec), built(spec, ema_decay=DECAY)
    state = off.abstract_state
    assert states.exchanged(off, state) is state and averages(state.opt_state) is None
    assert jax.tree.structure(state) == jax.tree.structure(
        built(spec, ema_decay=0.0).abstract_state
    )
    assert jax.tree.structure(state) != jax.tree.structure(average.abstract_state)
    plain, zero, on = (
        programs(spec, change)
        for change in ({}, {"optimizer.ema_decay": 0.0}, {"optimizer.ema_decay": DECAY})
    )
    assert plain == zero
    assert {name for name in plain if plain[name] != on[name]} == set(plain) - {"eval"}
