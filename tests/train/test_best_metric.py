"""`train.best_metric` is held against the figures of a validation before the first update."""

import types

import jax
import pytest

from tests.helpers.recipes import smoke
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.train.validation import check_best_metric
from w2v2_jax.vocabulary import LIBRISPEECH

RECIPES = {
    "pretrain_random_targets.py": ["loss", "accuracy"],
    "pretrain_ema_teacher.py": ["loss", "target_deviation"],
    "finetune.py:base_10h": ["loss", "wer", "cer"],
    "classify.py:tuned": ["accuracy", "macro_f1"],
}


def check(recipe, **train):
    config = smoke(recipe)
    config["train"] |= train
    settings = read_settings(config)
    built = experiment.build(
        settings, vocabulary=settings.usual_vocabulary(), devices=jax.devices()[:2]
    )
    feed = types.SimpleNamespace(
        plan=types.SimpleNamespace(shapes=[(8, 32000), (8, 16000)]), symbols=LIBRISPEECH
    )
    check_best_metric(built, feed)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_figure_that_no_validation_has_is_refused_with_those_it_has(recipe):
    with pytest.raises(InputError, match=r"train\.best_metric='wrr' is not a validation") as error:
        check(recipe, best_metric="wrr")
    known = str(error.value).partition("known: ")[2].split(", ")
    assert set(RECIPES[recipe]) <= set(known)


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_a_figure_of_the_device_is_one(name):
    check("pretrain_random_targets.py", best_metric=name)
