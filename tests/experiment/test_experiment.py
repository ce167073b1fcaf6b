"""Configurations: every recipe builds, and every mistake is one line that names its path."""

import dataclasses
import json
import re
import runpy
from unittest import mock

import jax
import numpy as np
import pytest

from tests.helpers.places import ROOT
from tests.helpers.recipes import RECIPES, smoke
from w2v2_jax.__main__ import main
from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.families import FAMILIES, model_config


def build(config: dict) -> experiment.Experiment:
    settings = read_settings(config)
    inherited = model_config("base") if config["model"]["family"] == "inherit" else None
    return experiment.build(
        settings,
        vocabulary=settings.usual_vocabulary(),
        inherited=inherited,
        devices=jax.devices()[: config.get("mesh", {}).get("fsdp", 1)],
    )


@pytest.mark.parametrize("spec", RECIPES)
def test_every_recipe_reads_and_builds_at_full_size_and_at_toy_size(spec):
    config = load_config(f"{ROOT}/experiments/{spec}")
    inherits = config["model"]["family"] == "inherit"
    full, toy = build(config), build(smoke(spec))
    assert toy.model.d_model == 32 and full.model.d_model > 32
    assert toy.model.extractor_norm == full.model.extractor_norm or inherits
    assert type(toy.objective) is type(full.objective)


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        *((f"evidence.py:{spec}", 20) for spec in ("pretrain,smoke,20", "pretrain,20,gpu,smoke")),
        *((f"evidence.py:finetune_10m,{more},smoke", 3) for more in ("3", "3,filterbank")),
        *(("from_scratch.py:hours,30,smoke", 30), ("from_scratch.py:hours,smoke,1", 1)),
        *(("evidence.py:pretrain,smoke", 4), ("from_scratch.py:hours,smoke", 4)),
        ("from_scratch.py:smoke", 4),
    ],
)
def test_a_number_of_updates_counts_at_toy_size_too(spec, steps):
    config = load_config(f"{ROOT}/experiments/{spec}")
    built = build(config)
    assert config["train"]["steps"] == steps and built.model.d_model == 32
    assert 1 <= config["train"]["eval_every"] <= steps
    assert np.isfinite(built.schedule(steps - 1))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("evidence:pretrain,smoke,0", "0 is no number of updates, which is a whole one from 1 on"),
        ("evidence:pretrain,1.5", "1.5 is no number of updates, which is a whole one from 1 on"),
        ("evidence:pretrain,foo", "'pretrain,foo': 'foo' is not known; use pretrain[,short|no_di"),
        ("evidence:finetune_5m", "'finetune_5m' is not known; use pretrain"),
        ("evidence:pretrain,5,6", "5 and 6 do not go together; use pretrain"),
        ("evidence:pretrain,gpu,filterbank", "gpu and filterbank do not go together"),
        ("evidence:pretrain,short,no_gumbel", "short and no_gumbel do not go together"),
        ("evidence:finetune_10m,short", "short is for pretrain alone"),
        ("from_scratch:hours,-5", "-5 is no number of updates; give a whole one from 1 on"),
        ("from_scratch:hours,foo", "'hours,foo' is not known; use hours"),
    ],
)
def test_an_argument_of_a_recipe_that_is_none_says_what_is_wrong_with_it(spec, said):
    with pytest.raises(InputError, match=re.escape(said)):
        load_config(spec)


