"""fairseq and torchaudio files: exact round trips, what is inferred, and errors that name it."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.fairseq_cases import QUANTIZED, FairseqCase, unpack
from tests.helpers.interop_cases import (
    LAYER_NORM,
    PRETRAINING,
    VOCABULARY,
    assert_same,
    random_checkpoint,
    rewrite,
)
from w2v2_jax import convert
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.export import command as export
from w2v2_jax.interop import (
    fairseq,
    fairseq_config,
    hugging_face,
    hugging_face_names,
    names,
    torch_read,
    torch_write,
    torchaudio_file,
)
from w2v2_jax.interop.fairseq_names import FAIRSEQ
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.interop.torchaudio_names import TORCHAUDIO
from w2v2_jax.vocabulary import LIBRISPEECH, SPECIALS, Vocabulary

TUNED = ("encoder", "head")


def tensors_of(path):
    with torch_read.opened(path) as file:
        return file.arrays(file.value.get("model", file.value))


@pytest.mark.parametrize(
    ("parts", "changes"), [(TUNED, {}), (PRETRAINING, LAYER_NORM)], ids=["ctc", "pretraining"]
)
def test_hugging_face_to_native_to_fairseq_to_native_to_hugging_face_keeps_every_byte(
    tiny, tmp_path, parts, changes, capsys
):
    vocabulary = VOCABULARY if parts == TUNED else None
    made = random_checkpoint(
        dataclasses.replace(tiny, **changes), parts=parts, vocabulary=vocabulary, normalise=True
    )
    hugging_face.save(made, tmp_path / "first")
    steps = (
        (convert, "--from hf --input first --out native"),
        (export, "--checkpoint native --to fairseq --out fairseq.pt"),
        (convert, "--from fairseq --input fairseq.pt --out again"),
        (export, "--checkpoint again --to hf --out last"),
    )
    places = {"first", "native", "fairseq.pt", "again", "last"}
    for command, line in steps:
        command.main([str(tmp_path / x) if x in places else x for x in line.split()])
    for name in sorted(file.name for file in (tmp_path / "first").iterdir()):
        first, last = (tmp_path / folder / name for folder in ("first", "last"))
        if name == "config.json":  # fairseq keeps no final dropout of a pretraining model
            first, last = json.loads(first.read_text()), json.loads(last.read_text())
            assert first | dict(final_dropout=0) == last | dict(final_dropout=0)
        else:
            assert first.read_bytes() == last.read_bytes(), name
    assert "left over" in capsys.readouterr().out


@pytest.mark.parametrize("legacy", [False, True], ids=["parametrizations", "weight_g"])
def test_torchaudio_round_trip_is_exact_but_for_the_mask_embedding(tiny, tmp_path, legacy):
    made = random_checkpoint(tiny, parts=TUNED, vocabulary=VOCABULARY, normalise=True)
    said = torchaudio_file.save(made, tmp_path / "a.pt", legacy_weight_norm=legacy)
    assert said.left == ["encoder/mask_embedding"]
    assert any("weight_g" in name for name in tensors_of(tmp_path / "a.pt")) is legacy
    found = torchaudio_file.read(tmp_path / "a.pt")
    assert not found.left and any("mask embedding" in note for note in found.notes)
    assert found.loaded.description == made.description
    found.loaded.params["encoder"]["mask_embedding"] = made.params["encoder"]["mask_embedding"]
    assert_same(found.loaded.params, made.params)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (dict(normalise=False), "--normalise no: .*a.pt says yes itself"),
        (dict(num_heads=7), "--heads 7: .* says 2 itself"),
        (dict(norm_order="pre"), "--norm-order pre: .* says post itself"),
        (dict(strides=(5, 2)), "--strides 5,2: .* says 5,2,2 itself"),
    ],
)
@pytest.mark.parametrize("form", [torchaudio_file, fairseq])
def test_an_option_that_contradicts_what_a_file_says_is_refused(
    tiny, tmp_path, form, hints, message
):
    """--normalise went before what fairseq's files say, which silently gave another model."""
    made = random_checkpoint(tiny, parts=TUNED, vocabulary=VOCABULARY, normalise=True)
    form.save(made, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        form.read(tmp_path / "a.pt", FileHints(**hints))
    form.read(tmp_path / "a.pt", FileHints(num_heads=2, normalise=True))


def test_fairseq_description_survives_the_round_trip(tiny, tmp_path):
    model = dataclasses.replace(
        tiny, **LAYER_NORM, dropout=0.03, channel_mask_start_prob=0.004, final_dropout=0.2,
        feature_grad_scale=0.0, layer_drop=0.1, final_dim=6,
    )  # fmt: skip
    made = random_checkpoint(model, parts=TUNED, vocabulary=LIBRISPEECH, normalise=True)
    fairseq.save(made, tmp_path / "a.pt")
    found = fairseq.read(tmp_path / "a.pt").loaded.description
    assert found == made.description


def test_settings_of_2020_are_read_from_a_namespace(tiny, tmp_path):
    made = random_checkpoint(tiny, parts=TUNED, vocabulary=LIBRISPEECH)
    fairseq.save(made, tmp_path / "a.pt")

    def to_namespaces(state):
        own = state.pop("cfg")["model"]
        inner = own["w2v_args"]
        flat = torch_write.Instance(
            "argparse", "Namespace", {**inner["model"], "normalize": False, "arch": "wav2vec2"}
        )
        state["cfg"] = None
        state["args"] = torch_write.Instance("argparse", "Namespace", {**own, "w2v_args": flat})
        del state["task_state"]

    # 32 rows become LibriSpeech's where no dictionary is found
    rewrite(tmp_path / "a.pt", to_namespaces)
    found = fairseq.read(tmp_path / "a.pt")
    assert found.loaded.description == made.description
    assert any("LibriSpeech" in note for note in found.notes)
    assert_same(found.loaded.params, made.params)


def test_a_dictionary_in_another_order_moves_the_rows_of_the_head(tiny, tmp_path):
    made = random_checkpoint(tiny, parts=TUNED, vocabulary=VOCABULARY)
    fairseq.save(made, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", lambda state: state.pop("task_state"))
    (tmp_path / "dict.ltr.txt").write_text("C 3\n| 2\nB 1\n' 1\nA 1\n")
    found = fairseq.read(tmp_path / "a.pt")
    assert found.loaded.description.vocabulary == Vocabulary((*SPECIALS, *"CB'A"), "upper")
    ours, theirs = (x.params["head"]["kernel"] for x in (found.loaded, made))
    np.testing.assert_array_equal(ours[:, 4:], theirs[:, [5, 4, 6, 7, 8]])


def test_configuration_follows_from_tensors_and_the_rest_must_be_said(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM, codebooks=4, code_dim=12, entries=6)
    made = random_checkpoint(model, parts=PRETRAINING)
    fairseq.save(made, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", lambda state: state.pop("cfg"))
    said = {"--strides": dict(strides=(5, 2, 2)), "--heads": dict(num_heads=2),
            "--norm-order": dict(norm_order="pre")}  # fmt: skip
    hints = FileHints()
    for option, value in said.items():
        with pytest.raises(InputError, match=option):
            fairseq.read(tmp_path / "a.pt", hints)
        hints = hints._replace(**value)
    found = fairseq.read(tmp_path / "a.pt", hints).loaded
    for field in ("conv_layers", "conv_bias", "extractor_norm", "d_model", "num_layers", "ffn_dim",
                  "position_kernel", "position_groups", "codebooks", "entries", "code_dim",
                  "final_dim", "num_heads", "norm_order"):  # fmt: skip
        assert getattr(found.description.model, field) == getattr(model, field), field
    assert_same(found.params, made.params)


def test_the_released_convolutions_are_read_without_evaluating_python():
    layers = fairseq_config.conv_layers(fairseq_config.CONV_LAYERS)
    assert layers[0] == (512, 10, 5) and layers.count((512, 3, 2)) == 4 and len(layers) == 7


def test_torch_weights_of_a_hugging_face_directory_are_read(folder, tuned):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch_write.save(tensors, folder / "pytorch_model.bin")
    assert_same(hugging_face.load(folder).params, tuned.params)


@pytest.mark.parametrize("name", ["base", "lv60k", *QUANTIZED])
def test_names_and_layouts_are_those_of_the_stored_fairseq_weights(name):
    case = FairseqCase(name)
    weights = unpack(case.stored, "weight")
    written = {}
    for parts in (PRETRAINING, TUNED):
        written |= names.split(case.parameters(parts), FAIRSEQ)
    if case.model.same_quantizer:  # theirs are one module under two names
        shared = {n: x for n, x in weights.items() if n.startswith("quantizer.")}
        for key, value in shared.items():
            np.testing.assert_array_equal(weights.pop(key), written[f"input_{key}"])
            np.testing.assert_array_equal(value, weights[f"input_{key}"])
    assert written.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)


def test_every_table_names_every_parameter_once(tiny):
    model = dataclasses.replace(tiny, **LAYER_NORM)
    shapes = names.expected(model, parts=(*PRETRAINING, "head"), classes=9)
    only_encoder = {
        path: shape
        for path, shape in shapes.items()
        if path.split("/")[0] in TUNED and path != "encoder/mask_embedding"
    }
    for table, wanted in ((hugging_face_names.HUGGING_FACE, shapes), (FAIRSEQ, shapes),
                          (TORCHAUDIO, only_encoder)):  # fmt: skip
        found = names.their_names(wanted, table)
        assert len(found) == len(set(found))


def test_a_native_checkpoint_of_a_fairseq_file_is_whole(pretrained, tmp_path):
    fairseq.save(pretrained, tmp_path / "a.pt")
    out = str(tmp_path / "native")
    convert.main(["--from", "fairseq", "--input", str(tmp_path / "a.pt"), "--out", out])
    assert_same(checkpoint.load(out).params, pretrained.params)


CHOICES = {
    "own": dict(quantize_input=True, code_dim=6, final_dim=6),
    "latent": dict(quantize_input=True, input_code_dim=8, final_dim=6),
    "shared": dict(quantize_input=True, same_quantizer=True),
    "input_alone": dict(quantize_input=True, quantize_targets=False, input_code_dim=4),
    "continuous": dict(quantize_targets=False),
}


@pytest.mark.parametrize("parts", [PRETRAINING, TUNED], ids=["pretraining", "ctc"])
@pytest.mark.parametrize("name", CHOICES)
def test_quantized_inputs_and_continuous_targets_survive_the_round_trip(
    tiny, tmp_path, name, parts
):
    model = dataclasses.replace(tiny, **CHOICES[name])
    vocabulary = VOCABULARY if parts == TUNED else None
    made = random_checkpoint(model, parts=parts, vocabulary=vocabulary)
    fairseq.save(made, tmp_path / "a.pt")
    found = fairseq.read(tmp_path / "a.pt")
    assert not found.left
    assert_same(found.loaded.params, made.params)
    for field in ("quantize_input", "quantize_targets", "same_quantizer"):
        assert getattr(found.loaded.description.model, field) == getattr(model, field), field
    written = {n.removeprefix("w2v_encoder.w2v_model.") for n in tensors_of(tmp_path / "a.pt")}
    assert ("input_quantizer.vars" in written) == ("project_inp.bias" in written)
    assert ("input_quantizer.vars" in written) == model.quantize_input
    assert ("quantizer.vars" in written) == (model.quantize_targets and parts == PRETRAINING)
