"""data2vec-audio's positional convolutions and adapters after the Transformer, in and out."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import (
    LAYER_NORM,
    PRETRAINING,
    VOCABULARY,
    assert_same,
    edit,
    random_checkpoint,
    rewrite,
)
from tests.helpers.parity_cases import difference
from tests.helpers.places import GOLDEN
from w2v2_jax.errors import InputError
from w2v2_jax.export import onnx_file
from w2v2_jax.inference import Model
from w2v2_jax.interop import (
    fairseq,
    fairseq2,
    fairseq_config,
    hugging_face,
    safetensors_file,
    torchaudio_file,
)
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification
from w2v2_jax.recognition.recognise import check_length

STORED = dict(np.load(GOLDEN / "variants.npz"))
STACKED = dict(extractor_norm="layer", position_depth=3, position_kernel=5)
ADAPTED = dict(output_adapter_layers=2, output_dim=12)
TUNED = ("encoder", "head")


def directory(folder, name):
    """A stored network as a Hugging Face directory, with its weights."""
    weights = {k.partition("weight/")[2]: x for k, x in STORED.items() if f"{name}/weight" in k}
    (folder / "config.json").write_text(str(STORED[f"{name}/config"]))
    rows = {symbol: row for row, symbol in enumerate(["<pad>", "<s>", "</s>", "<unk>", *"|abcd"])}
    (folder / "vocab.json").write_text(json.dumps(rows))
    settings = {"do_normalize": False, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    save_file(weights, folder / "model.safetensors")
    return weights


@pytest.fixture(params=["data2vec", "adapter"])
def stored(request, tmp_path):
    (tmp_path / "a").mkdir()
    return request.param, tmp_path / "a", directory(tmp_path / "a", request.param)


def test_a_stored_network_gives_transformers_logits_also_in_a_padded_batch(stored):
    name, folder, _ = stored
    loaded = hugging_face.load(folder)
    model = Model(folder, loaded.description, loaded.params)
    waveforms, lengths = STORED["waveforms"], STORED["lengths"]
    batch = model.logits(waveforms, lengths)
    for row, samples in enumerate(lengths):
        expected = STORED[f"{name}/logits/{row}"]
        assert model.num_frames(int(samples)) == len(expected)
        assert difference(batch[row, : len(expected)], expected) < 1e-4
    (alone,) = model.logits([waveforms[1, : lengths[1]]])
    assert difference(alone, STORED[f"{name}/logits/1"]) < 1e-4


def test_every_tensor_goes_through_our_names_and_back(stored, tmp_path):
    name, folder, weights = stored
    imported = hugging_face.read(folder)
    assert imported.left == []
    hugging_face.save(imported.loaded, tmp_path / "b")
    written = load_file(tmp_path / "b" / "model.safetensors")
    assert written.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    said = json.loads(str(STORED[f"{name}/config"]))
    for key in ("model_type", "architectures", "num_conv_pos_embeddings", "add_adapter"):
        assert config[key] == said.get(key, False), key
    again = hugging_face.load(tmp_path / "b")
    assert again.description == imported.loaded.description
    safetensors_file.save(again, tmp_path / "plain.safetensors")
    plain = safetensors_file.read(tmp_path / "plain.safetensors").loaded
    assert plain.description == again.description
    assert_same(plain.params, again.params)


def test_the_class_is_seen_by_the_heads_where_config_json_names_none(stored):
    _, folder, _ = stored
    expected = hugging_face.load(folder).description
    edit(folder / "config.json", architectures=None)
    assert hugging_face.load(folder).description == expected


@pytest.mark.parametrize("kernel", [5, 4])
def test_stacked_positions_go_to_fairseq_as_its_total_kernel_and_depth(tiny, tmp_path, kernel):
    model = dataclasses.replace(tiny, **STACKED | dict(position_kernel=kernel))
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    fairseq.save(made, tmp_path / "a.pt")
    settings = fairseq_config.from_model(model, normalise=False, classes=0)["model"]
    assert (settings["conv_pos"], settings["pos_conv_depth"]) == (3 * kernel, 3)
    found = fairseq.read(tmp_path / "a.pt")
    assert found.left == [] and found.loaded.description == made.description
    assert_same(found.loaded.params, made.params)
    rewrite(tmp_path / "a.pt", lambda state: state.pop("cfg"))
    hints = FileHints(strides=(5, 2, 2), num_heads=2, norm_order="post", normalise=False)
    shown = fairseq.read(tmp_path / "a.pt", hints).loaded.description.model
    assert (shown.position_depth, shown.position_kernel, shown.position_groups) == (3, kernel, 2)


def test_data2vec_pretraining_of_fairseq_is_read_as_an_encoder(tiny, tmp_path):
    model = dataclasses.replace(tiny, **STACKED, quantize_targets=False)
    made = random_checkpoint(model, parts=PRETRAINING)
    fairseq.save(made, tmp_path / "a.pt")

    def to_data2vec(state):
        state["cfg"]["model"]["_name"] = "data2vec_audio"
        del state["model"]["project_q.weight"], state["model"]["project_q.bias"]

    rewrite(tmp_path / "a.pt", to_data2vec)
    found = fairseq.read(tmp_path / "a.pt")
    assert found.left == ["final_proj.bias", "final_proj.weight"]
    assert any("regression head" in note for note in found.notes)
    assert_same(found.loaded.params, {"encoder": made.params["encoder"]})


def test_stacked_positions_go_to_fairseq2_and_back(tiny, tmp_path):
    model = dataclasses.replace(tiny, **STACKED)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    said = fairseq2.save(made, tmp_path / "a.pt")
    assert "'pos_encoder_depth': 3, 'pos_conv_kernel_size': 15" in said.notes[0]
    VOCABULARY.save(tmp_path / "rows.json")
    hints = FileHints(strides=(5, 2, 2), num_heads=2, dictionary=str(tmp_path / "rows.json"))
    found = fairseq2.read(tmp_path / "a.pt", hints)
    assert found.left == [] and found.loaded.description.model.position_depth == 3
    assert_same(found.loaded.params, made.params)


def test_what_a_framework_has_no_layers_for_is_refused(tiny, tmp_path):
    def made(**changes):
        model = dataclasses.replace(tiny, **changes)
        return random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)

    stacked, adapted = made(**STACKED), made(**ADAPTED)
    out = tmp_path / "out"
    for refused, save, message in (
        (stacked, torchaudio_file.save, "position_depth=3: torchaudio has one"),
        (made(position_depth=3), hugging_face.save, "only with model.extractor_norm='layer'"),
        (made(**STACKED | dict(position_kernel=4)), fairseq2.save, "fairseq2's are odd"),
        (made(**STACKED | dict(position_kernel=2)), fairseq.save, "fairseq's are at least 3"),
        (adapted, fairseq.save, "output_adapter_layers=2: fairseq has no such layers"),
        (adapted, fairseq2.save, "output_adapter_layers=2: fairseq2 has no such layers"),
        (adapted, torchaudio_file.save, "output_adapter_layers=2: torchaudio has no such layers"),
    ):
        with pytest.raises(InputError, match=message):
            save(refused, out)
        assert not out.exists()
    pretrained = random_checkpoint(dataclasses.replace(tiny, **STACKED), parts=PRETRAINING)
    with pytest.raises(InputError, match="has no pretraining class"):
        hugging_face.save(pretrained, out)
    classifier = random_checkpoint(
        dataclasses.replace(tiny, **ADAPTED), parts=Classification.parts,
        vocabulary=Classes(("no", "yes")), objective="classify",
    )  # fmt: skip
    with pytest.raises(InputError, match="ForSequenceClassification with an adapter"):
        hugging_face.save(classifier, out)


def test_layers_of_another_number_of_frames_are_refused(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM, **ADAPTED)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    network = Model(tmp_path, made.description, made.params)
    waveform = np.random.default_rng(0).standard_normal((1, 900)).astype(np.float32)
    assert network.features(waveform).shape == (1, 11, 12)  # 44 frames, halved twice
    with pytest.raises(InputError, match="which an adapter shortens; use -1"):
        network.features(waveform, layer=0)
    assert model.stride == 80 and model.seconds_per_frame == 80 / 16000
    check_length(network, "clip", 30)
    with pytest.raises(InputError, match="too short"):
        check_length(network, "clip", 29)


def test_a_long_recording_in_chunks_has_the_frames_of_the_whole(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM, **ADAPTED)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    network = Model(tmp_path, made.description, made.params)
    waveform = np.random.default_rng(0).standard_normal(40_017).astype(np.float32)
    pieces = network.stitched_logits(
        lambda: [waveform], chunk_seconds=1.0, context_seconds=0.2, batch_seconds=1.0
    )
    assert sum(map(len, pieces)) == network.num_frames(len(waveform))


@pytest.mark.deploy
@pytest.mark.parametrize("changes", [STACKED, LAYER_NORM | ADAPTED], ids=["stacked", "adapted"])
def test_onnxruntime_gives_our_logits(tiny, tmp_path, changes):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = dataclasses.replace(tiny, **changes)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    onnx_file.save(made, tmp_path / "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / onnx_file.MODEL)
    waveforms, lengths = STORED["waveforms"], STORED["lengths"]
    logits, frames = session.run(None, {"waveforms": waveforms, "num_samples": lengths})
    network = Model(tmp_path, made.description, made.params)
    expected = network.logits(waveforms, lengths)
    assert logits.shape == expected.shape
    assert frames.tolist() == [network.num_frames(int(n)) for n in lengths]
    for row, count in enumerate(frames):
        assert difference(logits[row, :count], expected[row, :count]) < 1e-4
