"""What a description must hold to be read, and the network that it stands for."""

import json

import pytest

from w2v2_jax.checkpoint.description import Description, describe, require_ctc
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.vocabulary import LIBRISPEECH

PRETRAINED = Description("contrastive", ModelConfig(), None, True, 1e-7)
TUNED = Description("ctc", ModelConfig(), LIBRISPEECH, False)
EXECUTION = ("dtype", "remat", "scan_layers", "position_formulation", "conv_formulation",
             "attention_formulation")  # fmt: skip


@pytest.mark.parametrize("description", [PRETRAINED, TUNED], ids=["pretrained", "tuned"])
def test_a_description_is_read_as_it_was_written(description):
    written = json.loads(json.dumps(description.to_json()))
    assert (written["vocabulary"] is None) == (description is PRETRAINED)
    assert describe(written, "here") == description


@pytest.mark.parametrize("name", EXECUTION)
def test_format_1_may_say_how_it_was_computed_and_format_2_may_not(name):
    written = TUNED.to_json()
    written["model"] = {**written["model"], name: "anything"}
    assert describe({**written, "format": 1}, "here") == TUNED
    with pytest.raises(InputError, match=f"unusable: .*{name}"):
        describe({**written, "format": 2}, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "masked"}, "objective='masked'; known: contrastive"),
        ({"vocabulary": None}, "objective='ctc' with 0 symbols"),
        ({"objective": "contrastive"}, "objective='contrastive' with 32 symbols"),
        ({"normalise": "false"}, "normalise='false'"),  # was true
        ({"normalise": None}, "normalise=None"),
        ({"normalise": 0}, "normalise=0"),
        ({"padding_value": "nan"}, "padding_value='nan'"),
        ({"padding_value": float("inf")}, "padding_value=inf"),
        ({"attention_mask": 1}, "attention_mask=1"),
        ({"normalise_epsilon": 1.0}, "normalise_epsilon=1.0"),
        ({"normalise_epsilon": 0.0}, "normalise_epsilon=0.0"),
        ({"normalise_epsilon": 2.0}, "normalise_epsilon=2.0"),
        ({"format": None}, "checkpoint format None, this version reads 1 and 2"),
        ({"format": 0}, "checkpoint format 0"),
    ],
)
def test_what_does_not_fit_is_one_line(change, message):
    with pytest.raises(InputError, match=f"^here: .*{message}"):
        describe({**TUNED.to_json(), **change}, "here")


def test_a_description_that_is_no_object_has_no_format():
    with pytest.raises(InputError, match="checkpoint format None"):
        describe([2], "here")


def test_the_head_of_the_network_has_a_class_a_symbol():
    assert TUNED.network().num_classes == 32
    assert not hasattr(PRETRAINED.network(), "num_classes")


def test_a_ctc_head_is_asked_for_with_the_remedy():
    require_ctc(TUNED, "here")
    with pytest.raises(InputError, match=r"here is a pretraining checkpoint.* no CTC head; mine$"):
        require_ctc(PRETRAINED, "here", otherwise="; mine")
