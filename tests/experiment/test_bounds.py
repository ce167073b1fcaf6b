"""Numbers of a configuration that would turn a loss, a rate or a temperature into another thing
are refused by name: they raise nothing of their own."""

import re

import pytest

from w2v2_jax.data.config import DataConfig
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import VocabularyConfig, construct
from w2v2_jax.health.config import HealthConfig
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.classification import Classification
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.random_targets import RandomTargets
from w2v2_jax.optimizer import SCHEDULES, adam, constant

MODEL = ModelConfig()
DATA = {"train": "a:train", "mode": "crop", "bucket_seconds": (1.0,), "batch_seconds": 8.0,
        "row_multiple": 1}  # fmt: skip
SECTIONS = {
    "model": (ModelConfig, {}, {}),
    "contrastive": (Contrastive, {"diversity_group_seconds": 8.0}, {"model": MODEL}),
    "random_targets": (RandomTargets, {}, {"model": MODEL}),
    "ctc": (CTC, {}, {"model": MODEL, "num_classes": 5}),
    "classify": (Classification, {}, {"model": MODEL, "num_classes": 5}),
    "polynomial": (SCHEDULES["polynomial"], {"peak": 1.0, "warmup": 1, "total": 9}, {}),
    "tri_stage": (SCHEDULES["tri_stage"], {"peak": 1.0, "total": 9}, {}),
    "constant": (constant, {"peak": 1.0}, {}),
    "optimizer": (adam, {}, {"schedule": constant(peak=1.0)}),
    "data": (DataConfig, DATA, {}),
    "health": (HealthConfig, {}, {}),
    "vocabulary": (VocabularyConfig, {}, {}),
}
BAD = [
    ("model.adapter_dim", -1, "must be a whole number, 0 to 65536"),
    ("model.mask_min_spans", -1, "must be a whole number, 0 to"),
    ("model.mask_equalise_rows", -1, "must be a whole number, 0 to"),
    ("model.feature_grad_scale", -0.1, "must be a number, at least 0"),
    ("contrastive.num_negatives", 0, "must be at least 1"),
    ("contrastive.logit_temperature", 0.0, "must be positive"),
    ("contrastive.logit_temperature", -0.1, "must be positive"),
    ("contrastive.diversity_weight", -0.1, "must not be negative"),
    ("contrastive.feature_penalty_weight", -10.0, "must not be negative"),
    ("contrastive.gumbel_end", 0.0, "must be positive"),
    ("contrastive.gumbel_decay", 1.5, "must be at most 1"),
    ("contrastive.num_negatives", 1 << 30, "must be at most 65536"),
    ("contrastive.gumbel_start", 0.1, "must be at least gumbel_end=0.5"),
    ("random_targets.entries", 1, "must be at least 2"),
    ("random_targets.entries", 1 << 30, "must be at most 1048576"),
    ("random_targets.mel_bands", 100_000, "must be at most 257, the bins of the spectrum of a"),
    ("ctc.gumbel_start", 0.1, "must be at least gumbel_end=0.5"),
    ("ctc.gumbel_start", -2.0, "must be positive"),
    ("ctc.freeze_updates", -1, "must not be negative"),
    ("classify.freeze_updates", -1, "must not be negative"),
    ("polynomial.end", -1.0, "must not be negative"),
    ("tri_stage.hold", -0.4, "must be 1"),
    ("tri_stage.start_scale", -0.1, "must not be negative"),
    ("tri_stage.end_scale", 0.0, "must be positive"),
    ("constant.peak", -1.0, "needs a peak above 0"),
    ("optimizer.b1", 1.0, "must be in [0, 1)"),
    ("optimizer.b2", -0.1, "must be in [0, 1)"),
    ("optimizer.weight_decay", -0.01, "must not be negative"),
    ("optimizer.clip_norm", -1.0, "must not be negative"),
    ("optimizer.rate_by_path", (("encoder", -1.0),), "must not be negative"),
    ("data.batch_seconds", 0.0, "must be positive"),
    ("data.valid_batch_seconds", -1.0, "must not be negative"),
    ("data.workers", -1, "must not be negative"),
    ("health.data_wait", -1.0, "must not be negative"),
    ("health.damaged_limit", -0.5, "must not be negative"),
    ("vocabulary.min_count", 0, "must be at least 1"),
]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_defaults_of_a_section_are_within_its_bounds(section):
    constructor, values, supplied = SECTIONS[section]
    construct(section, constructor, values, **supplied)


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_a_number_out_of_its_bounds_is_refused_by_its_path(path, value, message):
    section, _, name = path.partition(".")
    constructor, values, supplied = SECTIONS[section]
    with pytest.raises(InputError, match=re.escape(message)) as error:
        construct(section, constructor, {**values, name: value}, **supplied)
    assert str(error.value).startswith("config.") and "config.config" not in str(error.value)
    assert name in str(error.value)
