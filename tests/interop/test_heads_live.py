"""Classifiers through transformers' own classes and pipeline (needs torch)."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.interop_cases import LAYER_NORM, random_checkpoint
from w2v2_jax import trees
from w2v2_jax.inference import Model, load
from w2v2_jax.interop import hugging_face
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]
NETWORKS = {
    "group_post": {},
    "layer_pre_sum": LAYER_NORM | dict(layer_sum=True),
    "group_post_sum": dict(layer_sum=True, head_dim=9),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_classify_gives_the_pipelines_labels_and_scores(tiny, tmp_path, name):
    model = dataclasses.replace(tiny, **NETWORKS[name])
    classes = Classes(("no", "stop it", "yes"))
    made = random_checkpoint(
        model, parts=Classification.parts, vocabulary=classes, normalise=True, objective="classify"
    )
    flat = {n: 0.3 * x if x.ndim > 1 else x for n, x in trees.flatten(made.params).items()}
    hugging_face.save(made._replace(params=trees.nest(flat)), tmp_path)
    pipeline = transformers.pipeline("audio-classification", model=str(tmp_path), top_k=None)
    ours = load(tmp_path)
    assert isinstance(ours, Model)
    for seed, (samples, rms) in enumerate([(1237, 0.3), (4001, 0.003), (9000, 0.0003)]):
        noise = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
        waveform = rms * noise + np.float32(0.02)
        theirs = {x["label"]: x["score"] for x in pipeline(waveform.copy())}
        (found,) = ours.classify([waveform])
        assert found.label == max(theirs, key=theirs.get)
        assert found.scores == pytest.approx(theirs, abs=1e-4)
