"""Damaged and foreign files, and commands that fail: one clear line, exit status 2, no output."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import edit
from w2v2_jax import convert
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, safetensors_file
from w2v2_jax.interop.load import load_any


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _tensor(name: str, change):
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        array = tensors.pop(name)
        if change is not None:
            tensors[name] = change(array)
        save_file(tensors, folder / "model.safetensors")

    return damage


def _with(name: str):
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors") | {name: np.zeros(3, np.float32)}
        save_file(tensors, folder / "model.safetensors")

    return damage


def _config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def _a_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\nsize 1\n"
    )


def _only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGE = {
    "truncated": (_truncate, "model.safetensors"),
    "missing": (_tensor("wav2vec2.encoder.layers.1.layer_norm.bias", None), "layers.1.layer_norm"),
    "shape": (_tensor("lm_head.weight", lambda x: x[:, :-1].copy()), r"lm_head.weight.*\[9, 15\]"),
    "heads": (_config(num_attention_heads=3), "num_heads=3"),
    "sizes": (_config(intermediate_size=33), r"intermediate_dense.*\[33"),
    "foreign": (_config(model_type="hubert"), "model_type='hubert'"),
    "adapter": (_config(add_adapter=True), r"has no tensor wav2vec2\.adapter\.layers\.0"),
    "no adapter layers": (_config(add_adapter=True, num_adapter_layers=0), "num_adapter_layers=0"),
    "one position": (
        _config(model_type="data2vec-audio", num_conv_pos_embeddings=1),
        "num_conv_pos_embeddings=1",
    ),
    "activation": (_config(hidden_act="relu"), "hidden_act='relu'"),
    "conv lists": (
        _config(conv_kernel=[10, 3]),
        "config.json: conv_dim, conv_kernel and conv_stride have 3, 2 and 3 entries; they must be",
    ),
    "fewer layers": (_config(num_hidden_layers=1), r"layers\.1\..*has no place; it is not theirs"),
    "a bias more": (
        _with("wav2vec2.feature_extractor.conv_layers.0.conv.bias"),
        r"have wav2vec2\.feature_extractor\.conv_layers\.0\.conv\.bias, for which the config",
    ),
    "rate as text": (_config(layerdrop="0.1"), r"model.layer_drop='0.1' must be a number in"),
    "no mask": (_config(mask_time_length=0), "mask_time_length=0 must be a whole number"),
    "mask as text": (_config(mask_time_prob="0.05"), "mask_time_prob='0.05' must be a number"),
    "pointer": (_a_pointer, "model.safetensors: a Git LFS pointer .*git lfs pull"),
    "order as text": (_config(do_stable_layer_norm="false"), "do_stable_layer_norm='false' must"),
    "masks as text": (_config(apply_spec_augment="no"), "apply_spec_augment='no' must be true or"),
    "adapter as text": (_config(add_adapter="false"), "add_adapter='false' must be true or false"),
    "quantized": (
        _tensor("lm_head.weight", lambda x: x.astype("int8")),
        "lm_head.weight is int8, quantized; give a copy in floating point",
    ),
    "wrong type": (_config(hidden_size="many"), "config.json"),
    "blank": (_config(pad_token_id=3), "pad_token_id=3"),
    "broken json": (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no tensors": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "no model.safetensors and no pytorch",
    ),
    "pickle": (_only_a_pickle, "pytorch_model.bin: not a torch file"),
    "no vocabulary": (lambda folder: (folder / "vocab.json").unlink(), "no vocab.json"),
    "phonemes": (
        lambda folder: edit(folder / "vocab.json", **{"A": 99, "tʃ": 5}),
        "'tʃ' is not one character",
    ),
    "rate": (
        lambda folder: edit(
            folder / "processor_config.json", feature_extractor={"sampling_rate": 8000}
        ),
        "sampling_rate=8000",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_or_foreign_directory_is_one_clear_error(folder, name):
    damage, message = DAMAGE[name]
    damage(folder)
    with pytest.raises(InputError, match=message):
        hugging_face.load(folder)


@pytest.mark.parametrize("left", [0, 40])
def test_a_folder_whose_config_is_cut_short_is_told_by_the_file(folder, left):
    path = folder / "config.json"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=f"{path}: cannot be read as JSON"):
        load_any(folder)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_neither_converted_nor_loaded(folder, tmp_path, value):
    def spoil(array):
        array = array.copy()
        array[0, :2] = float(value)
        return array

    _tensor("lm_head.weight", spoil)(folder)
    message = "2 of the 144 values of head/kernel are NaN or infinite"
    with pytest.raises(InputError, match=f"{folder}.*{message}"):
        convert.main(["--from", "hf", "--input", str(folder), "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match=message):
        load_any(folder)


@pytest.mark.parametrize("damage", ["foreign", "truncated", "missing", "shape"])
def test_a_damaged_safetensors_file_is_one_clear_error(pretrained, tmp_path, damage):
    file = tmp_path / "model.safetensors"
    safetensors_file.save(pretrained, file)
    tensors, name = load_file(file), "quantizer/entries"
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-8])
    elif damage == "foreign":
        save_file(tensors, file)
    elif damage == "shape":
        save_file(tensors | {name: tensors[name][:, :1].copy()}, file, metadata=metadata)
    else:
        tensors.pop(name)
        save_file(tensors, file, metadata=metadata)
    with pytest.raises(InputError, match=name if damage in ("missing", "shape") else str(file)):
        safetensors_file.read(file)


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (
            export.main,
            ["--checkpoint", "HF", "--to", "tflite", "--out", "X"],
            "hf, fairseq, fairseq2, torchaudio, safetensors",
        ),
        (export.main, ["--checkpoint", "NOWHERE", "--to", "hf", "--out", "X"], "does not exist"),
        (export.main, ["--checkpoint", "HF", "--to", "hf", "--out", "FULL"], "not empty"),
        (
            convert.main,
            ["--from", "keras", "--input", "HF", "--out", "X"],
            "hf, fairseq, fairseq2, torchaudio, safetensors",
        ),
        (
            convert.main,
            ["--from", "hf", "--input", "NOWHERE", "--out", "X"],
            "does not exist; give a",
        ),
        (convert.main, ["--from", "hf", "--input", "CUT", "--out", "X"], "whole safetensors"),
        (convert.main, ["--from", "hf", "--input", "HF", "--out", "FULL"], "not empty"),
    ],
)
def test_a_failed_command_exits_2_with_one_line_and_writes_nothing(
    folder, tmp_path, capsys, main, arguments, message
):
    folder.rename(tmp_path / "HF")
    shutil.copytree(tmp_path / "HF", tmp_path / "CUT")
    _truncate(tmp_path / "CUT")
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "keep").write_text("me")
    before = sorted(tmp_path.rglob("*"))
    given = [str(tmp_path / x) if x.isupper() else x for x in arguments]
    assert run_command(main, given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert sorted(tmp_path.rglob("*")) == before
