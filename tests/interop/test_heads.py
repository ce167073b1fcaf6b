"""Classifiers of recordings and frames and x-vectors: stored outputs, names, refusals."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import assert_same, edit
from tests.helpers.parity_cases import difference
from tests.helpers.places import GOLDEN
from w2v2_jax.errors import InputError
from w2v2_jax.interop import fairseq, hugging_face, safetensors_file, torchaudio_file
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition import classify
from w2v2_jax.recognition.network import Network

STORED = dict(np.load(GOLDEN / "heads.npz"))
CASES = sorted({key.split("/")[0] for key in STORED})
RUN = {
    "classify": classify.class_logits, "frames": classify.frame_logits,
    "xvector": classify.embeddings,
}  # fmt: skip


def case(name: str) -> dict:
    return {k.partition("/")[2]: x for k, x in STORED.items() if k.startswith(f"{name}/")}


@pytest.fixture(params=CASES)
def stored(request, tmp_path):
    """A stored model as a Hugging Face directory."""
    files = case(request.param)
    weights = {k[7:]: x for k, x in files.items() if k.startswith("weight/")}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text(str(files["config"]))
    settings = {"do_normalize": False}
    (tmp_path / "a" / "preprocessor_config.json").write_text(json.dumps(settings))
    save_file(weights, tmp_path / "a" / "model.safetensors")
    return request.param, tmp_path / "a", files, weights


def test_a_stored_head_gives_transformers_outputs(stored):
    name, folder, files, _ = stored
    loaded = hugging_face.load(folder)
    network = Network(folder, loaded.description, loaded.params)
    kind, lengths = name.split()[0], files["lengths"]
    ours, theirs = RUN[kind](network, files["waveforms"], lengths), files["outputs"]
    counts = frame_counts(lengths, loaded.description.model.conv_layers)
    for row, count in enumerate(counts):
        real = slice(None, count) if kind == "frames" else slice(None)
        assert difference(ours[row][real], theirs[row][real]) < 1e-4
    if kind == "xvector":  # a padded row is what it is alone, which transformers' is not
        alone = RUN[kind](network, files["waveforms"][1:, : lengths[1]])
        assert difference(ours[1:], alone) < 1e-5


def test_every_tensor_of_a_head_goes_through_our_names_and_back(stored, tmp_path):
    _, folder, _, weights = stored
    imported = hugging_face.read(folder)
    assert imported.left == []
    edit(folder / "config.json", architectures=None)
    assert hugging_face.read(folder).loaded.description == imported.loaded.description
    hugging_face.save(imported.loaded, tmp_path / "b")
    written = load_file(tmp_path / "b" / "model.safetensors")
    assert written.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)
    again = hugging_face.load(tmp_path / "b")
    assert again.description == imported.loaded.description
    safetensors_file.save(again, tmp_path / "plain.safetensors")
    plain = safetensors_file.read(tmp_path / "plain.safetensors").loaded
    assert plain.description == again.description
    assert_same(plain.params, again.params)


def test_classes_have_the_names_of_id2label_and_label_n_without(stored):
    _, folder, _, _ = stored
    names = ["yes", "no", "up", "down", "stop"]
    edit(folder / "config.json", id2label={str(i): x for i, x in enumerate(names)})
    assert hugging_face.load(folder).description.vocabulary.symbols == tuple(names)
    edit(folder / "config.json", id2label={"0": "yes", "1": "no"})
    with pytest.raises(InputError, match=r"id2label names 2 classes, the head has 5 rows"):
        hugging_face.load(folder)
    edit(folder / "config.json", id2label=None)
    found = hugging_face.read(folder)
    assert found.loaded.description.vocabulary.symbols[4] == "LABEL_4"
    assert any("LABEL_0" in note for note in found.notes)


@pytest.mark.parametrize("framework", [fairseq, torchaudio_file])
def test_other_frameworks_have_no_such_heads_and_it_is_said(stored, tmp_path, framework):
    name, folder, _, _ = stored
    with pytest.raises(InputError, match=f"{name.split()[0]} checkpoint: .* has no such head"):
        framework.save(hugging_face.load(folder), tmp_path / "out")


def test_asking_a_head_for_what_it_is_not_is_one_line(stored):
    name, folder, files, _ = stored
    loaded = hugging_face.load(folder)
    network, kind = Network(folder, loaded.description, loaded.params), name.split()[0]
    with pytest.raises(InputError, match=r"has no CTC head.*w2v2 classify"):
        network.logits(files["waveforms"])
    other = next(other for other in RUN if other != kind)
    with pytest.raises(InputError, match=f"is a {kind} checkpoint, not one of {other}"):
        RUN[other](network, files["waveforms"])
    if kind == "xvector":
        with pytest.raises(InputError, match="frames are too few for an x-vector"):
            classify.embeddings(network, files["waveforms"][:, :150])