def test_the_two_lv60k_recipes_differ_in_rate_updates_and_norm_order():  # docs/traps.md#t2
    paper = load_config(f"{ROOT}/experiments/pretrain_large.py:lv60k")
    later = load_config(f"{ROOT}/experiments/pretrain_large.py:lv60k_2021")
    assert (paper["schedule"]["peak"], later["schedule"]["peak"]) == (3e-4, 5e-3)
    assert (paper["train"]["steps"], later["train"]["steps"]) == (600_000, 1_000_000)
    assert paper["model"]["norm_order"] == "post"
    assert FAMILIES[later["model"]["family"]]["norm_order"] == "pre"


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ("no_diversity", {("objective", "diversity_weight"): (0.4, 0.0)}),
        ("no_gumbel", {("objective", "gumbel_noise"): (None, False)}),
        ("negatives_10", {("objective", "num_negatives"): (None, 10)}),
        (
            "span_10",
            {("model", "mask_length"): (5, 10), ("model", "mask_start_prob"): (0.1, 0.065)},
        ),
        (
            "quantized_input",
            {
                ("model", "quantize_input"): (None, True),
                # the same values for the parameters that both networks have
                ("optimizer", "rate_by_path"): (
                    (("quantizer|target_projection", 0.05),),
                    (("^quantizer|target_projection", 0.05),),
                ),
            },
        ),
        ("continuous_targets", {("model", "quantize_targets"): (None, False)}),
    ],
)
@pytest.mark.parametrize("size", ["", ",gpu", ",filterbank"])
def test_an_ablation_differs_from_the_short_pretraining_in_one_thing(change, differs, size):
    short, changed = (
        load_config(f"{ROOT}/experiments/evidence.py:pretrain,{c}{size}") for c in ("short", change)
    )
    flat = [
        {(s, k): v for s in c for k, v in c[s].items()} for c in map(_sections, (short, changed))
    ]
    keys = flat[0].keys() | flat[1].keys()
    found = {k: (flat[0].get(k), flat[1].get(k)) for k in keys if flat[0].get(k) != flat[1].get(k)}
    if (change, size) == ("continuous_targets", ",filterbank"):
        masks = {("model", "mask_length"): (5, 7), ("model", "mask_start_prob"): (0.1, 0.07)}
        differs = differs | masks
    if (change, size) == ("no_diversity", ",filterbank"):
        differs = {("objective", "diversity_weight"): (0.5, 0.0)}
    assert found == differs


def _sections(config: dict) -> dict:
    return {name: value for name, value in config.items() if isinstance(value, dict)}


@pytest.mark.parametrize("name", ["pretrain", "pretrain,short", "finetune_1h"])
def test_the_evidence_takes_another_number_of_updates_with_its_schedule(name):
    get_config = runpy.run_path(f"{ROOT}/experiments/evidence.py")["get_config"]
    config = get_config(f"{name},gpu,2400")
    assert config.train.steps == 2400 and config.train.log_every < config.train.eval_every < 2400
    assert config.schedule.get("warmup", 200) == 200
    for wrong in ("0", "12,13", "twelve"):
        with pytest.raises(ValueError, match="a number of updates"):
            get_config(f"{name},{wrong}")


@pytest.mark.parametrize("name", ["pretrain", "pretrain,short", "finetune_10m", "finetune_all"])
@pytest.mark.parametrize("size", ["", ",gpu", ",filterbank"])
@pytest.mark.parametrize("steps", [1, 20])
def test_the_evidence_with_few_updates_still_has_whole_positive_intervals(name, size, steps):
    config = load_config(f"{ROOT}/experiments/evidence.py:{name}{size},{steps}")
    every = [config["train"][key] for key in ("log_every", "eval_every", "checkpoint_every")]
    assert min(*every, config["schedule"].get("warmup", 1)) >= 1
    assert config["schedule"].get("warmup", 1) <= steps


@pytest.mark.parametrize("labels", ["10m", "1h"])
def test_the_evidence_fine_tunes_on_a_gpu_with_clipped_gradients_in_bfloat16(labels):
    config = load_config(f"{ROOT}/experiments/evidence.py:finetune_{labels},gpu")
    assert config["optimizer"]["clip_norm"] == 50 and config["schedule"]["peak"] == 3e-4
    built = build(config)
    assert built.objective.execution == Execution(dtype="bfloat16", scan_layers=True)


@pytest.mark.parametrize("size", ["", ",gpu", ",filterbank"])
@pytest.mark.parametrize("name", ["random_targets", "ema_teacher"])
def test_another_objective_of_the_evidence_has_the_same_network_and_data(name, size):
    short, other = (
        load_config(f"{ROOT}/experiments/evidence.py:pretrain,{c}{size}") for c in ("short", name)
    )
    assert other["objective"]["name"] == name and build(other).objective.name == name
    masks = ("mask_length", "mask_start_prob")
    network = [{k: v for k, v in c["model"].items() if k not in masks} for c in (short, other)]
    assert network[0] == network[1] and short["data"] == other["data"]
    assert short["train"] | {"best_metric": "loss"} == other["train"]


