"""Starting from another checkpoint: quantizer included, heads symbol by symbol, adapters fresh."""

import dataclasses
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from tests.helpers.interop_cases import ENCODER, PRETRAINING, assert_same, random_checkpoint
from tests.helpers.places import ROOT
from tests.helpers.train_runs import use_one_device
from w2v2_jax import partition, trees
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.data.config import DataConfig
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment.settings import ExperimentSettings
from w2v2_jax.experiment.smoke import TINY_MODEL
from w2v2_jax.interop import hugging_face, native
from w2v2_jax.interop.load import load_any
from w2v2_jax.models.execution import PLAIN
from w2v2_jax.models.families import model_config
from w2v2_jax.models.transformer import Adapter
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.prepare import command as prepare
from w2v2_jax.train import command as train
from w2v2_jax.train.start_check import check_network, check_targets, report_start
from w2v2_jax.train.warm_start import (
    choose_vocabulary,
    graft,
    take_epsilon,
    warm_start,
)
from w2v2_jax.vocabulary import SPECIALS, Vocabulary, extend_vocabulary, shared_rows

OLD = Vocabulary((*SPECIALS, *"ABC"), "upper")
NEW = Vocabulary((*SPECIALS, *"CXA"), "upper")
CHANNELS = 48  # Hugging Face's networks need a width other than the convolutions' 32


def started(model, vocabulary):
    """Parameters of a CTC network that no source has, on the device."""
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=vocabulary)
    return jax.tree.map(lambda x: jnp.asarray(x + 1.0), made.params)


def head(params):
    return {name: np.asarray(x) for name, x in params["head"].items()}


def test_a_start_whose_input_is_quantized_needs_a_network_that_keeps_its_quantizer(tiny):
    quantized = dataclasses.replace(tiny, quantize_input=True)
    check_network(quantized, quantized, where="old")
    message = r"quantize_input=False, but old has True; set config.model.quantize_input=True"
    with pytest.raises(InputError, match=message):
        check_network(tiny, quantized, where="old")
    with pytest.raises(InputError, match=r"set config.model.quantize_input=False"):
        check_network(quantized, tiny, where="old")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(norm_order="pre"), "norm_order='pre', but old has 'post'"),
        (dict(num_heads=1), "num_heads=1, but old has 2"),
        (dict(conv_layers=((16, 10, 4), (32, 8, 4))), "conv_layers=.* strides 4, 4, but .* 5, 4"),
        (dict(output_adapter_layers=1, output_adapter_stride=3), "output_adapter_stride=3"),
        (dict(lora_rank=2, lora_alpha=8.0), "lora_alpha=8.0, but old has 16.0"),
    ],
)
def test_a_network_that_the_same_weights_fit_but_that_computes_another_thing(tiny, changed, said):
    """The shapes are the same, so that nothing but this says that the start is of no use."""
    tiny = dataclasses.replace(
        tiny, conv_layers=((16, 10, 5), (32, 8, 4)), norm_order="post", num_heads=2,
        output_adapter_layers=1, lora_rank=2,
    )  # fmt: skip
    check_network(dataclasses.replace(tiny, dropout=0.7, mask_length=3), tiny, where="old")
    with pytest.raises(InputError, match=f"config.model.{said}"):
        check_network(dataclasses.replace(tiny, **changed), tiny, where="old")
    if {"output_adapter_stride", "lora_alpha"} & changed.keys():  # nothing to take over
        plain = dataclasses.replace(tiny, output_adapter_layers=0, lora_rank=0)
        check_network(dataclasses.replace(tiny, **changed), plain, where="old")


def test_a_start_of_another_size_is_told_by_its_sizes_and_not_by_what_else_differs(tiny):
    """A toy recipe's heads were to be set to the start's, and nothing then fitted."""
    tiny = dataclasses.replace(tiny, norm_order="pre", num_heads=2)
    big = dataclasses.replace(tiny, d_model=2 * tiny.d_model, norm_order="post", num_heads=4)
    said = f"config.model has d_model={tiny.d_model}, but big has d_model={big.d_model}; take"
    with pytest.raises(InputError, match=f"{said} its network .*family=inherit.*leave out ,smoke"):
        check_network(tiny, big, where="big")


