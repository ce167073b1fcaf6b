"""fairseq and torchaudio files: exact round trips, what is inferred, and errors that name it."""

import dataclasses
import json

import numpy as np
import pytest
from fairseq_cases import FairseqCase, unpack
from interop_cases import (
    ENCODER,
    LAYER_NORM,
    PRETRAINING,
    VOCABULARY,
    assert_same,
    random_checkpoint,
)
from safetensors.numpy import load_file

from w2v2_jax import checkpoint, convert, export
from w2v2_jax.data.vocabulary import LIBRISPEECH, SPECIALS, Vocabulary
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import (
    dictionary,
    fairseq,
    fairseq_config,
    hugging_face,
    names,
    torch_read,
    torch_write,
    torchaudio_file,
)
from w2v2_jax.interop.fairseq_names import FAIRSEQ
from w2v2_jax.interop.inferred import Given
from w2v2_jax.interop.torchaudio_names import TORCHAUDIO

TUNED = ("encoder", "head")


def tensors_of(path):
    with torch_read.opened(path) as file:
        return file.arrays(file.value.get("model", file.value))


def rewrite(path, change) -> None:
    """Reads a fairseq file as plain values, lets `change` edit them, writes it back."""
    with torch_read.opened(path) as file:
        state = {k: torch_read.plain(v) for k, v in file.value.items() if k != "model"}
        state["model"] = {k: x.copy() for k, x in file.arrays(file.value["model"]).items()}
    change(state)
    torch_write.save(state, path)


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


def test_fairseq_description_survives_the_round_trip(tiny, tmp_path):
    model = dataclasses.replace(
        tiny, **LAYER_NORM, dropout=0.03, channel_mask_start_prob=0.004, final_dropout=0.2,
        feature_grad_scale=0.0, layer_drop=0.1, final_dim=6,
    )  # fmt: skip
    made = random_checkpoint(model, parts=TUNED, vocabulary=LIBRISPEECH, normalise=True)
    fairseq.save(made, tmp_path / "a.pt")
    found = fairseq.read(tmp_path / "a.pt").loaded.description
    scan = dataclasses.replace(found.model, scan_layers=True)
    assert found._replace(model=scan) == made.description


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
    scan = dataclasses.replace(found.loaded.description.model, scan_layers=True)
    assert found.loaded.description._replace(model=scan) == made.description
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
    given = Given()
    for option, value in said.items():
        with pytest.raises(InputError, match=option):
            fairseq.read(tmp_path / "a.pt", given)
        given = given._replace(**value)
    found = fairseq.read(tmp_path / "a.pt", given).loaded
    for field in ("conv_layers", "conv_bias", "extractor_norm", "d_model", "num_layers", "ffn_dim",
                  "position_kernel", "position_groups", "codebooks", "entries", "code_dim",
                  "final_dim", "num_heads", "norm_order"):  # fmt: skip
        assert getattr(found.description.model, field) == getattr(model, field), field
    assert_same(found.params, made.params)


def _without(name):
    return lambda state: state["model"].pop(name)


def _model(**changes):
    return lambda state: state["cfg"]["model"].update(changes)


def _shape(state):
    state["model"]["quantizer.vars"] = state["model"]["quantizer.vars"][:, :-1].copy()


