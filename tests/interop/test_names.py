"""What works on any table of names: splitting, joining, and what is refused."""

import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.interop import fairseq_names, hugging_face_names, names, torchaudio_names
from w2v2_jax.interop.names import STACKED
from w2v2_jax.trees import flatten, nest

TABLE = (
    ("head/kernel", ("proj.weight",), "linear"),
    ("encoder/conv_{i}/bias", ("convs.{i}.bias",), "same"),
    (STACKED + "bias", ("layers.{i}.q", "layers.{i}.k", "layers.{i}.v"), "qkv_bias"),
)
SHAPES = {"head/kernel": (2, 3), "encoder/conv_1/bias": (4,), STACKED + "bias": (2, 3, 1, 2)}


def parameters():
    rng = np.random.default_rng(0)
    return {path: rng.standard_normal(shape, np.float32) for path, shape in SHAPES.items()}


def test_every_array_has_its_names_one_a_layer_and_part():
    expected = ["convs.1.bias", *(f"layers.{i}.{x}" for i in (0, 1) for x in "kqv"), "proj.weight"]
    assert names.their_names(SHAPES, TABLE) == expected
    assert sorted(names.split(nest(parameters()), TABLE)) == expected


def test_a_parameter_without_a_name_is_refused():
    with pytest.raises(InputError, match="parameter head/scale has no name in this format"):
        names.split({"head": {"scale": np.zeros(2, np.float32)}}, TABLE)


@pytest.mark.parametrize("spend", [False, True])
def test_what_was_split_is_joined_and_spent_only_where_asked(spend):
    tensors = names.split(nest(parameters()), TABLE)
    before = dict(tensors)
    joined = flatten(names.join(tensors, SHAPES, TABLE, where="here", spend=spend))
    for path, array in parameters().items():
        np.testing.assert_array_equal(joined[path], array)
    assert tensors == ({} if spend else before)


def test_a_tensor_that_is_absent_or_of_another_shape_is_named():
    tensors = names.split(nest(parameters()), TABLE)
    other = {**tensors, "layers.1.k": np.zeros(3, np.float32)}
    with pytest.raises(InputError, match=r"here: layers.1.k is \[3\], .* needs \[2\]"):
        names.join(other, SHAPES, TABLE, where="here")
    del tensors["layers.1.v"]
    with pytest.raises(InputError, match=r"here has no tensor layers\.1\.v"):
        names.join(tensors, SHAPES, TABLE, where="here")


def test_the_network_expected_without_an_objective_follows_from_its_parts(tiny):
    tuned = names.expected(tiny, parts=("encoder", "head"), classes=7)
    assert {path.split("/")[0] for path in tuned} == {"encoder", "head"}
    assert tuned["head/kernel"] == (16, 7)
    bare = names.expected(tiny, parts=("encoder",))
    assert {path for path in tuned if path.startswith("encoder/")} == set(bare)
    pretraining = names.expected(tiny, parts=("encoder", "quantizer"))
    assert {path.split("/")[0] for path in pretraining} == {"encoder", "quantizer"}


@pytest.mark.parametrize(
    ("spellings", "prefix"),
    [
        (fairseq_names.LEGACY_WEIGHT_NORM, "encoder.pos_conv.0."),
        (hugging_face_names.LEGACY_WEIGHT_NORM, "wav2vec2.encoder.pos_conv_embed.conv."),
        (torchaudio_names.LEGACY_WEIGHT_NORM, "encoder.transformer.pos_conv_embed.conv."),
    ],
)
def test_torch_spells_both_parts_of_a_weight_norm_in_two_ways(spellings, prefix):
    assert spellings == {
        f"{prefix}parametrizations.weight.original0": f"{prefix}weight_g",
        f"{prefix}parametrizations.weight.original1": f"{prefix}weight_v",
    }
