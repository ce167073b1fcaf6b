"""Low-rank updates: merged they are the adapted network; PEFT's files hold them, in and out."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import (
    PRETRAINING,
    VOCABULARY,
    assert_same,
    edit,
    random_checkpoint,
)
from w2v2_jax import convert, trees
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, lora, native
from w2v2_jax.interop.files import Imported
from w2v2_jax.recognition.network import Network
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

TUNED = ("encoder", "head")


@pytest.fixture(scope="module")
def adapted(tiny):
    """A CTC checkpoint whose updates are no smaller than its weights."""
    model = dataclasses.replace(tiny, lora_rank=3, lora_alpha=6.0)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    flat = {name: 0.3 * x for name, x in trees.flatten(made.params).items()}
    return made._replace(params=trees.nest(flat))


@pytest.fixture(scope="module")
def base(adapted):
    """The network that the updates are of."""
    flat = trees.flatten(adapted.params)
    plain = {name: x for name, x in flat.items() if "lora_" not in name}
    model = dataclasses.replace(adapted.description.model, lora_rank=0)
    return adapted._replace(
        description=adapted.description._replace(model=model), params=trees.nest(plain)
    )


def logits(loaded) -> np.ndarray:
    waveform = np.random.default_rng(0).standard_normal((1, 1003)).astype(np.float32)
    return Network(loaded.path, loaded.description, loaded.params).logits(waveform)


def test_the_merged_network_gives_the_adapted_ones_logits(adapted, base):
    merged = lora.merged(adapted)
    assert merged.description.model.lora_rank == 0
    ours, theirs = logits(adapted), logits(merged)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * np.abs(ours).max())
    assert np.abs(logits(base) - ours).max() > 0.01 * np.abs(ours).max()


def test_a_rank_of_0_is_the_network_as_it_was(base):
    assert lora.merged(base) is base
    with pytest.raises(InputError, match="lora_rank=0"):
        lora.save(base, "nowhere")


def test_updates_and_head_come_back_from_pefts_files_bit_for_bit(adapted, base, tmp_path):
    lora.save(adapted, tmp_path / "peft")
    tensors = load_file(tmp_path / "peft" / lora.WEIGHTS)
    a = "base_model.model.wav2vec2.encoder.layers.1.attention.v_proj.lora_A.weight"
    assert tensors[a].shape == (3, 16) and "base_model.model.lm_head.weight" in tensors
    found = lora.with_updates(Imported(base, [], [], []), tmp_path / "peft")
    assert found.loaded.description == adapted.description and found.notes == []
    assert_same(found.loaded.params, adapted.params)


def test_commands_write_pefts_files_and_merge_for_everybody_else(adapted, tmp_path, capsys):
    made = dataclasses.replace(
        adapted.description.model, d_model=24, num_heads=3
    )  # other than the convolutions' width, as Hugging Face has it
    source = random_checkpoint(made, parts=TUNED, vocabulary=VOCABULARY)
    native.write_initial(tmp_path / "native", source)
    for to in ("hf", "peft"):
        arguments = ["--checkpoint", str(tmp_path / "native"), "--to", to]
        export.main([*arguments, "--out", str(tmp_path / to)])
    whole = hugging_face.load(tmp_path / "hf")
    assert_same(whole.params, lora.merged(source).params)
    arguments = ["--from", "hf", "--input", str(tmp_path / "hf"), "--out", str(tmp_path / "again")]
    convert.main([*arguments, "--lora", str(tmp_path / "peft")])
    again = checkpoint.load(tmp_path / "again")
    assert again.description.model.lora_rank == 3
    for part in lora.PARTS:
        name = lora.ATTENTION + part
        np.testing.assert_array_equal(
            trees.flatten(again.params)[name], trees.flatten(source.params)[name]
        )
    assert "wrote" in capsys.readouterr().out


OTHER = Vocabulary((*SPECIALS, *"xyzabc"), "lower")


@pytest.fixture
def other(adapted, tmp_path):
    """A CTC network with updates and another vocabulary than the base's, and its PEFT folder."""
    made = random_checkpoint(adapted.description.model, parts=TUNED, vocabulary=OTHER)
    lora.save(made, tmp_path / "peft")
    return made, tmp_path / "peft"