def test_the_evidence_with_a_filterbank_fine_tunes_as_the_recipe_from_scratch_trains():
    scratch = load_config(f"{ROOT}/experiments/from_scratch.py:hours,700")
    tuned = load_config(f"{ROOT}/experiments/evidence.py:finetune_1h,filterbank,700")
    spoken = {"train": tuned["data"].pop("train"), "valid": tuned["data"].pop("valid")}
    assert spoken == {
        "train": "data/evidence/corpus:train_10min+train_1h", "valid": "data/evidence/corpus:dev"
    }  # fmt: skip
    del scratch["data"]["train"], scratch["data"]["valid"]
    assert tuned == scratch
    pretrained = load_config(f"{ROOT}/experiments/evidence.py:pretrain,filterbank")["model"]
    shape = ("conv_layers", "filterbank_init", "num_layers", "family")
    assert {n: pretrained[n] for n in shape} == {n: tuned["model"][n] for n in shape}


@pytest.mark.parametrize(("labels", "seconds"), [("10m", 8.0), ("1h", 32.0), ("all", 32.0)])
def test_the_evidence_tunes_the_usual_network_as_strongly_as_the_recipe_from_scratch_trains(
    labels, seconds
):
    scratch = load_config(f"{ROOT}/experiments/evidence.py:finetune_{labels},filterbank,700")
    tuned = load_config(f"{ROOT}/experiments/evidence.py:finetune_{labels},strong,700")
    usual = load_config(f"{ROOT}/experiments/evidence.py:pretrain")["model"]
    shape = {"conv_layers": usual["conv_layers"], "filterbank_init": False, "num_layers": 3}
    assert tuned.pop("model") == scratch.pop("model") | shape | {"mask_length": 6}
    assert tuned.pop("data") == scratch.pop("data") | {"batch_seconds": seconds}
    assert tuned == scratch
    assert model_config("small").num_layers == 3 and "num_layers" not in usual
    assert load_config(f"{ROOT}/experiments/evidence.py:pretrain,strong") == load_config(
        f"{ROOT}/experiments/evidence.py:pretrain"
    )


@pytest.mark.parametrize(
    "name", ["pretrain,gpu,filterbank", "finetune_1h,short", "my_finetune_1h", "finetune_2h"]
)
def test_the_evidence_refuses_what_it_does_not_know(name):
    with pytest.raises(ValueError, match="use pretrain"):
        load_config(f"{ROOT}/experiments/evidence.py:{name}")


def test_an_unknown_recipe_argument_lists_the_known_ones():
    with pytest.raises(ValueError, match="base_10h"):
        runpy.run_path(f"{ROOT}/experiments/finetune.py")["get_config"]("base_3h")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "model.dmodel",
            3,
            r"config.model.dmodel is not a setting; did you mean d_model\? Known",
        ),
        ("objective.gumbel", 1, r"config.objective.gumbel is not a setting"),
        ("optimizer.beta", 1, r"config.optimizer.beta is not a setting; known: b1"),
        ("data.bucket", 1, r"config.data.bucket is not a setting"),
        (
            "train.step",
            1,
            r"config.train.step is not a setting; did you mean steps\? Known: ",
        ),
        ("mesh.model", 1, r"config.mesh.model is not a setting; known: data, fsdp, tensor"),
        ("schedule.name", "cosine", r"config.schedule.name='cosine'; use one of polynomial"),
        ("objective.name", "bert", r"config.objective.name='bert' is not known; use one of"),
        ("model.family", "huge", r"config.model.family='huge' is not known; use one of"),
        ("model.norm_order", "mid", r"config.model.norm_order='mid' is not known; use one of"),
        ("model.dtype", "bfloat16", r"config.model.dtype .*; use config.execution.dtype$"),
        ("model.remat", "full", r"config.model.remat .*; use config.execution.remat$"),
        ("execution.dtype", "half", r"config.execution.dtype='half' is not known; use one of"),
        ("execution.scan_layers", 1, r"config.execution.scan_layers=1 must be True or False"),
        ("execution.unroll", 1, r"config.execution.unroll is not a setting; known: dtype"),
        ("model.dropout", 1.5, r"config.model.dropout=1.5 must be a number in \[0, 1\)"),
        ("model.num_heads", 5, r"config.model.num_heads=5 does not divide model.d_model=32"),
        ("model.output_dim", 8, r"config.model.output_dim=8 needs model.output_adapter_layers"),
        ("model.output_adapter_layers", 2, r"objective contrastive is of the frames before it"),
        ("data.mode", "cut", r"config.data.mode='cut' is unknown; use one of"),
        ("train.steps", 0, r"config.train.steps=0 must be at least 1"),
        ("mesh.data", 6, r"config.mesh.data=6 x mesh.fsdp=1 x mesh.tensor=1 is not the number"),
    ],
)
def test_a_mistake_in_a_section_names_its_path_and_what_would_work(path, value, message):
    config = smoke("pretrain_base.py")
    with pytest.raises(InputError, match=message):
        override(config, [f"--config.{path}={value!r}"])
        build(config)