def test_a_start_with_a_projection_to_the_same_width_is_told_by_its_setting(tiny, tmp_path):
    """An exported toy encoder has one, and its own recipe spoke of LoRA's updates."""
    square = dataclasses.replace(tiny, conv_layers=((16, 10, 5), (16, 8, 4)))
    hugging_face.save(random_checkpoint(square, parts=PRETRAINING), tmp_path / "hf")
    source = load_any(tmp_path / "hf")
    said = r"always_project_features=False, but hf has a projection .*; set config.model.always_"
    with pytest.raises(InputError, match=said):
        check_network(square, source.description.model, where="hf")
    fits = dataclasses.replace(square, always_project_features=True)
    check_network(fits, source.description.model, where="hf")
    params = jax.tree.map(jnp.asarray, random_checkpoint(fits, parts=ENCODER).params)
    assert graft(params, source.params, where="hf")[1] == []
    with pytest.raises(InputError, match="features=True, but old lacks a projection"):
        check_network(fits, square, where="old")
    other = dataclasses.replace(square, conv_layers=((16, 10, 5), (8, 8, 4)))
    check_network(square, other, where="old")  # what differs is told by its shape


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, dict(quantize_targets=False), "quantize_targets=False, but old was pretrained with T"),
        (dict(quantize_targets=False), {}, "quantize_targets=True, but old was pretrained with F"),
        (dict(same_quantizer=True), {}, "same_quantizer=False, but old was pretrained with True"),
        ({}, dict(same_quantizer=True), "same_quantizer=True, but old was pretrained with False"),
    ],
)
def test_pretraining_goes_on_from_targets_of_its_own_kind(tiny, old, new, said):
    """With codes as wide as the latents all shapes fit, and the run said nothing."""
    tiny = dataclasses.replace(tiny, code_dim=tiny.conv_dim, quantize_input="same" in said)
    before, now = (dataclasses.replace(tiny, **changes) for changes in (old, new))
    source = random_checkpoint(before, parts=PRETRAINING)
    check_targets(before, Contrastive.parts, source, where="old")
    with pytest.raises(InputError, match=rf"config\.model\.{said}.*; set config\.model"):
        check_targets(now, Contrastive.parts, source, where="old")
    check_targets(now, CTC.parts, source, where="old")  # fine-tuning has no targets
    encoder = random_checkpoint(before, parts=ENCODER)
    check_targets(now, Contrastive.parts, encoder, where="old")  # nor has a bare encoder


@pytest.mark.parametrize("trained", [True, False])
def test_a_start_whose_group_norm_counted_other_frames_is_warned_of(tiny, capsys, trained):
    start, other = (dataclasses.replace(tiny, masked_group_norm=x) for x in (trained, not trained))
    source = random_checkpoint(start, parts=ENCODER)
    data = DataConfig("a", "crop", (1.0,), 1.0, 1, normalise=False)
    settings = ExperimentSettings({}, 0, "old", "ctc", PLAIN, data, None, None, None)
    for silent in (start, dataclasses.replace(other, extractor_norm="layer")):
        report_start(source, silent, settings)
    report_start(None, other, settings)
    assert capsys.readouterr().err == ""
    report_start(source, other, settings)
    (line,) = capsys.readouterr().err.splitlines()
    said = f"config.model.masked_group_norm={not trained}, but old was trained with {trained}"
    assert line == f"warning: {said}"


def test_a_run_normalises_with_the_epsilon_of_its_start_unless_it_says_another(tiny):
    start = random_checkpoint(tiny, parts=ENCODER).description._replace(normalise_epsilon=1e-7)

    def taken(start, **data):
        data = DataConfig("a", "crop", (1.0,), 1.0, 1, **data)
        settings = ExperimentSettings({}, 0, "", "ctc", PLAIN, data, None, None, None)
        return take_epsilon(settings, start).data.epsilon

    assert (taken(None), taken(start)) == (1e-5, 1e-7)
    assert taken(start, normalise_epsilon=1e-3) == 1e-3
    with pytest.raises(InputError, match=r"data\.normalise_epsilon=0\.0 must be between"):
        taken(start, normalise_epsilon=0.0)