def test_the_symbols_of_the_head_travel_with_it(other, base):
    made, folder = other
    found = lora.with_updates(Imported(base, [], [], []), folder)
    assert found.loaded.description.vocabulary == OTHER and found.notes == []
    assert_same(found.loaded.params["head"], made.params["head"])


def test_a_base_without_a_head_becomes_a_ctc_network(other, tiny):
    folder = other[1]
    base = random_checkpoint(tiny, parts=PRETRAINING)
    found = lora.with_updates(Imported(base, [], [], []), folder)
    assert found.loaded.description.objective == "ctc"
    assert found.loaded.description.vocabulary == OTHER
    assert set(found.loaded.params) == {"encoder", "head"} and "left out" in found.notes[0]
    assert logits(found.loaded).shape[-1] == len(OTHER)


def without_symbols(folder):
    for name in ("vocabulary.json", "vocab.json"):
        (folder / name).unlink()


def test_a_head_of_other_rows_without_symbols_is_refused(other, base):
    folder = other[1]
    without_symbols(folder)
    with pytest.raises(InputError, match=f"has {len(OTHER)} rows, the base network's"):
        lora.with_updates(Imported(base, [], [], []), folder)


def test_a_head_of_as_many_rows_without_symbols_has_the_bases_in_its_files_order(
    adapted, base, tmp_path
):
    lora.save(adapted, tmp_path)
    without_symbols(tmp_path)
    turned = (1, 0, *range(2, len(VOCABULARY)))
    for rows in (None, turned):
        found = lora.with_updates(Imported(base, [], [], [], rows), tmp_path)
        bias = adapted.params["head"]["bias"][list(rows or range(len(VOCABULARY)))]
        np.testing.assert_array_equal(found.loaded.params["head"]["bias"], bias)
        assert f"{tmp_path} has no vocabulary.json: its rows are taken for" in found.notes[0]
        assert found.loaded.description.vocabulary == VOCABULARY


def test_the_symbols_of_a_tokenizer_beside_the_head_count(other, base):
    made, folder = other
    (folder / "vocabulary.json").unlink()
    ids = json.loads((folder / "vocab.json").read_text())
    ids["x"], ids["y"] = ids["y"], ids["x"]
    (folder / "vocab.json").write_text(json.dumps(ids))
    found = lora.with_updates(Imported(base, [], [], []), folder)
    assert found.loaded.description.vocabulary.symbols[-6:] == tuple("yxzabc")
    assert_same(found.loaded.params["head"], made.params["head"])
    del ids["<pad>"]
    (folder / "vocab.json").write_text(json.dumps(ids))
    with pytest.raises(InputError, match="the CTC blank, is none of the"):
        lora.with_updates(Imported(base, [], [], []), folder)


@pytest.mark.parametrize("start", [None, "runs/start"])
def test_the_note_and_the_card_say_whose_the_other_parameters_and_the_symbols_are(
    adapted, tmp_path, capsys, start
):
    scaled = adapted.description._replace(normalise=True, normalise_epsilon=1e-5)
    native.write_initial(tmp_path / "run", adapted._replace(description=scaled))
    if start:
        record = {"facts": {"config": {"init_from": start}, "data": {}}}
        (tmp_path / "run/run.json").write_text(json.dumps(record))
    arguments = ["--checkpoint", str(tmp_path / "run"), "--to", "peft"]
    export.main([*arguments, "--out", str(tmp_path / "peft")])
    whose = f"{start}, which the run started from" if start else "the network it was tuned from"
    printed = capsys.readouterr().out
    assert f"other parameters are those of {whose}" in printed and "--to hf" not in printed
    assert "transformers adds 1e-07 to a waveform's variance, this checkpoint 1e-05" in printed
    text = (tmp_path / "peft/README.md").read_text()
    assert f"They are: `` {' '.join(VOCABULARY.symbols)} ``." in text
    assert f"vocab_size={len(VOCABULARY)}, ignore_mismatched_sizes=True" in text


