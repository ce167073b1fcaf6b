"""Files of fairseq and torchaudio that are damaged, foreign or inexpressible: one clear line."""

import dataclasses
import importlib.util
import sys

import numpy as np
import pytest

from tests.helpers.interop_cases import (
    ENCODER,
    PRETRAINING,
    VOCABULARY,
    assert_same,
    random_checkpoint,
    rewrite,
)
from w2v2_jax import convert
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.export import onnx_file
from w2v2_jax.interop import (
    dictionary,
    fairseq,
    fairseq_config,
    hugging_face,
    torchaudio_file,
    verify,
)

TUNED = ("encoder", "head")


def _without(name):
    return lambda state: state["model"].pop(name)


def _model(**changes):
    return lambda state: state["cfg"]["model"].update(changes)


def _task(**changes):
    return lambda state: state["cfg"]["task"].update(changes)


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
    "order as text": (_model(layer_norm_first="false"), "layer_norm_first='false' must be true or"),
    "input as text": (_task(normalize="false"), "normalize='false' must be true or false"),
    "rate": (_task(sample_rate=8000), "sample_rate=8000, this network takes 16000"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_or_foreign_fairseq_file_is_one_clear_error(pretrained, tmp_path, name):
    change, message = DAMAGE[name]
    fairseq.save(pretrained, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", change)
    with pytest.raises(InputError, match=rf"a\.pt.*{message}"):
        fairseq.read(tmp_path / "a.pt")


@pytest.mark.parametrize(("said", "read"), [(1, True), (0, False), (None, False), (True, True)])
def test_a_number_says_as_in_fairseq_whether_waveforms_are_normalised(
    pretrained, tmp_path, said, read
):
    fairseq.save(pretrained, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", _task(normalize=said))
    assert fairseq.read(tmp_path / "a.pt").loaded.description.normalise is read


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
    projected = dataclasses.replace(tiny, d_model=8, always_project_features=True)
    projected = random_checkpoint(projected, parts=TUNED, vocabulary=VOCABULARY)
    with pytest.raises(InputError, match=r"a feature projection although .* 8 channels .* fairseq"):
        fairseq.save(projected, tmp_path / "c.pt")
    fairseq.save(square, tmp_path / "b.pt")
    assert_same(fairseq.read(tmp_path / "b.pt").loaded.params, square.params)


@pytest.mark.parametrize(
    ("change", "parts", "save", "message"),
    [
        (
            dict(quantize_input=True),
            TUNED,
            hugging_face.save,
            "Hugging Face has no quantized input",
        ),
        (dict(quantize_input=True), PRETRAINING, hugging_face.save, "model.quantize_input=True"),
        (dict(quantize_input=True), TUNED, torchaudio_file.save, "torchaudio has no quantized"),
        (dict(quantize_input=True), TUNED, onnx_file.save, "the ONNX graph has no quantized input"),
        (dict(quantize_targets=False), PRETRAINING, hugging_face.save, "model.quantize_targets=F"),
        (dict(quantize_input=True, final_dim=6), PRETRAINING, fairseq.save, "one latent_dim for"),
        (
            dict(quantize_input=True, same_quantizer=True, final_dim=6),
            *(PRETRAINING, fairseq.save, "code_dim=8, model.final_dim=6"),
        ),
    ],
)
def test_a_quantized_input_or_continuous_targets_are_refused_where_a_format_has_none(
    tiny, tmp_path, change, parts, save, message
):
    model = dataclasses.replace(tiny, **change)
    vocabulary = VOCABULARY if parts == TUNED else None
    made = random_checkpoint(model, parts=parts, vocabulary=vocabulary)
    with pytest.raises(InputError, match=message) as error:
        save(made, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_network_fine_tuned_from_continuous_targets_is_like_any_other(tiny, tmp_path):
    model = dataclasses.replace(tiny, quantize_targets=False)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    hugging_face.save(made, tmp_path / "hf")
    assert_same(hugging_face.load(tmp_path / "hf").params, made.params)


def test_a_quantized_input_without_settings_is_one_clear_error(tiny, tmp_path):
    model = dataclasses.replace(tiny, quantize_input=True)
    fairseq.save(random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY), tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", lambda state: state.pop("cfg"))
    with pytest.raises(InputError, match=r"a\.pt: its input is quantized \(quantize_input\)"):
        fairseq.read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--from fairseq --input CUT --out X", "not a whole torch file"),
        (
            "--from fairseq --input nowhere.pt --out X",
            "nowhere.pt does not exist; give a file of f",
        ),
        ("--from hf --input nowhere --out X", "nowhere does not exist; give a Hugging Face folder"),
        ("--from torchaudio --input GOOD --out X", "not a torchaudio"),
        (
            "--from hf --input GOOD --out X --heads 3",
            "--from fairseq, fairseq2, torchaudio",
        ),
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


@pytest.mark.slow
def test_verify_refuses_a_file_whose_network_is_another(pretrained, tmp_path, monkeypatch):
    monkeypatch.setitem(verify.FRAMEWORKS, "hf", lambda loaded, path, x: np.ones((1, 1, 1)))
    with pytest.raises(InputError, match=r"hf gives context \(1, 1, 1\)"):
        verify.report(pretrained, "hf", tmp_path, verify.SYNTHETIC)


@pytest.mark.parametrize("name", verify.FRAMEWORKS)
def test_verify_without_the_others_package_is_one_line_before_anything_is_done(
    tmp_path, monkeypatch, capsys, name
):
    """A result of status 0 that nobody has verified was taken for a verified one."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda package, *rest: None if package in ("torch", name) else find(package, *rest),
    )  # fmt: skip
    for loaded in ("torch", name):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    out = str(tmp_path / "out")
    for command, options in (
        (export.main, ["--checkpoint", "absent", "--to", name]),
        (convert.main, ["--input", "absent", "--from", name]),
    ):
        assert run_command(command, [*options, "--out", out, "--verify"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"--verify runs {name} itself" in error
        assert "pip install torch" in error
    assert not list(tmp_path.iterdir())


def test_verify_with_a_package_that_cannot_be_imported_is_an_error(
    pretrained, tmp_path, monkeypatch
):
    def broken(loaded, path, waveform):
        raise ImportError("libtorch.so is not there")

    monkeypatch.setitem(verify.FRAMEWORKS, "hf", broken)
    told = r"nothing is written: --verify needs hf, which is installed.*libtorch.so is not there"
    with pytest.raises(InputError, match=told):
        verify.report(pretrained, "hf", tmp_path, verify.SYNTHETIC)


@pytest.mark.parametrize(
    ("task", "said"), [({}, (False, False)), ({"normalize": False}, (False, True))]
)
def test_a_default_of_fairseq_is_not_what_a_file_says(task, said):
    """So --normalise may say it."""
    state = {"cfg": {"model": {"_name": "wav2vec2"}, "task": task}}
    found = fairseq_config.settings(state, tuned=False, where="x")
    assert (found.normalise, found.says_normalise) == said
