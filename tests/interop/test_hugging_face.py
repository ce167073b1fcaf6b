"""Conversions move every element and change none, or fail with one clear line and no output."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import (
    ENCODER,
    LAYER_NORM,
    PRETRAINING,
    VOCABULARY,
    assert_same,
    edit,
    random_checkpoint,
)
from tests.helpers.places import GOLDEN
from w2v2_jax import convert
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, names, native, safetensors_file
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE
from w2v2_jax.interop.load import load_any
from w2v2_jax.vocabulary import LIBRISPEECH, SPECIALS, Vocabulary


@pytest.mark.parametrize(
    ("changes", "parts", "vocabulary"),
    [
        ({}, ("encoder", "head"), VOCABULARY),
        (LAYER_NORM, PRETRAINING, None),
        (dict(mask_start_prob=0.0), ENCODER, None),
        (dict(d_model=8, always_project_features=True), ("encoder", "head"), VOCABULARY),
    ],
    ids=["ctc", "pretraining", "encoder", "as wide as its convolutions"],
)
def test_hugging_face_to_native_and_back_is_bit_exact(tiny, tmp_path, changes, parts, vocabulary):
    source = random_checkpoint(
        dataclasses.replace(tiny, **changes), parts=parts, vocabulary=vocabulary
    )
    hugging_face.save(source, tmp_path / "a")
    native, again = str(tmp_path / "native"), str(tmp_path / "b")
    convert.main(["--from", "hf", "--input", str(tmp_path / "a"), "--out", native])
    assert_same(checkpoint.load(native).params, source.params)
    export.main(["--checkpoint", native, "--to", "hf", "--out", again])
    card = Path(again) / "README.md"  # of the export, which a folder from elsewhere has not
    before = sorted((tmp_path / "a").iterdir())
    after = sorted(file for file in Path(again).iterdir() if file != card)
    assert card.exists() and [f.name for f in before] == [f.name for f in after]
    for one, other in zip(before, after, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("name", ["group_post", "layer_pre"])
def test_names_and_layouts_are_those_of_the_stored_hugging_face_weights(name):
    from w2v2_jax.interop.hugging_face_config import to_model

    stored = dict(np.load(GOLDEN / f"hugging_face_{name}.npz"))
    weights = {k[7:]: v for k, v in stored.items() if k.startswith("weight/")}
    model = to_model(json.loads(str(stored["config"])), where=name)
    written = {}
    for parts in (PRETRAINING, ("encoder", "head")):
        shapes = names.expected(model, parts=parts, classes=9)
        written |= names.split(names.join(weights, shapes, HUGGING_FACE, where=name), HUGGING_FACE)
    assert written.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)


def test_both_spellings_of_the_weight_norm_are_read(tuned, tmp_path):
    hugging_face.save(tuned, tmp_path / "old", legacy_weight_norm=True)
    tensors = load_file(tmp_path / "old" / "model.safetensors")
    assert "wav2vec2.encoder.pos_conv_embed.conv.weight_g" in tensors
    assert not any("parametrizations" in name for name in tensors)
    assert_same(hugging_face.load(tmp_path / "old").params, tuned.params)


def test_legacy_spelling_of_a_bare_encoder_has_no_prefix(tiny, tmp_path):
    bare = random_checkpoint(tiny, parts=ENCODER)
    hugging_face.save(bare, tmp_path / "old", legacy_weight_norm=True)
    tensors = load_file(tmp_path / "old" / "model.safetensors")
    assert "encoder.pos_conv_embed.conv.weight_v" in tensors
    assert_same(hugging_face.load(tmp_path / "old").params, bare.params)


def test_the_file_says_that_its_tensors_are_torchs(folder):
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_sharded_directory_is_read_whole(folder, tuned):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(tensors)}
    for part in set(where.values()):
        chosen = {n: x for n, x in tensors.items() if where[n] == part}
        save_file(chosen, folder / part, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert_same(hugging_face.load(folder).params, tuned.params)


def test_a_whole_file_goes_before_an_index_that_was_left_behind(folder, tuned):
    where = {"lm_head.bias": "model-00001-of-00002.safetensors"}  # which is not there
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert_same(hugging_face.load(folder).params, tuned.params)


def test_a_type_that_numpy_lacks_is_named_as_one(folder):
    file = folder / "model.safetensors"
    head = b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    file.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    with pytest.raises(InputError, match=r"a tensor's type is not read .*floating point"):
        hugging_face.load(folder)


def test_half_precision_tensors_become_float32(folder):
    file = folder / "model.safetensors"
    save_file({n: x.astype(np.float16) for n, x in load_file(file).items()}, file)
    head = hugging_face.load(folder).params["head"]["bias"]
    assert head.dtype == np.float32


def test_description_survives_the_round_trip(tiny, tmp_path):
    model = dataclasses.replace(
        tiny, **LAYER_NORM, dropout=0.03, channel_mask_start_prob=0.004, feature_grad_scale=0.1
    )
    source = random_checkpoint(
        model, parts=("encoder", "head"), vocabulary=LIBRISPEECH, normalise=True
    )
    hugging_face.save(source, tmp_path / "hf")
    found = hugging_face.load(tmp_path / "hf").description
    # Whatever this checkpoint was trained with, transformers adds 1e-7.
    assert found == source.description._replace(normalise_epsilon=1e-7)


def test_the_blank_is_their_padding_token_and_row_zero(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert [s for s, _ in sorted(vocabulary.items(), key=lambda x: x[1])] == [
        "<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "'",
    ]  # fmt: skip
    assert json.loads((folder / "config.json").read_text())["pad_token_id"] == 0


def test_a_vocabulary_in_another_order_moves_the_rows_of_the_head(folder, tuned):
    order = ["'", "c", "|", "a", "b", "[UNK]", "[PAD]"]
    old = tuned.params["head"]
    rows = [8, 7, 4, 5, 6, 3, 0]  # where each symbol was
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = np.ascontiguousarray(old["kernel"].T[rows])
    tensors["lm_head.bias"] = old["bias"][rows]
    save_file(tensors, folder / "model.safetensors")
    (folder / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(order)}))
    (folder / "special_tokens_map.json").unlink()
    edit(folder / "tokenizer_config.json", pad_token="[PAD]", unk_token={"content": "[UNK]"})
    edit(folder / "config.json", vocab_size=7, pad_token_id=6)
    found = hugging_face.read(folder)
    assert found.loaded.description.vocabulary == Vocabulary((*SPECIALS, *"'cab"), "lower")
    head = found.loaded.params["head"]
    kept = [0, 3, 4, 8, 7, 5, 6]
    np.testing.assert_array_equal(head["kernel"][:, [0, 3, 4, 5, 6, 7, 8]], old["kernel"][:, kept])
    assert (head["bias"][[1, 2]] < -1000).all()  # it has no <s> and </s>
    assert any("rows" in note for note in found.notes)


@pytest.mark.parametrize(
    ("characters", "lowered", "case"),
    [("AB'", False, "upper"), ("ab", True, "lower"), ("aB", False, "keep"), ("אב", False, "keep"),
     ("éa", False, "lower"), ("אב", True, "upper")],
)  # fmt: skip
def test_case_follows_the_characters(tmp_path, characters, lowered, case):
    from w2v2_jax.interop import tokenizer

    tokenizer.write(tmp_path, Vocabulary(SPECIALS + tuple(characters), "keep"))
    edit(tmp_path / "tokenizer_config.json", do_lower_case=lowered)
    assert tokenizer.read(tmp_path, classes=5 + len(characters), blank=0).vocabulary.case == case


def test_feature_extractor_settings_are_not_in_processor_config(folder):
    """transformers 4.46 passes everything in that file to the constructor a second time."""
    content = json.loads((folder / "processor_config.json").read_text())
    assert content == {"processor_class": "Wav2Vec2Processor"}


def test_input_scale_is_read_from_either_settings_file(folder):
    edit(folder / "preprocessor_config.json", do_normalize=True)
    assert hugging_face.load(folder).description.normalise
    edit(folder / "processor_config.json", feature_extractor={"do_normalize": False})
    assert not hugging_face.load(folder).description.normalise
    edit(folder / "processor_config.json", feature_extractor={"do_normalize": True})
    assert hugging_face.load(folder).description.normalise
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").unlink()
    found = hugging_face.read(folder)
    assert not found.loaded.description.normalise
    assert any("do_normalize" in note for note in found.notes)


@pytest.mark.parametrize("value", ["Wav2Vec2FeatureExtractor", [1], 3])
def test_a_feature_extractor_of_another_type_is_named_with_its_file(folder, value):
    edit(folder / "processor_config.json", feature_extractor=value)
    with pytest.raises(InputError, match=r"processor_config\.json: feature_extractor=.* an object"):
        hugging_face.load(folder)


def test_an_absent_mask_embedding_is_drawn_and_reported(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["wav2vec2.masked_spec_embed"]
    save_file(tensors, folder / "model.safetensors")
    found = hugging_face.read(folder)
    assert any("masked_spec_embed" in note for note in found.notes)
    assert found.loaded.params["encoder"]["mask_embedding"].shape == (16,)


def test_unused_tensors_are_listed(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"quantizer.extra": np.zeros(3)}, folder / "model.safetensors")
    assert hugging_face.read(folder).left == ["quantizer.extra"]


def test_safetensors_round_trip_is_exact(pretrained, tmp_path):
    file = tmp_path / "model.safetensors"
    safetensors_file.save(pretrained, file)
    assert "encoder/transformer/layers/attention/qkv_kernel" in load_file(file)
    found = safetensors_file.read(file)
    assert found.loaded.description == pretrained.description
    assert_same(found.loaded.params, pretrained.params)


def test_anything_that_takes_a_checkpoint_takes_a_hugging_face_directory(folder, tuned):
    assert_same(load_any(folder).params, tuned.params)


def test_commands_print_what_matched_and_what_they_wrote(folder, tmp_path, capsys):
    native, plain = tmp_path / "native", tmp_path / "plain.safetensors"
    arguments = ["--from", "hf", "--input", str(folder), "--out", str(native)]
    assert run_command(convert.main, arguments) == 0
    printed = capsys.readouterr().out
    assert "names matched, 0 left over" in printed and f"wrote {native}" in printed
    arguments = ["--checkpoint", str(native), "--to", "safetensors", "--out", str(plain)]
    assert run_command(export.main, arguments) == 0
    assert f"wrote {plain}" in capsys.readouterr().out
    arguments = ["--from", "safetensors", "--input", str(plain), "--out", str(tmp_path / "again")]
    assert run_command(convert.main, arguments) == 0
    assert_same(checkpoint.load(tmp_path / "again").params, checkpoint.load(native).params)


@pytest.mark.slow
def test_conversions_import_no_tensorflow_librosa_or_ml_collections():
    code = (
        "import sys, w2v2_jax.export, w2v2_jax.convert; "
        "print({'tensorflow', 'librosa', 'ml_collections', 'torch'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.slow
def test_a_native_checkpoint_that_claims_more_than_its_files_can_hold_is_refused(
    tuned, tmp_path, monkeypatch
):
    native.write_initial(tmp_path, tuned)
    checkpoint.load(tmp_path)
    monkeypatch.setattr(checkpoint, "SMALL", 0)
    monkeypatch.setattr(checkpoint, "MOST_INFLATED", 0)
    with pytest.raises(InputError, match=r"cannot be read: \d+ bytes of files claim to hold \d+"):
        checkpoint.load(tmp_path)