def test_rows_of_shared_symbols_are_found_by_symbol():
    assert shared_rows(NEW, OLD) == (0, 1, 2, 3, 4, 7, None, 5)


def test_extending_keeps_every_row_and_adds_what_the_texts_have_most_often_first():
    texts = ["abba xyz", "xy"]
    assert extend_vocabulary(OLD, texts, min_count=2).symbols == (*OLD.symbols, "X", "Y")
    assert extend_vocabulary(OLD, ["ab"], min_count=1) == OLD


def test_a_replaced_vocabulary_moves_shared_rows_and_leaves_new_ones_fresh(tiny, capsys):
    source = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=OLD)
    fresh = started(tiny, NEW)
    before = head(fresh)
    after = head(warm_start(fresh, source, NEW, where="old"))
    for name, old in head(source.params).items():
        for row, (symbol, origin) in enumerate(
            zip(NEW.symbols, shared_rows(NEW, OLD), strict=True)
        ):
            expected = before[name][..., row] if origin is None else old[..., origin]
            np.testing.assert_array_equal(after[name][..., row], expected, err_msg=symbol)
    printed = capsys.readouterr().err
    assert "head: 7 symbols keep their weights; initialised: X; dropped: B" in printed


@pytest.mark.parametrize(
    ("old", "new", "case", "count"),
    [
        ("ABC", "abcx", "upper", 3),
        ("abc", "CAB", "lower", 3),
        ("abcDE", "ABCD", "lower", 3),
        ("ABC", "CXA", None, 0),
        ("AB", "ab", None, 0),
    ],
)
def test_letters_that_the_start_has_in_another_case_are_warned_of(
    tiny, capsys, old, new, case, count
):
    """The last two: nothing differs by case alone; the symbols are phonemes."""
    units = "phonemes" if old == "AB" else "characters"
    first = Vocabulary((*SPECIALS, *old), "keep", units)
    second = Vocabulary((*SPECIALS, *new), "keep", units)
    source = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=first)
    params = started(tiny, second)
    warm_start(params, source, second, where="old")
    printed = capsys.readouterr().err
    abstract = jax.eval_shape(lambda: params)  # a dry run's say and stay the same
    assert warm_start(abstract, source, second, where="old") == abstract
    assert capsys.readouterr().err == printed
    lines = [line for line in printed.splitlines() if line.startswith("warning: ")]
    assert len(lines) == (case is not None)
    if case:
        assert f"{count} symbols" in lines[0] and f"--config.vocabulary.case={case} " in lines[0]


def test_the_same_vocabulary_keeps_the_head_whole(tiny):
    source = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=OLD)
    after = warm_start(started(tiny, OLD), source, OLD, where="old")
    assert_same(jax.device_get(after), source.params)


def test_adapters_that_the_source_lacks_stay_fresh(tiny):
    model = dataclasses.replace(tiny, norm_order="pre")
    source = random_checkpoint(model, parts=ENCODER)
    fresh = started(dataclasses.replace(model, adapter_dim=3), OLD)
    _, left = graft(fresh, source.params, where="old")
    assert [name for name in left if "adapter" not in name] == ["head/bias", "head/kernel"]
    assert sum("adapter" in name for name in left) == 6


@pytest.mark.parametrize(
    ("changes", "name"),
    [(dict(lora_rank=2), "attention/lora_out_down"),
     (dict(adapter_dim=2, norm_order="pre"), "adapter/down/bias")],
)  # fmt: skip
def test_what_the_model_has_no_place_for_is_not_lost_unseen(tiny, changes, name):
    model = dataclasses.replace(tiny, norm_order=changes.get("norm_order", "post"))
    source = random_checkpoint(dataclasses.replace(tiny, **changes), parts=ENCODER)
    with pytest.raises(
        InputError, match=f"old has encoder/.*{name}, for which the model has no.*leave out ,smoke"
    ):
        graft(random_checkpoint(model, parts=ENCODER).params, source.params, where="old")


