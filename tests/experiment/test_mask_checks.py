"""Masks that would silently be none, or everything, are refused by the path of their setting."""

import re

import jax
import pytest

from tests.helpers.recipes import smoke
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build
from w2v2_jax.experiment.settings import read_settings

PRETRAIN, TUNE = "evidence.py:pretrain", "finetune.py:base_10h"


def built(spec, **values):
    config = smoke(spec)
    for path, value in values.items():
        section, _, name = path.partition("__")
        config[section][name] = value
    settings = read_settings(config)
    devices = jax.devices()[:1]
    return build.build(settings, vocabulary=settings.usual_vocabulary(), devices=devices)


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        (PRETRAIN, {"mask_start_prob": 0.0}, "mask_start_prob=0 masks nothing"),
        (PRETRAIN, {"mask_start_prob": 0.65, "mask_length": 10}, "mask_start_prob=0.65 with"),
        (TUNE, {"mask_start_prob": 0.65}, "of the frames; use at most 0.26 (fairseq's mask_prob"),
        (
            PRETRAIN,
            {"mask_length": 99},
            "mask_length=99 must be below the 99 frames of",
        ),
        (TUNE, {"mask_length": 1000}, "mask_length=1000 must be below"),
        (TUNE, {"mask_min_spans": 95}, "mask_min_spans=95 of mask_length=10 cover"),
        (
            TUNE,
            {"channel_mask_length": 32},
            "channel_mask_length=32 must be below model.d",
        ),
        (PRETRAIN, {"entries": 1}, "model.entries=1: all targets would be the same"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(spec, values, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        built(spec, **{f"model__{name}": value for name, value in values.items()})
    assert str(error.value).startswith("config.")


def test_rows_without_a_frame_are_refused():
    message = "the longest rows, 0.02 s, have no frame of config.model.conv_layers"
    with pytest.raises(InputError, match=re.escape(message)):
        built(TUNE, data__bucket_seconds=(0.02,))


def test_fine_tuning_without_masks_has_none_to_check():
    built(TUNE, model__mask_start_prob=0.0, model__mask_length=1000)


def test_the_toy_size_has_channels_that_are_not_masked():
    model = built(TUNE).model
    assert model.channel_mask_start_prob and model.channel_mask_length < model.d_model
