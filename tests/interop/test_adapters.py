"""MMS directories: one network with adapters and a head for each language."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import w2v2_jax
from tests.helpers import places
from tests.helpers.interop_cases import (
    LAYER_NORM,
    VOCABULARY,
    assert_same,
    edit,
    random_checkpoint,
)
from w2v2_jax import convert
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import adapters, hugging_face, native

GOLDEN = places.GOLDEN / "adapters.npz"
LANGUAGES = ("eng", "fra")


@pytest.fixture(scope="module")
def stored():
    return dict(np.load(GOLDEN))


@pytest.fixture
def mms(stored, tmp_path) -> Path:
    """The directory that transformers read when the stored logits were made."""
    folder = tmp_path / "mms"
    folder.mkdir()

    def tensors(prefix):
        return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}

    for name, text in tensors("json/").items():
        (folder / name).write_text(str(text))
    save_file(tensors("tensor/"), folder / "model.safetensors")
    for language in LANGUAGES:
        save_file(tensors(f"adapter/{language}/"), folder / f"adapter.{language}.safetensors")
    return folder


@pytest.mark.parametrize("language", [None, "fra"])
def test_logits_of_a_language_are_those_of_transformers(stored, mms, language):
    model = w2v2_jax.load(mms, language=language)
    ours = model.logits(stored["waveforms"], stored["num_samples"])
    theirs = stored[f"logits/{language or 'eng'}"]
    for row, samples in enumerate(stored["num_samples"]):
        for _, kernel, stride in model.description.model.conv_layers:
            samples = (samples - kernel) // stride + 1
        assert np.abs(ours[row, :samples] - theirs[row, :samples]).max() < 1e-4
    wanted = {"eng": "abcd", "fra": "éabùc'"}[language or "eng"]
    assert "".join(model.description.vocabulary.symbols[5:]) == wanted


def test_the_adapter_file_of_its_own_language_changes_nothing(mms):
    assert_same(hugging_face.load(mms).params, hugging_face.load(mms, language="eng").params)


def test_a_converted_language_exports_to_a_directory_of_its_own(mms, tmp_path):
    native, out = str(tmp_path / "native"), tmp_path / "fra"
    arguments = ["--from", "hf", "--input", str(mms), "--out", native, "--language", "fra"]
    convert.main(arguments)
    export.main(["--checkpoint", native, "--to", "hf", "--out", str(out)])
    written = load_file(out / "model.safetensors")
    expected = load_file(mms / "model.safetensors") | load_file(mms / "adapter.fra.safetensors")
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(written[name], value, err_msg=name)
    assert json.loads((out / "config.json").read_text())["adapter_attn_dim"] == 4
    assert_same(hugging_face.load(out).params, hugging_face.load(mms, language="fra").params)


@pytest.mark.parametrize("damage", ["absent", "missing", "foreign", "truncated", "no adapters"])
def test_a_language_that_cannot_be_had_is_an_error_that_names_it(mms, damage):
    file = mms / "adapter.fra.safetensors"
    tensors = load_file(file)
    language, message = "fra", "lm_head.bias"
    if damage == "absent":
        language, message = "deu", "no adapter for language 'deu'; it has eng, fra"
    elif damage == "missing":
        save_file({n: x for n, x in tensors.items() if n != message}, file)
    elif damage == "foreign":
        message = "odd is not a tensor of the model"
        save_file(tensors | {"odd": np.zeros(1, np.float32)}, file)
    elif damage == "truncated":
        message = "not a whole safetensors file"
        file.write_bytes(file.read_bytes()[:-8])
    else:
        message = "has no adapters"
        edit(mms / "config.json", adapter_attn_dim=None)
    with pytest.raises(InputError, match=message):
        hugging_face.load(mms, language=language)


def test_a_language_needs_a_hugging_face_source(tmp_path, capsys):
    arguments = ["--from", "safetensors", "--input", "x", "--out", str(tmp_path / "o")]
    assert run_command(convert.main, [*arguments, "--language", "fra"]) == 2
    assert "--language goes with --from hf" in capsys.readouterr().err


def test_a_languages_adapter_is_written_and_chosen_again(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM, adapter_dim=4)
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=VOCABULARY)
    native.write_initial(tmp_path / "native", made)
    out = tmp_path / "hf"
    arguments = ["--checkpoint", str(tmp_path / "native"), "--to", "hf", "--out", str(out)]
    export.main([*arguments, "--language", "fra"])
    assert adapters.languages(out) == ["fra"]
    written = load_file(out / "adapter.fra.safetensors")
    assert set(written) == {n for n in load_file(out / "model.safetensors")
                            if ".adapter_layer." in n or n.startswith("lm_head.")}  # fmt: skip
    # The file alone holds the language: the network's own adapters are others now.
    whole = load_file(out / "model.safetensors")
    save_file({n: 0 * x if n in written else x for n, x in whole.items()},
              out / "model.safetensors")  # fmt: skip
    found = hugging_face.load(out, language="fra")
    assert_same(found.params, made.params)
    assert found.description.vocabulary == VOCABULARY


def test_a_language_needs_adapters_and_a_plain_name(tuned, tiny, tmp_path):
    with pytest.raises(InputError, match="needs a CTC checkpoint with adapters"):
        adapters.write(tuned, tmp_path, "fra")
    model = dataclasses.replace(tiny, **LAYER_NORM, adapter_dim=4)
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=VOCABULARY)
    with pytest.raises(InputError, match="is not a language code"):
        adapters.write(made, tmp_path, "../fra")