DAMAGE = {
    "missing": (_without("encoder.layers.1.fc1.bias"), "no tensor encoder.layers.1.fc1.bias"),
    "shape": (_shape, r"quantizer.vars is \[1, 15, 4\], .* needs \[1, 16, 4\]"),
    "foreign": (_without("mask_emb"), "not a fairseq wav2vec 2.0 file"),
    "activation": (_model(activation_fn="relu"), "activation_fn='relu'"),
    "conformer": (_model(layer_type="conformer"), "layer_type='conformer'"),
    "mode": (_model(extractor_mode="odd"), "extractor_mode='odd'"),
    "code": (_model(conv_feature_layers="__import__('os').system('x')"), "not a list of"),
    "bomb": (_model(conv_feature_layers="[(1,1,1)]" + "*99*99*99*99*99"), "not a list of"),
    "sizes": (_model(encoder_ffn_embed_dim=33), r"fc1.bias is \[32\], .* needs \[33\]"),
    "type": (_model(encoder_embed_dim="wide"), "settings are unusable"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_or_foreign_fairseq_file_is_one_clear_error(pretrained, tmp_path, name):
    change, message = DAMAGE[name]
    fairseq.save(pretrained, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", change)
    with pytest.raises(InputError, match=rf"a\.pt.*{message}"):
        fairseq.read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [("A 1\nB", "dict.txt:2"), ("AB 1\n", "'AB' is not one character"), ("A 1\n", "9 rows, .* 5")],
)
def test_a_dictionary_that_does_not_fit_is_one_clear_error(tmp_path, text, message):
    (tmp_path / "dict.txt").write_text(text)
    classes = 5 if "AB" in text else 9
    with pytest.raises(InputError, match=message):
        symbols = dictionary.read_symbols(tmp_path / "dict.txt")
        dictionary.to_rows(symbols, classes=classes, where="a.pt")


def test_what_a_format_cannot_express_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="encoder without heads"):
        fairseq.save(random_checkpoint(tiny, parts=ENCODER), tmp_path / "a.pt")
    square = random_checkpoint(
        dataclasses.replace(tiny, d_model=8), parts=TUNED, vocabulary=VOCABULARY
    )
    with pytest.raises(InputError, match="torchaudio has a projection"):
        torchaudio_file.save(square, tmp_path / "a.pt")
    fairseq.save(square, tmp_path / "b.pt")
    assert_same(fairseq.read(tmp_path / "b.pt").loaded.params, square.params)


def test_the_released_convolutions_are_read_without_evaluating_python():
    layers = fairseq_config.conv_layers(fairseq_config.CONV_LAYERS)
    assert layers[0] == (512, 10, 5) and layers.count((512, 3, 2)) == 4 and len(layers) == 7


def test_torch_weights_of_a_hugging_face_directory_are_read(folder, tuned):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch_write.save(tensors, folder / "pytorch_model.bin")
    assert_same(hugging_face.load(folder).params, tuned.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--from fairseq --input CUT --out X", "not a whole torch file"),
        ("--from torchaudio --input GOOD --out X", "not a torchaudio"),
        ("--from hf --input GOOD --out X --heads 3", "go with --from fairseq or torchaudio"),
        ("--from fairseq --input GOOD --out X --norm-order pre", "says post itself"),
        ("--from fairseq --input GOOD --out X --strides 5,x", "--strides 5,x"),
        ("--from safetensors --input GOOD --out X --verify", "--verify goes with"),
    ],
)
def test_a_failed_conversion_exits_2_with_one_line_and_writes_nothing(
    pretrained, tmp_path, capsys, arguments, message
):
    fairseq.save(pretrained, tmp_path / "GOOD")
    (tmp_path / "CUT").write_bytes((tmp_path / "GOOD").read_bytes()[:-50])
    before = sorted(tmp_path.rglob("*"))
    given = [str(tmp_path / x) if x in ("GOOD", "CUT", "X") else x for x in arguments.split()]
    assert run_command(convert.main, given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["base", "lv60k"])
def test_names_and_layouts_are_those_of_the_stored_fairseq_weights(name):
    case = FairseqCase(name)
    weights = unpack(case.stored, "weight")
    written = {}
    for parts in (PRETRAINING, TUNED):
        written |= names.split(case.parameters(parts), FAIRSEQ)
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
    for table, wanted in ((names.HUGGING_FACE, shapes), (FAIRSEQ, shapes),
                          (TORCHAUDIO, only_encoder)):  # fmt: skip
        found = names.their_names(wanted, table)
        assert len(found) == len(set(found))


def test_a_native_checkpoint_of_a_fairseq_file_is_whole(pretrained, tmp_path):
    fairseq.save(pretrained, tmp_path / "a.pt")
    out = str(tmp_path / "native")
    convert.main(["--from", "fairseq", "--input", str(tmp_path / "a.pt"), "--out", out])
    assert_same(checkpoint.load(out).params, pretrained.params)


def test_verify_refuses_a_file_whose_network_is_another(pretrained, tmp_path, monkeypatch):
    from w2v2_jax.interop import verify

    monkeypatch.setitem(verify.FRAMEWORKS, "hf", lambda loaded, path, x: np.ones((1, 1, 1)))
    with pytest.raises(InputError, match=r"hf gives context \(1, 1, 1\)"):
        verify.report(pretrained, "hf", tmp_path, verify.SYNTHETIC)


def test_verify_says_why_it_cannot_where_the_framework_is_absent(pretrained, tmp_path, monkeypatch):
    from w2v2_jax.interop import verify

    def absent(loaded, path, waveform):
        raise ImportError("No module named 'torch'")

    monkeypatch.setitem(verify.FRAMEWORKS, "hf", absent)
    (note,) = verify.report(pretrained, "hf", tmp_path, verify.SYNTHETIC)
    assert note == "not verified: hf cannot be run here: No module named 'torch'"