def test_modules_without_an_update_have_one_of_0_and_it_is_said(adapted, base, tmp_path):
    lora.save(adapted, tmp_path)
    tensors = load_file(tmp_path / lora.WEIGHTS)
    few = {name: x for name, x in tensors.items() if "k_proj" not in name}
    save_file(few, tmp_path / lora.WEIGHTS)
    found = lora.with_updates(Imported(base, [], [], []), tmp_path)
    assert found.notes == ["no updates of k_proj: they are 0"]
    up = trees.flatten(found.loaded.params)[lora.ATTENTION + "lora_qkv_up"]
    assert (up[:, 1] == 0).all() and (up[:, [0, 2]] != 0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(use_dora=True), "use_dora=True"),
        (dict(use_rslora=True), "use_rslora=True"),
        (dict(rank_pattern={"q_proj": 4}), "rank_pattern="),
        (dict(peft_type="IA3"), "peft_type='IA3'"),
        (dict(r=0), "not "),
        (dict(r=5), r"is \[3, 16\], not \[5, 16\]"),
    ],
)
def test_settings_that_mean_something_else_are_refused_by_name(
    adapted, base, tmp_path, change, message
):
    lora.save(adapted, tmp_path)
    edit(tmp_path / lora.CONFIG, **change)
    with pytest.raises(InputError, match=message):
        lora.with_updates(Imported(base, [], [], []), tmp_path)


def test_an_update_of_another_module_is_refused_by_its_name(adapted, base, tmp_path):
    lora.save(adapted, tmp_path)
    tensors = load_file(tmp_path / lora.WEIGHTS)
    odd = "base_model.model.wav2vec2.encoder.layers.0.feed_forward.output_dense.lora_A.weight"
    save_file(tensors | {odd: np.zeros((3, 16), np.float32)}, tmp_path / lora.WEIGHTS)
    with pytest.raises(InputError, match=r"output_dense.lora_A.weight is no update of"):
        lora.with_updates(Imported(base, [], [], []), tmp_path)
    assert json.loads((tmp_path / lora.CONFIG).read_text())["target_modules"] == list(lora.MODULES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(norm_order="pre"), "model.norm_order='post', but random has 'pre'"),
        (dict(num_heads=4), "model.num_heads=2, but random has 4"),
        (dict(conv_layers=((8, 10, 4), (8, 3, 2), (8, 2, 2))), r"model.conv_layers=\[\[8, 10, 5\]"),
    ],
)
def test_updates_are_refused_for_another_network_of_the_same_shapes(
    adapted, base, tmp_path, changes, said
):
    """Nothing in PEFT's own files says it: the updates fitted, and the text was nonsense."""
    lora.save(adapted, tmp_path)
    model = dataclasses.replace(base.description.model, **changes)
    other = base._replace(description=base.description._replace(model=model))
    message = f"network.json: the updates are of a network with {said}.*; give the network that"
    with pytest.raises(InputError, match=message):
        lora.with_updates(Imported(other, [], [], []), tmp_path)


def test_a_folder_says_how_its_network_was_fed(adapted, base, tmp_path):
    """Of a base that was fed otherwise, the network is the one that was trained."""
    model = dataclasses.replace(adapted.description.model, masked_group_norm=False)
    trained = adapted.description._replace(model=model, normalise=True, normalise_epsilon=1e-3)
    adapted = adapted._replace(description=trained)
    lora.save(adapted, tmp_path)
    found = lora.with_updates(Imported(base, [], [], []), tmp_path).loaded
    assert found.description == trained
    assert_same(found.params, adapted.params)
    np.testing.assert_array_equal(logits(found), logits(adapted))


def test_a_folder_of_peft_alone_has_the_bases_network(adapted, base, tmp_path):
    lora.save(adapted, tmp_path)
    (tmp_path / "network.json").unlink()
    found = lora.with_updates(Imported(base, [], [], []), tmp_path).loaded
    assert found.description == adapted.description


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "network.json: not a JSON object"),
        ("{}", "network.json: model=None must be the settings"),
        ('{"model": {}, "normalise": "no"}', "network.json: normalise='no' must be true or false"),
        ('{"model": {}, "normalise_epsilon": "x"}', "network.json: normalise_epsilon='x' must be"),
    ],
)
def test_a_damaged_network_file_is_one_line(adapted, base, tmp_path, content, said):
    lora.save(adapted, tmp_path)
    (tmp_path / "network.json").write_text(content)
    with pytest.raises(InputError, match=said):
        lora.with_updates(Imported(base, [], [], []), tmp_path)
