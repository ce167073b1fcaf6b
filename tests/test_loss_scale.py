"""float16: losses, gradients and updates near float32's, and the scale that makes them so."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import test_update
from tests.helpers.step_runs import TX, assert_same_run, run
from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.models import row_random
from w2v2_jax.models.execution import LARGEST_SCALE, Execution
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import updates_taken
from w2v2_jax.optimizer.loss_scale import LossScale, can_halve, first_scale, next_scale
from w2v2_jax.train_step import init_state

slow = pytest.mark.slow
OVERFLOW, TAKEN, EMPTY = "overflow", "taken", "empty"


def after(events, *, start=128.0, window=3):
    """The scale after each of the events."""
    scale, values = first_scale(start), []
    for event in events:
        scale = next_scale(
            scale, taken=jnp.array(event == TAKEN), overflow=jnp.array(event == OVERFLOW),
            window=window, largest=LARGEST_SCALE,
        )  # fmt: skip
        values.append(float(scale.value))
    return values


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([TAKEN] * 7, [128, 128, 256, 256, 256, 512, 512]),
        ([TAKEN, TAKEN, OVERFLOW, TAKEN, TAKEN, TAKEN], [128, 128, 64, 64, 64, 128]),
        ([OVERFLOW] * 3, [64, 32, 16]),
        ([TAKEN, EMPTY, TAKEN, EMPTY, TAKEN], [128, 128, 128, 128, 256]),
    ],
)
def test_the_scale_is_halved_at_an_overflow_and_doubled_after_a_window_without(events, expected):
    assert after(events) == expected


def test_the_scale_has_a_largest_value_and_is_not_halved_to_the_floor():
    assert after([TAKEN] * 3, start=LARGEST_SCALE, window=1) == [LARGEST_SCALE] * 3
    floors = [bool(can_halve(first_scale(4.0), floor)) for floor in (1.9, 2.0, 2.1)]
    assert floors == [True, False, False]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"loss_scale_start": 100.0}, "loss_scale_start=100.0 must be a power of 2"),
        ({"loss_scale_start": 2.0**25}, "must be a power of 2 from 2\\^-24 to 2\\^24"),
        ({"loss_scale_start": 2.0**-140, "loss_scale_floor": 0.0}, "must be a power of 2 from"),
        ({"loss_scale_start": float("nan")}, "must be a power of 2"),
        ({"loss_scale_floor": 128.0}, "below execution.loss_scale_start=128.0"),
        ({"loss_scale_floor": -1.0}, "must be at least 0"),
        ({"loss_scale_window": 0}, "loss_scale_window=0 must be a whole number from 1"),
        ({"loss_scale_start": "abc"}, "loss_scale_start=abc must be a power of 2"),
        ({"loss_scale_start": True}, "loss_scale_start=True must be a power of 2"),
        ({"loss_scale_floor": [1]}, r"loss_scale_floor=\[1\] must be at least 0"),
        ({"loss_scale_window": "abc"}, "loss_scale_window=abc must be a whole number from 1"),
        ({"loss_scale_window": 2.5}, "loss_scale_window=2.5 must be a whole number from 1"),
        ({"loss_scale_window": 10**10}, "loss_scale_window=10000000000 must .* below 2\\^31"),
    ],
)
def test_a_setting_that_cannot_work_is_named(setting, message):
    with pytest.raises(InputError, match=message):
        Execution(**setting)


@pytest.mark.parametrize(("accumulate", "data"), [(1, 1), (2, 1), (4, 2)])
def test_a_scale_alone_changes_no_bit_of_an_update(accumulate, data):
    state, batch = test_update.state_and_batch()
    objective = types.SimpleNamespace(
        loss=test_update.loss, execution=Execution(dtype="float16", loss_scale_window=1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_update, "OBJECTIVE", objective)
        mesh = partition.make_mesh(data=data, devices=jax.devices()[:data])
        with jax.set_mesh(mesh):
            take = jax.jit(lambda s, b: test_update.step(s, b, accumulate=accumulate, shards=data))
            plain, metrics = take(state, batch)
            scaled, with_scale = take(state._replace(loss_scale=first_scale(2.0**13)), batch)
    jax.tree.map(np.testing.assert_array_equal, scaled.params, plain.params)
    for name, mean in metrics.items():
        np.testing.assert_array_equal(with_scale[name], mean, err_msg=name)
    assert float(with_scale["loss_scale"].total) == 2.0**13
    assert float(scaled.loss_scale.value) == 2.0**14 and plain.loss_scale is None


# Networks ----------------------------------------------------------------------------------------


def objective_of(kind, config, **execution):
    execution = Execution(**{"dtype": "float16"} | execution)
    if kind == "contrastive":
        return Contrastive(
            config, diversity_group_seconds=0.1, num_negatives=10, execution=execution
        )
    return CTC(config, num_classes=5, execution=execution)


@pytest.fixture(scope="module", params=["contrastive", pytest.param("ctc", marks=slow)])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def batches(kind, make_batch):
    return [make_batch(labels=kind == "ctc", seed=seed) for seed in range(3)]


@functools.cache
def gradient_of(objective):
    def loss(params, batch, scale):
        keys = row_random.row_keys(jax.random.key(3), jnp.arange(8))
        sums = objective.loss(params, batch, keys, 0)
        return sums.loss * scale, sums.loss

    return jax.jit(jax.grad(loss, has_aux=True))


def loss_and_gradients(objective, params, batch, scale):
    gradients, value = gradient_of(objective)(params, batch, np.float32(scale))
    return value, jax.tree.map(lambda g: g / scale, gradients)


def differences(one, other):
    """The largest difference of a tensor's gradient, as a share of its norm or of a thousandth of
    the largest norm."""
    norms = jax.tree.map(np.linalg.norm, other)
    least = 1e-3 * max(jax.tree.leaves(norms))
    share = lambda a, b, norm: float(np.linalg.norm(a - b) / max(norm, least))  # noqa: E731
    return max(jax.tree.leaves(jax.tree.map(share, one, other, norms)))


PAIRS = [("contrastive", "group"), ("ctc", "layer"), ("contrastive", "layer"), ("ctc", "group")]


@pytest.mark.parametrize(
    ("kind", "norm"), [*PAIRS[:2], *(pytest.param(*pair, marks=slow) for pair in PAIRS[2:])]
)
def test_loss_and_gradients_are_near_those_of_float32(kind, norm, noisy, random_params, make_batch):
    """And gradients too small for float16 are lost without a scale."""
    order, layer = ("post" if norm == "group" else "pre"), norm == "layer"
    config = dataclasses.replace(noisy, extractor_norm=norm, conv_bias=layer, norm_order=order)
    full, low = (objective_of(kind, config, dtype=dtype) for dtype in ("float32", "float16"))
    params, batch = random_params(full), make_batch(labels=kind == "ctc")
    expected, exact = loss_and_gradients(full, params, batch, 1.0)
    loss, gradients = loss_and_gradients(low, params, batch, 128.0)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))
    assert abs(loss / expected - 1) < 1e-3
    assert differences(gradients, exact) < 0.02
    assert differences(loss_and_gradients(low, params, batch, 2.0**-20)[1], exact) > 0.3


def assert_unchanged(state, params):
    jax.tree.map(np.testing.assert_array_equal, state.params, params)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, TX.init(params))
    assert updates_taken(state.opt_state) == 0


def test_an_overflow_halves_the_scale_and_changes_nothing_else(kind, quiet, random_params, batches):
    objective = objective_of(kind, quiet, loss_scale_start=2.0**24)
    params = random_params(objective)
    (state, metrics), (second, later) = run(objective, params, batches[:2])
    usual = run(objective_of(kind, quiet, loss_scale_window=2), params, batches[:1])[0][1]
    assert_unchanged(state, params)
    assert state.step == 1
    assert (state.loss_scale.value, state.loss_scale.taken) == (2.0**23, 0)
    assert metrics["loss_scale"].total == 2.0**24
    flags = ("skipped", "non_finite", "loss_scale_overflow")
    assert [metrics[name].total for name in flags] == [1, 0, 1]
    np.testing.assert_array_equal(metrics["loss"], usual["loss"])  # without the scale
    assert later["loss_scale"].total == 2.0**23 and second.step == 2


def test_the_run_goes_on_once_the_scale_fits(kind, quiet, random_params, batches):
    objective = objective_of(kind, quiet, loss_scale_start=2.0**24)
    history = run(objective, random_params(objective), batches[:1] * 24)
    overflows = [int(metrics["loss_scale_overflow"].total) for _, metrics in history]
    assert 0 < sum(overflows) < 24 and overflows == sorted(overflows, reverse=True)
    state, metrics = history[-1]
    assert state.loss_scale.value == 2.0 ** (24 - sum(overflows))
    assert updates_taken(state.opt_state) == state.loss_scale.taken == 24 - sum(overflows)
    assert np.isfinite(metrics["gradient_norm"].total)


def test_what_is_not_finite_at_the_floor_is_a_fault(kind, quiet, random_params, batches):
    objective = objective_of(kind, quiet, loss_scale_start=2.0**24, loss_scale_floor=2.0**23)
    params = random_params(objective)
    state, metrics = run(objective, params, batches[:1])[0]
    assert_unchanged(state, params)
    assert state.loss_scale.value == 2.0**24
    assert metrics["non_finite"].total == 1 and metrics["loss_scale_overflow"].total == 0


def test_a_loss_that_is_not_finite_is_a_fault_and_not_the_scales(
    kind, quiet, random_params, batches
):
    objective = objective_of(kind, quiet, loss_scale_window=2)
    params = random_params(objective)
    waveforms = batches[0].waveforms.copy()
    waveforms[3, 10] = np.nan
    state, metrics = run(objective, params, [batches[0]._replace(waveforms=waveforms)])[0]
    assert_unchanged(state, params)
    assert (state.loss_scale.value, state.loss_scale.taken) == (128, 0)
    assert metrics["non_finite"].total == 1 and metrics["loss_scale_overflow"].total == 0


def test_the_scale_grows_with_updates_that_were_taken(kind, quiet, random_params, batches):
    objective = objective_of(kind, quiet, loss_scale_window=2)
    empty = batches[1]._replace(weights=np.zeros(8, np.float32))
    history = run(objective, random_params(objective), [batches[0], empty, *batches[1:]])
    assert [float(state.loss_scale.value) for state, _ in history] == [128, 128, 256, 256]
    assert [int(state.loss_scale.taken) for state, _ in history] == [1, 1, 0, 1]


SPREAD = [
    ({"accumulate": 2}, ()),
    ({"mesh": (2, 2, 2)}, ()),
    ({"accumulate": 2, "mesh": (2, 1, 1)}, slow),
]


@pytest.mark.parametrize(
    "spread", [pytest.param(spread, marks=marks) for spread, marks in SPREAD], ids=str
)
def test_microbatches_and_devices_change_only_roundings(
    kind, noisy, random_params, batches, spread
):
    objective = objective_of(kind, noisy, loss_scale_start=2.0**15)
    params = random_params(objective)
    single = run(objective, params, batches)
    # Another order of sums may turn roundings of activations to float16.
    tolerances = dict(metrics=(2e-3, 1e-5), params=(1e-3, 1e-4))
    assert_same_run(single, run(objective, params, batches, **spread), **tolerances)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes_have_no_scale_in_their_state_or_checkpoint(quiet, dtype):
    def state_of(dtype):
        objective = objective_of("ctc", quiet, dtype=dtype)
        return jax.eval_shape(lambda: init_state(objective, TX, 0))

    states = {name: state_of(name) for name in (dtype, "float16")}
    assert states[dtype].loss_scale is None
    assert set(states[dtype].training) == {"step", "opt_state"}
    assert set(states["float16"].training) == {"step", "opt_state", "loss_scale"}
    assert isinstance(states["float16"].loss_scale, LossScale)
    shapes = lambda state: [leaf.shape for leaf in jax.tree.leaves(partition.unbox(state))]  # noqa: E731
    assert shapes(states["float16"]) == [*shapes(states[dtype]), (), ()]
