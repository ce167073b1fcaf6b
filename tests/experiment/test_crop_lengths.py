"""What the pretraining recipes hear of corpora, against fairseq's batching, at full size."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.places import ROOT
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.plan import Plan
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.objectives.diversity import group_rows

RATE = 16_000
# fairseq's longest crop and `max_tokens` of one GPU, in samples; hours an update.
BASE = (250_000, 1_400_000, 1.5, 1.7)
LARGE = (320_000, 1_200_000, 2.5, 2.8)
RECIPES = {
    "pretrain_base.py": BASE,
    "pretrain_large.py:ls960": LARGE,
    "pretrain_large.py:lv60k": LARGE,
    "pretrain_xlsr.py:300m": LARGE,
    "continue_pretraining.py:base": BASE,
    "continue_pretraining.py:large": LARGE,
}


@functools.cache
def lengths_of(corpus: str) -> np.ndarray:
    """Samples of clips with a corpus' mean, maximum and shape: LibriSpeech's have their peak at 14
    s (mean 12.3, longest 35.2), Common Voice's at 4.5 (mean 5, longest some 20)."""
    rng = np.random.default_rng(0)
    if corpus == "Common Voice":
        return (np.clip(rng.lognormal(np.log(4.7), 0.38, 600_000), 1.0, 20) * RATE).astype(int)
    seconds = rng.normal(14.5, 1.15, 281_241)
    short, long = rng.random((2, len(seconds)))
    seconds = np.where(short < 0.3, rng.uniform(1.3, 13, len(seconds)), seconds)
    seconds = np.where(long < 0.002, rng.uniform(17, 35.2, len(seconds)), seconds)
    return (np.clip(seconds, 1.3, 35.2) * RATE).astype(int)


@functools.cache
def heard_by_fairseq(corpus: str, crop: int, tokens: int) -> int:
    """Samples of an epoch: clips of 2 s and more by falling length, in batches of at most `tokens`
    (beyond eight, multiples of eight), each cropped to its shortest (fairseq `RawAudioDataset`)."""
    lengths = lengths_of(corpus)
    lengths = np.sort(np.minimum(lengths[lengths >= 2 * RATE], crop))[::-1]
    heard = first = 0
    while first < len(lengths):
        rows = max(1, tokens // int(lengths[first]))
        batch = lengths[first : first + (rows if rows < 8 else rows // 8 * 8)]
        heard, first = heard + len(batch) * int(batch[-1]), first + len(batch)
    return heard


def plan_of(recipe: str, corpus: str) -> Plan:
    data = load_config(f"{ROOT}/experiments/{recipe}")["data"]
    return Plan(
        lengths_of(corpus), seed=1, mode=data["mode"],
        bucket_samples=tuple(round(s * RATE) for s in data["bucket_seconds"]),
        batch_samples=round(data["batch_seconds"] * RATE), row_multiple=data["row_multiple"],
        min_samples=round(data["min_seconds"] * RATE),
    )  # fmt: skip


def groups_of(recipe: str) -> tuple[int, float]:
    """Groups an update, so many devices at most, and their seconds."""
    config = load_config(f"{ROOT}/experiments/{recipe}")
    return config["data"]["row_multiple"], config["objective"]["diversity_group_seconds"]


@pytest.mark.parametrize("corpus", ["LibriSpeech", "Common Voice"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_update_holds_the_published_hours_and_an_epoch_95_percent_of_fairseqs(recipe, corpus):
    crop, tokens, least, most = RECIPES[recipe]
    plan, lengths = plan_of(recipe, corpus), lengths_of(corpus)
    assert plan.summary().utterances == (lengths >= 2 * RATE).sum()
    hours = [rows * samples / RATE / 3600 for rows, samples in plan.shapes]
    assert least < min(hours) and max(hours) <= most
    groups, seconds = groups_of(recipe)
    assert all(rows == groups * group_rows(seconds, samples) for rows, samples in plan.shapes)
    samples = np.array([bucket.samples for bucket in plan.buckets])[plan.layout.buckets]
    real = plan.layout.counts * samples / RATE / 3600
    assert real.min() > 0.97 * min(hours)
    assert (plan.layout.counts * samples).sum() > 0.95 * heard_by_fairseq(corpus, crop, tokens)


def test_clips_that_the_least_length_asks_for_and_no_bucket_takes_are_refused():
    options = dict(train="x", batch_seconds=64.0, row_multiple=1, bucket_seconds=(4.0, 8.0))
    corpus = SimpleNamespace(num_samples=np.array([1, 3, 5, 9]) * RATE)

    def plan(**more):
        return DataConfig(**(options | {"mode": "crop"} | more)).train_plan(corpus, seed=1)

    with pytest.raises(InputError, match=r"1 of 4 .* a bucket of 2 s, or set data\.min_seconds=4"):
        plan(min_seconds=2.0)
    assert plan(min_seconds=4.0).summary().utterances == plan().summary().utterances == 2
    assert plan(min_seconds=2.0, bucket_seconds=(2.0, 4.0)).summary().utterances == 3
    assert DataConfig(**options, mode="pad").least_seconds() == 0.1
    with pytest.raises(InputError, match=r"data\.min_seconds=-1.0 must not be negative"):
        plan(min_seconds=-1.0)