def test_a_classifiers_rows_are_taken_over_by_the_names_of_classes(tiny):
    def made(classes):
        parts = Classification.parts
        return random_checkpoint(tiny, parts=parts, vocabulary=classes, objective="classify")

    old, new = Classes(("a", "b", "c")), Classes(("c", "d", "a"))
    start = jax.tree.map(lambda x: jnp.asarray(x + 1.0), made(new).params)
    params = warm_start(start, made(old), new, where="old")
    kernel, theirs = params["classifier"]["kernel"], made(old).params["classifier"]["kernel"]
    np.testing.assert_array_equal(kernel[:, [0, 2]], theirs[:, [2, 0]])
    np.testing.assert_array_equal(kernel[:, 1], start["classifier"]["kernel"][:, 1])
    tuned = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=OLD)
    params = warm_start(start, tuned, new, where="old")  # a head of symbols is no head of classes
    np.testing.assert_array_equal(params["classifier"]["kernel"], start["classifier"]["kernel"])
    np.testing.assert_array_equal(
        params["encoder"]["mask_embedding"], tuned.params["encoder"]["mask_embedding"]
    )


@pytest.mark.parametrize("abstract", [False, True])
def test_a_head_of_another_width_is_refused_for_other_classes_too(tiny, abstract):
    """Symbol by symbol it was a broadcast of shapes that do not fit."""

    def made(classes, **changes):
        model = dataclasses.replace(tiny, **changes)
        parts = Classification.parts
        return random_checkpoint(model, parts=parts, vocabulary=classes, objective="classify")

    old, new = made(Classes(("a", "b"))), Classes(("b", "c"))
    params = jax.tree.map(jnp.asarray, made(new, head_dim=3).params)
    params = jax.eval_shape(lambda: params) if abstract else params
    said = rf"old: classifier/kernel is \({tiny.head_dim}, 2\), the model has \(3, 2\)"
    with pytest.raises(InputError, match=said):
        warm_start(params, old, new, where="old")


def test_a_fresh_adapter_changes_nothing(tiny):
    adapter = Adapter(dataclasses.replace(tiny, norm_order="pre", adapter_dim=3))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 2, tiny.d_model)), jnp.float32)
    params = partition.unbox(jax.jit(adapter.init)(jax.random.key(0), x))
    assert np.any(params["params"]["down"]["kernel"])
    assert not np.any(jax.jit(adapter.apply)(params, x))


def test_extending_needs_a_tuned_start():
    settings = SimpleNamespace(
        objective_class=CTC, raw={"vocabulary": {}}, vocabulary=SimpleNamespace(name="extend")
    )
    with pytest.raises(InputError, match=r"needs config\.init_from to be a tuned checkpoint"):
        choose_vocabulary(settings, None)


