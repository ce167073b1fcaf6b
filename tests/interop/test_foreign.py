"""A file of another framework where a checkpoint is named: what it is, and the command for it."""

import pickle
import zipfile

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from w2v2_jax import transcribe
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import (
    fairseq,
    fairseq2,
    hugging_face,
    safetensors_file,
    torchaudio_file,
)
from w2v2_jax.interop.load import load_any, load_start


def save_pickle(path, value):
    """A torch file of a plain value."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(value, protocol=2))


SAVE = {
    "fairseq": fairseq.save,
    "fairseq2": fairseq2.save,
    "torchaudio": torchaudio_file.save,
    "safetensors": safetensors_file.save,
}


@pytest.mark.parametrize("place", ["file", "its folder"])
@pytest.mark.parametrize("name", SAVE)
def test_a_file_of_another_framework_is_told_by_its_tensors(tuned, tmp_path, name, place):
    suffix = ".safetensors" if name == "safetensors" else ".pt"
    file = tmp_path / f"model{suffix}"
    SAVE[name](tuned, file)
    with pytest.raises(InputError) as caught:
        load_any(file if place == "file" else tmp_path)
    assert f"is a {name} file: first w2v2 convert --from {name} --input {file} " in str(
        caught.value
    )


def test_a_file_of_a_hugging_face_folder_names_the_folder(tuned, tmp_path):
    hugging_face.save(tuned, tmp_path / "hf")
    file = tmp_path / "hf" / "model.safetensors"
    with pytest.raises(InputError, match=rf"name its folder, {tmp_path}/hf$"):
        load_any(file)
    (tmp_path / "hf" / "config.json").unlink()
    with pytest.raises(InputError, match=r"put its config.json beside it and name the folder"):
        load_any(tmp_path / "hf")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("m.onnx", "an ONNX program"),
        ("m.stablehlo", "a StableHLO program"),
        ("saved_model.pb", "a TensorFlow SavedModel"),
    ],
)
def test_a_program_says_that_it_is_none(tmp_path, name, what):
    (tmp_path / name).write_bytes(b"x")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=rf"is {what}, from which no checkpoint can be made"):
            load_any(place)


def test_weights_of_another_network_and_damaged_ones_say_so(tmp_path):
    save_file({"conv1.weight": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="of no network that this package knows"):
        load_any(tmp_path / "other.safetensors")
    for name in ("cut.pt", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(InputError, match=rf"{name}: not a"):
            load_any(tmp_path / name)


@pytest.mark.parametrize("value", [5, {"model": 5}, {1: 2}, [1], None])
def test_a_torch_file_that_holds_no_tensors_is_of_no_known_network(tmp_path, value):
    save_pickle(tmp_path / "a.pt", value)
    with pytest.raises(InputError, match="of no network that this package knows"):
        load_any(tmp_path / "a.pt")


def test_what_is_no_weights_is_as_before(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="holds no checkpoint"):
            load_any(place)


def test_transcribe_and_a_recipes_start_say_so_in_one_line(tuned, tmp_path, capsys):
    fairseq.save(tuned, tmp_path / "a.pt")
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    arguments = ["--checkpoint", str(tmp_path / "a.pt"), str(tmp_path / "a.wav")]
    assert run_command(transcribe.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "w2v2 convert --from fairseq " in error
    with pytest.raises(InputError, match="convert --from fairseq "):
        load_start(str(tmp_path / "a.pt"))
