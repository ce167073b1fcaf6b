"""A network as wide as its convolutions in frameworks that always project features."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.interop_cases import VOCABULARY, assert_same, random_checkpoint
from w2v2_jax.inference import Model
from w2v2_jax.interop import hugging_face, torchaudio_file


@pytest.mark.parametrize("module", [hugging_face, torchaudio_file])
def test_a_network_without_a_projection_leaves_with_one_that_changes_nothing(
    tiny, tmp_path, module
):
    square = dataclasses.replace(tiny, d_model=8)
    source = random_checkpoint(square, parts=("encoder", "head"), vocabulary=VOCABULARY)
    said = module.save(source, tmp_path / "a")
    assert any("written is one that changes nothing" in note for note in said.notes)
    loaded = module.read(tmp_path / "a").loaded
    noise = np.random.default_rng(0).normal(scale=0.1, size=1237).astype(np.float32)
    ours, theirs = (
        Model(one.path, one.description, one.params).logits(noise) for one in (source, loaded)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    projection = loaded.params["encoder"].pop("feature_projection")
    assert np.array_equal(projection["kernel"], np.eye(8)) and not projection["bias"].any()
    loaded.params["encoder"]["mask_embedding"] = source.params["encoder"]["mask_embedding"]
    assert_same(loaded.params, source.params)