def test_post_norm_networks_have_no_adapters(tiny):
    with pytest.raises(InputError, match=r"adapter_dim=3 needs model.norm_order='pre'"):
        dataclasses.replace(tiny, adapter_dim=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Eight clips whose transcripts have the letters A to D and an X."""
    folder = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    lines = []
    for i in range(8):
        clip = 0.1 * random.standard_normal(16000 + 1600 * i)
        soundfile.write(folder / f"{i}.wav", clip, 16000)
        lines.append(f"{i}.wav\tAX{'ABCD'[i % 4]}\t{'train' if i < 6 else 'dev'}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    out = folder / "corpus"
    prepare.main(["--source", f"folder:{folder}", "--out", str(out), "--workers", "1"])
    return out


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """(recipe, init_from, changes) -> the parameters after a toy run of it, on one device."""
    use_one_device(monkeypatch)

    def start(recipe, source, **changes):
        workdir = tmp_path / recipe.split(":")[1]
        values = {
            "init_from": source, "data.train": f"{corpus}:train", "data.valid": f"{corpus}:dev",
            "data.reader": "threads", "mesh.data": 1, "model.d_model": CHANNELS, **changes,
        }  # fmt: skip
        train.main(
            ["--config", f"{ROOT}/experiments/{recipe},smoke", "--workdir", str(workdir)]
            + [f"--config.{name}={value}" for name, value in values.items()]
        )
        return workdir, checkpoint.load(workdir)

    return start


def saved(folder, *, parts, vocabulary=None, **changes):
    """A Hugging Face directory of the recipes' toy size, with random parameters."""
    model = model_config("small", **{**TINY_MODEL, "d_model": CHANNELS, **changes})
    loaded = random_checkpoint(model, parts=parts, vocabulary=vocabulary, normalise=True)
    params = jax.tree.map(lambda x: 0.2 * x, loaded.params)
    hugging_face.save(loaded._replace(params=params), folder)
    return params


@pytest.mark.slow
def test_pretraining_continues_from_a_hugging_face_directory_with_its_quantizer(
    run, tmp_path, capsys
):
    source = saved(tmp_path / "hf", parts=PRETRAINING)
    # The first update of a polynomial schedule has rate 0: what it leaves is what it started from.
    once = {"train.steps": 1, "schedule.warmup": 1}
    workdir, after = run("continue_pretraining.py:large", tmp_path / "hf", **once)
    assert "initialised: nothing" in capsys.readouterr().err
    assert_same(after.params, source)
    _, tuned = run("adapt.py:language", workdir)
    assert "initialised: head/bias, head/kernel" in capsys.readouterr().err
    assert set(tuned.description.vocabulary.symbols[len(SPECIALS) :]) == set("abcdx")


@pytest.mark.slow
def test_a_tuned_hugging_face_directory_gets_further_symbols(run, tmp_path, capsys):
    source = saved(tmp_path / "hf", parts=("encoder", "head"), vocabulary=OLD)
    changes = {"schedule.peak": 1e-12, "vocabulary.name": "extend", "vocabulary.case": None}
    _, after = run("adapt.py:extend", tmp_path / "hf", **changes)
    assert after.description.vocabulary.symbols == (*OLD.symbols, "X", "D")
    printed = capsys.readouterr().err
    assert "head: 8 symbols keep their weights; initialised: X D; dropped: none" in printed
    for name, old in source["head"].items():
        np.testing.assert_allclose(after.params["head"][name][..., :8], old, atol=1e-6)


@pytest.mark.slow
def test_only_adapters_and_head_learn_in_the_adapter_recipe(run, tmp_path):
    source = saved(tmp_path / "hf", parts=("encoder", "head"), vocabulary=OLD, adapter_dim=16)
    _, after = run("adapt.py:adapter", tmp_path / "hf", **{"train.steps": 6})
    before, after = trees.flatten(source), trees.flatten(after.params)
    changed = {
        name for name in before if name in after and not np.array_equal(before[name], after[name])
    }
    adapters = {name for name in before if "/adapter/" in name}
    assert changed == adapters | {"head/kernel", "head/bias"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("quantize_targets=False", "quantize_targets=False, but .* was pretrained with True"),
        ("masked_group_norm=False", "warning: config.model.masked_group_norm=False, but "),
    ],
)
def test_a_rehearsal_says_what_the_start_has_otherwise(corpus, tmp_path, capsys, change, said):
    """The last setting, which is found later, ends it before anything is compiled."""
    model = model_config("small", **TINY_MODEL, norm_order="post", extractor_norm="group")
    native.write_initial(tmp_path, random_checkpoint(model, parts=PRETRAINING, normalise=True))
    command = [
        "--config", f"{ROOT}/experiments/quickstart.py:pretrain,smoke", "--dry-run",
        f"--config.init_from={tmp_path}", f"--config.data.train={corpus}:train",
        f"--config.data.valid={corpus}:dev", "--config.data.reader=threads",
        f"--config.model.{change}", "--config.model.extractor_norm=group",
        "--config.train.accumulate=7",
    ]  # fmt: skip
    assert run_command(train.main, command) == 2
    assert re.search(said, capsys.readouterr().err)
