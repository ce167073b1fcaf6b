"""What a network or an objective is called with: a mistake is one line, and nothing is ignored."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers.step_runs import TX
from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.ema_teacher import EMATeacher
from w2v2_jax.objectives.random_targets import RandomTargets
from w2v2_jax.optimizer import updates_taken
from w2v2_jax.train_step import TrainState, train_step, with_teacher

WAVES, COUNTS = jax.ShapeDtypeStruct((2, 1000), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)
KEYS = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def call(tiny, waveforms=WAVES, num_samples=COUNTS, **options):
    """The shapes that a network's call gives: nothing is compiled."""
    network = Wav2Vec2ForCTC(tiny, 5)
    params = jax.eval_shape(network.init, jax.random.key(0), WAVES, COUNTS)
    return jax.eval_shape(
        functools.partial(network.apply), params, waveforms, num_samples, **options
    )


def test_a_call_that_fits_passes(tiny):
    logits, _ = call(tiny, keys=KEYS, mask=shape(2, 49, dtype=bool))
    assert logits.shape == (2, 49, 5)
    legacy = shape(2, 2, dtype=jnp.uint32)  # jax.random.PRNGKey's
    assert call(tiny, keys=legacy)[0].shape == (2, 49, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"waveforms": shape(1000)}, r"waveforms are float32 \[1000\]; give floats \[B, S\]"),
        ({"waveforms": shape(2, 1000, 1)}, r"waveforms are float32 \[2, 1000, 1\]"),
        ({"waveforms": shape(2, 1000, dtype=jnp.int16)}, r"waveforms are int16 \[2, 1000\]"),
        ({"num_samples": shape(1, dtype=jnp.int32)}, r"num_samples are int32 \[1\]; give whole"),
        ({"num_samples": shape(dtype=jnp.int32)}, r"num_samples are int32 \[\]"),
        ({"num_samples": shape(2)}, r"num_samples are float32 \[2\]"),
        ({"keys": shape(dtype=KEYS.dtype)}, r"keys are key.* \[\]; give one for each of the 2"),
        ({"keys": shape(3, dtype=KEYS.dtype)}, r"keys are key.* \[3\]"),
        ({"keys": shape(2, dtype=jnp.uint32)}, r"keys are uint32 \[2\]"),
        ({"mask": shape(2, 50, dtype=bool)}, r"mask is bool \[2, 50\]; give \[2, 49\]"),
        ({"mask": shape(49, dtype=bool)}, r"mask is bool \[49\]"),
        ({"channel_mask": shape(2, 49, dtype=bool)}, r"channel_mask is bool .*; give \[2, 16\]"),
        ({"rngs": {"dropout": jax.random.key(0)}}, r"rngs=\['dropout'\] change nothing: dropout"),
    ],
)
def test_a_call_that_does_not_fit_is_one_line(tiny, arguments, message):
    with pytest.raises(InputError, match=message):
        call(tiny, **arguments)


def test_missing_counts_are_named(tiny):
    with pytest.raises(InputError, match="num_samples are of type NoneType"):
        Wav2Vec2ForCTC(tiny, 5).init(jax.random.key(0), jnp.zeros((2, 1000)), None)


def objectives(tiny):
    return [
        Contrastive(tiny, diversity_group_seconds=1.0),
        RandomTargets(tiny, entries=8, mel_bands=6),
        EMATeacher(tiny, top_layers=1),
        CTC(tiny, 5),
    ]


BATCH = Batch(WAVES, COUNTS, shape(2), shape(2, 6, dtype=jnp.int32), shape(2, dtype=jnp.int32))


