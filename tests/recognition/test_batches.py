"""Many waveforms in few shapes: how rows and lengths are rounded up; parameters on the device."""

import dataclasses
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.inference import Model
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.models.layer_stack import join_layers, split_layers, to_device
from w2v2_jax.recognition.batches import BUCKETS_SECONDS


def shapes_of(tuned, seconds, **options):
    """The shapes computed for waveforms of these seconds, after checking what came back."""
    model = Model(Path("tiny"), tuned.description, {})
    conv_layers = tuned.description.model.conv_layers
    computed = []

    def apply(waveforms, counts):
        computed.append(waveforms.shape)
        frames = int(frame_counts(waveforms.shape[1], conv_layers))
        return np.repeat(waveforms[:, :1], frames, axis=1)

    waveforms = [np.full(round(s * SAMPLE_RATE), i, np.float32) for i, s in enumerate(seconds)]
    found = dict(model.batched(apply, waveforms, **{"batch_seconds": 60.0, **options}))
    assert sorted(found) == list(range(len(seconds)))
    for i, frames in found.items():
        assert len(frames) == frame_counts(len(waveforms[i]), conv_layers) and (frames == i).all()
    return [(rows, samples / SAMPLE_RATE) for rows, samples in computed]


def test_a_lone_utterance_is_computed_once_in_the_smallest_bucket_that_holds_it(tuned):
    assert shapes_of(tuned, [2.5]) == [(1, 3.0)]


def test_groups_of_one_bucket_take_rows_of_the_next_power_of_two(tuned):
    assert shapes_of(tuned, [7.5, 0.9, 7.9, 7.2]) == [(1, 1.0), (4, 8.0)]


def test_no_batch_holds_more_than_batch_seconds(tuned):
    assert shapes_of(tuned, [9.0] * 8, batch_seconds=60.0) == [(6, 10.0), (2, 10.0)]
    assert shapes_of(tuned, [9.0, 9.5], batch_seconds=5.0) == [(1, 10.0)] * 2


def test_from_two_seconds_up_a_bucket_is_at_most_half_as_long_again_as_the_one_before():
    steps = [b / a for a, b in itertools.pairwise(BUCKETS_SECONDS[1:])]
    assert min(steps) > 1 and max(steps) <= 1.5


def test_weights_of_other_shapes_than_the_description_says_are_one_line(tuned):
    vocabulary = tuned.description.ctc_vocabulary
    fewer = dataclasses.replace(vocabulary, symbols=vocabulary.symbols[:-1])
    model = Model(Path("edited"), tuned.description._replace(vocabulary=fewer), tuned.params)
    with pytest.raises(InputError, match=r"^edited: its weights do not fit its .*head"):
        model.logits(np.zeros((1, 4000), np.float32))


def test_parameters_go_to_the_device_in_layers_and_leave_nothing_behind(tuned):
    params = jax.tree.map(np.asarray, tuned.params)
    moved = to_device(jax.tree.map(lambda x: x, params))
    jax.tree.map(np.testing.assert_array_equal, moved, split_layers(params))
    jax.tree.map(np.testing.assert_array_equal, join_layers(moved), params)
    given = {"a": {"b": np.ones(3)}}
    to_device(given)
    assert given == {}