UNKNOWN = [
    ("train.stepz", "config.train.stepz is not a setting; did you mean steps? Known: steps, "),
    ("optimizer.ratex", "config.optimizer.ratex is not a setting; known: b1, b2"),
    ("schedule.peek", "config.schedule.peek is not a setting; did you mean peak? Known: "),
    ("objective.num_negative", "config.objective.num_negative is not a setting; did you mean num"),
    ("mesh.fsdq", "config.mesh.fsdq is not a setting; did you mean fsdp? Known: data, fsdp, "),
    ("data.argument", "config.data.argument is not a setting; did you mean augment? Known: train"),
    ("data.augment.sped", "config.data.augment.sped is not a setting; did you mean speed? Known"),
    ("model.remat", "config.model.remat is not a setting of the network; use config.execution.re"),
    ("seet", "config.seet is not a section; did you mean seed? Known: seed"),
]


@pytest.mark.parametrize(("path", "message"), UNKNOWN)
def test_a_setting_that_does_not_exist_is_told_before_anything_else_is_read(path, message):
    with pytest.raises(InputError, match=re.escape(message)):
        override(smoke("pretrain_base.py"), [f"--config.{path}=5"])


@pytest.mark.parametrize(("path", "message"), UNKNOWN)
def test_a_setting_of_a_recipe_that_does_not_exist_is_told_without_building(path, message):
    config = smoke("pretrain_base.py")
    *sections, name = path.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = 5
    with pytest.raises(InputError, match=re.escape(message)):
        read_settings(config)