def loss_of(objective, batch=BATCH, keys=KEYS):
    params = jax.eval_shape(objective.init, jax.random.key(0))
    weights = with_teacher(params, objective.teacher(params))
    return jax.eval_shape(objective.loss, weights, batch, keys, 0)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"weights": None}, KEYS, "batch.weights are of type NoneType; give [2], 1 for a real"),
        ({"weights": shape(3)}, KEYS, "batch.weights are float32 [3]"),
        ({"waveforms": shape(1000)}, KEYS, "waveforms are float32 [1000]; give floats [B, S]"),
        ({"waveforms": shape(2, 9)}, KEYS, "9 samples are too few for one frame"),
        ({"num_samples": shape(3, dtype=jnp.int32)}, KEYS, "num_samples are int32 [3]"),
        ({}, None, "draws from keys [B]; give one for each row, as jax.random.split(key, B)"),
        ({}, jax.eval_shape(lambda: jax.random.key(0)), "[]; give one for each of the 2 rows"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_line(tiny, number, changes, keys, message):
    with pytest.raises(InputError, match=re.escape(message)):
        loss_of(objectives(tiny)[number], BATCH._replace(**changes), keys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, r"batch\.labels are of type NoneType; give whole numbers \[2, U\]"),
        ({"num_labels": None}, r"batch\.num_labels are of type NoneType; give whole numbers \[2\]"),
        ({"labels": shape(2, 6)}, r"batch\.labels are float32 \[2, 6\]"),
        ({"labels": shape(6, dtype=jnp.int32)}, r"batch\.labels are int32 \[6\]"),
        ({"num_labels": shape(1, dtype=jnp.int32)}, r"batch\.num_labels are int32 \[1\]"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(tiny, changes, message):
    with pytest.raises(InputError, match=message):
        loss_of(CTC(tiny, 5), BATCH._replace(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": np.full((2, 3), 5)},
            "labels are 5 to 5; give 1 to 4, with num_classes=5",
        ),
        ({"labels": np.full((2, 3), -100)}, "batch.labels are -100 to -100"),
        ({"labels": np.array([[1, 0, 2], [1, 1, 1]])}, "batch.labels are 0 to 2; give 1 to 4"),
        ({"num_labels": np.array([4, 1])}, "batch.num_labels=[4 1] must be 0 to 3"),
        ({"num_samples": np.array([1001, 9])}, "num_samples=[1001    9] must be 0 to 1000"),
    ],
)
def test_labels_that_are_no_class_are_told_where_values_are_known(tiny, changes, message):
    """A label beyond the classes would cost nothing at any frame."""
    batch = Batch(
        np.zeros((2, 1000), np.float32), np.array([1000, 800]), np.ones(2, np.float32),
        np.array([[1, 2, -100], [3, -100, -100]]), np.array([2, 1]),
    )  # fmt: skip
    objective = CTC(tiny, 5)
    keys = jax.random.split(jax.random.key(0), 2)
    objective.check(batch, keys, num_classes=5)  # what pads labels is ignored
    changed = batch._replace(**changes)
    if "labels" in changes:
        changed = changed._replace(num_labels=np.array([3, 1]))
    with pytest.raises(InputError, match=re.escape(message)):
        objective.loss({}, changed, keys, 0)


def test_a_loss_without_its_teacher_says_where_one_is(tiny):
    objective = EMATeacher(tiny, top_layers=1)
    params = jax.eval_shape(objective.init, jax.random.key(0))
    with pytest.raises(InputError, match=r"no teacher: give TrainState\.weights"):
        jax.eval_shape(objective.loss, params, BATCH, KEYS, 0)


def stepped(objective, tx, batch=BATCH, **options):
    params = jax.eval_shape(objective.init, jax.random.key(0))
    teacher, opt_state = objective.teacher(params), jax.eval_shape(tx.init, params)
    state = TrainState(shape(dtype=jnp.int32), params, opt_state, teacher)
    step = functools.partial(train_step, objective=objective, tx=tx, **options)
    return jax.eval_shape(step, state, batch, shape(dtype=jnp.uint32))


OPTIMIZERS = [
    optax.sgd(1e-3),
    optax.adamw(1e-3),
    optax.chain(optax.clip_by_global_norm(1.0), optax.lion(1e-4)),
    optax.inject_hyperparams(optax.rmsprop)(1e-3),
    TX,
]


@pytest.mark.parametrize("tx", OPTIMIZERS)
@pytest.mark.parametrize("make", [lambda model: CTC(model, 5), lambda m: EMATeacher(m, 1)])
def test_the_step_takes_any_optimizer_of_optax(tiny, tx, make):
    """One without a schedule ended a step with a teacher in StopIteration."""
    state, metrics = stepped(make(tiny), tx, accumulate=1)
    assert state.step.shape == () and "loss" in metrics


@pytest.mark.parametrize(
    ("tx", "counted"),
    [
        (optax.adamw(1e-3), 2),
        (optax.chain(optax.clip(1.0), optax.lion(1e-4)), 2),
        (optax.inject_hyperparams(optax.sgd)(1e-3), 2),
        (optax.sgd(optax.constant_schedule(1e-3)), 2),
        (optax.sgd(1e-3, momentum=0.9), 7),  # which counts nothing
        (TX, 2),
    ],
)
def test_the_updates_of_an_optimizer_are_those_it_counts(tx, counted):
    params = {"encoder": {"x": jnp.ones(2)}}
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(params, state, params)
    assert updates_taken(state, 7) == counted


def test_rows_that_do_not_divide_into_microbatches_are_told(tiny):
    with pytest.raises(InputError, match="2 rows do not divide into accumulate=3 microbatches"):
        stepped(CTC(tiny, 5), TX, accumulate=3)


def test_a_configuration_takes_the_numbers_of_numpy_and_stays_json(tiny):
    changed = dataclasses.replace(
        tiny, d_model=np.int64(16), dropout=np.float32(0.5), conv_bias=np.bool_(True)
    )
    assert changed == dataclasses.replace(tiny, dropout=0.5, conv_bias=True)
    json.dumps(dataclasses.asdict(changed))


@pytest.mark.parametrize("layers", ["abc", None, [3, 4], [("a", 1, 1)]])
def test_layers_that_are_no_rows_of_numbers_are_named(layers):
    with pytest.raises(InputError, match=r"model\.conv_layers=.* must be "):
        ModelConfig(conv_layers=layers)