@pytest.mark.parametrize("command", ["train --dry-run", "aot --topology v5p:2x2x2", "bench"])
def test_every_command_with_a_recipe_refuses_a_setting_that_does_not_exist(
    command, capsys, tmp_path
):
    """Some needed their corpus or their compiler first, and `bench` took no settings at all."""
    name, *more = command.split()
    config = ["--config", "pretrain_base:smoke", "--config.optimizer.weightdecay=1"]
    json_out = ["--json", str(tmp_path / "out.json")] if name != "train" else []
    what = ["--what", "train"] if name == "bench" else []
    assert main([name, *more, *config, *json_out, *what]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.optimizer.weightdecay is not a setting; did you mean weight_decay?" in line


def test_an_unknown_section_is_an_error():
    with pytest.raises(
        InputError, match=r"config.optimiser is not a section; did you mean optimizer\? Known: seed"
    ):
        read_settings({**smoke("pretrain_base.py"), "optimiser": {}})


def test_a_mesh_that_does_not_divide_the_batch_says_what_would_work():
    settings = read_settings(smoke("pretrain_base.py"))
    built = experiment.build(settings, devices=jax.devices()[:8])
    with pytest.raises(InputError, match=r"does not divide the 4 rows .* a multiple of 8, or"):
        built.check_shapes([(4, 32000)], 1, "training")
    with pytest.raises(InputError, match=r"group=2 does not divide the 8 rows") as refused:
        built.check_shapes([(8, 16000)], 1, "training")
    options = "--config.data.row_multiple=8 --config.data.batch_seconds=16 divide"
    assert options in str(refused.value)
    built.check_shapes([(16, 16000), (8, 32000)], 1, "training")
    built.check_validation_shapes([(8, 16000)])
    with pytest.raises(InputError, match="does not divide the 4 rows of the 1 s validation bucket"):
        built.check_validation_shapes([(4, 16000)])


def test_the_group_in_rows_of_earlier_versions_is_answered_with_its_new_name():
    config = smoke("pretrain_base.py")
    with pytest.raises(InputError, match=r"diversity_group_rows is now diversity_group_seconds"):
        override(config, ["--config.objective.diversity_group_rows=6"])
    config["objective"]["diversity_group_rows"] = 6
    with pytest.raises(InputError, match=r"diversity_group_rows is now diversity_group_seconds"):
        read_settings(config)


def test_overrides_are_python_literals_and_must_name_a_section():
    config = smoke("pretrain_base.py")
    override(config, ["--config.train.steps=7", "--config.data.train=a:b"])
    assert config["train"]["steps"] == 7 and config["data"]["train"] == "a:b"
    with pytest.raises(InputError, match=r"config.nothing is not a section"):
        override(config, ["--config.nothing.a=1"])
    with pytest.raises(InputError, match="--steps=7 is not an option"):
        override(config, ["--steps=7"])


def test_the_resolved_configuration_is_json(tmp_path):
    config = smoke("quickstart.py:pretrain")
    assert json.loads(json.dumps(config, default=list))["train"]["steps"] == 4


@pytest.mark.parametrize("change", ["quantized_input", "continuous_targets"])
def test_a_network_of_table_4_trains_by_its_recipe_at_toy_size(change):
    built = build(smoke(f"evidence.py:pretrain,{change}"))
    noise = np.random.default_rng(0).normal(size=(2, 16000)).astype("f")
    batch = Batch(noise, np.full(2, 16000, "i4"), np.ones(2, "f"))
    step = built.step_function(built.objective.at(0), batch)
    state, metrics = step(built.init(), batch, built.seed)
    state, metrics = step(state, batch, built.seed)  # the first is at a rate of 0
    assert int(state.step) == 2 and np.isfinite(metrics["loss"].total)
    assert ("prob_perplexity" in metrics) == (change == "quantized_input")


@pytest.mark.slow
def test_number_of_compilations_is_the_number_of_shapes():
    built = build(smoke("pretrain_base.py"))

    def batch(samples):
        return Batch(np.zeros((2, samples), "f"), np.full(2, samples, "i4"), np.ones(2, "f"))

    for samples in (16000, 16000, 32000, 16000):
        built.step_function(built.objective.at(0), batch(samples))
    assert len(built.compiled) == 2


def test_what_is_compiled_is_told_before_and_after_it_once(monkeypatch):
    told = []
    config = smoke("pretrain_base.py")
    config["train"]["accumulate"] = 2
    built = dataclasses.replace(build(config), tell=told.append)
    compiled = mock.Mock()
    monkeypatch.setattr(jax, "jit", lambda *_, **__: compiled)
    batch = built.objective.abstract_batch(4, 16000)
    for _ in range(2):
        built.step_function(built.objective.at(0), batch)
        built.eval_function(batch)
    assert told[::2] == [
        "compiling the step of training of 4 rows x 1 s in 2 microbatches",
        "compiling the step of validation of 4 rows x 1 s",
    ]
    assert compiled.lower.call_count == 2
    assert len(told) == 4 and all(re.fullmatch(r"compiled in \d+\.\d s", x) for x in told[1::2])


def test_runs_of_other_seeds_share_the_compiled_programs(monkeypatch):
    """What is compiled does not hold the seed: a second run finds the first one's in the cache."""
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: self.as_text())
    batch = Batch(np.zeros((2, 16000), "f"), np.full(2, 16000, "i4"), np.ones(2, "f"))
    programs = []
    for seed in (1, 2**32 - 7):
        built = build({**smoke("pretrain_base.py"), "seed": seed})
        step = built.step_function(built.objective.at(0), batch)
        programs.append((step, built.eval_function(batch)))
    assert programs[0] == programs[1]


def test_a_negative_seed_is_refused_before_anything_is_drawn():
    with pytest.raises(InputError, match=r"config\.seed=-1 must be 0 to"):
        read_settings({**smoke("pretrain_base.py"), "seed": -1})


@pytest.mark.parametrize("vocabulary", ["librispeech", ["a", "b"], 32])
def test_a_vocabulary_that_is_none_is_refused(vocabulary):
    """The text "librispeech" would give a head of eleven classes."""
    settings = read_settings(smoke("quickstart.py:finetune"))
    with pytest.raises(InputError, match=r"vocabulary=.* must be a Vocabulary"):
        experiment.build(settings, vocabulary=vocabulary)


def test_what_is_no_configuration_says_what_makes_one():
    for config in (None, "quickstart:pretrain"):
        with pytest.raises(InputError, match=r"is no configuration; .*recipe\.load_config"):
            read_settings(config)
    with pytest.raises(InputError, match=r"dict is no settings; give read_settings\(config\)"):
        experiment.build(smoke("quickstart.py:pretrain"))
