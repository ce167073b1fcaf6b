"""The cells of launch/evidence.sh: what is pretrained and tuned, and whose texts are used."""

import shutil

import pytest

from tests.helpers.launchers import EVALUATED, PREPARED, WRITES_MODELS, launch, prepared


def test_the_evidence_pretrains_once_and_does_no_finished_cell_again(project):
    prepared(project)
    cells = "scratch@10m@1 pretrain@10m@1 pretrain@1h@2 no_gumbel@10m@1"
    run = dict(stubs={"python": EVALUATED}, environment={"CELLS": cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    workdirs = [call.split("--workdir ")[1].split()[0] for call in calls if "--workdir" in call]
    assert workdirs == [
        *("out/scratch/10m-1", "out/pretrain/pretrain", "out/pretrain/10m-1", "out/pretrain/1h-2"),
        *("out/no_gumbel/pretrain", "out/no_gumbel/10m-1"),
    ]
    hour = next(call for call in calls if "pretrain/1h-2 " in call and "w2v2_jax.train" in call)
    for part in (
        *("evidence.py:finetune_1h ", "corpus:train_10min+train_1h ", "--config.seed=2 "),
        "--config.init_from=out/pretrain/pretrain ",
    ):
        assert part in hour
    assert "evidence.py:pretrain,no_gumbel " in " ".join(calls).replace("\\", "")
    *_, again = launch(project, "evidence.sh", "--out", "out", **run)
    reports = ["w2v2_jax.report", "w2v2_jax.report.cells", "w2v2_jax.report.cells"]
    assert [call.split()[2] for call in again] == reports
    texts = next(call for call in calls if "w2v2_jax.lm" in call and "pretrain/1h-2" in call)
    assert "--text data/evidence/corpus:train_10min data/evidence/corpus:train_1h --v" in texts
    with_model = [call for call in calls if "--lm out/pretrain/1h-2/lm.arpa" in call]
    assert len(with_model) == 1 and "--json out/cells_lm/pretrain@1h@2.json" in with_model[0]


def test_the_evidence_takes_further_labels_where_there_are_any(project):
    prepared(project, "train_rest")
    run = dict(stubs={"python": EVALUATED})
    cells = {"CELLS": "pretrain@all@1 pretrain@1h@1", "SIZE": ",filterbank", "STEPS_all": "700"}
    status, _, error, calls = launch(
        project, "evidence.sh", "--out", "out", environment={**cells, **PREPARED}, **run
    )
    assert status == 0, error
    pretrained, whole, hour = (call for call in calls if "w2v2_jax.train" in call)
    every = "corpus:train_10min+train_1h+train_rest "
    assert "evidence.py:pretrain,filterbank " in pretrained.replace("\\", "")
    assert every.replace("corpus:", "corpus:unlabeled+") in pretrained
    assert "evidence.py:finetune_all,filterbank,700 " in whole.replace("\\", "") and every in whole
    assert "corpus:train_10min+train_1h " in hour and "--config.model.norm_order=post" in hour
    shutil.rmtree(project / "data/evidence/corpus/train_rest")
    odd = "pretrain@all@1 pretrain@10m pretrain scratch@10m@x pretrain@1h@1@2 scratch@10m@ *@10m@1"
    for cell in odd.split():
        environment = {"CELLS": cell, **PREPARED}
        status, _, error, calls = launch(project, "evidence.sh", environment=environment, **run)
        assert status == 2 and f"cell '{cell}' is no START@LABELS@SEED " in error and not calls
    environment = {"CELLS": "scratch@10m@1 pretrained@10m@1", **PREPARED}
    status, _, error, calls = launch(project, "evidence.sh", environment=environment, **run)
    assert status == 2 and "'pretrained@10m@1' is no" in error and "quantized_input" in error
    assert not calls
    environment = {"CELLS": "pretrain@10m@1", "SIZE": ",filterbank,smoke", **PREPARED}
    *_, calls = launch(project, "evidence.sh", "--out", "s", environment=environment, **run)
    assert "--config.model.norm_order=post" in calls[1]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_evidence_gives_scratch_the_texts_that_it_wrote_itself(project, jobs):
    prepared(project)
    cells = {"CELLS": "pseudo@1h@2 scratch@1h@2" if jobs == "3" else "scratch@1h@2 pseudo@1h@2"}
    cells |= {"MIN_CONFIDENCE": "0.7", "JOBS": jobs}
    run = dict(stubs={"python": WRITES_MODELS}, environment={**cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    (wrote,) = (call for call in calls if "w2v2_jax pseudo" in call)
    for part in (
        "--checkpoint out/scratch/1h-2 --data data/evidence/corpus:unlabeled "
        "--out out/pseudo/heard-1h-2 ",
        "--min-confidence 0.7 ",
        "--lm out/scratch/1h-2/lm.arpa ",
    ):
        assert part in wrote
    first, second = (call for call in calls if "w2v2_jax.train" in call)
    assert "corpus:train_10min+train_1h --config.data.valid" in first
    labels = "corpus:train_10min+train_1h,out/pseudo/heard-1h-2:unlabeled "
    assert labels in second.replace("\\", "")
    assert not any("init_from" in call for call in calls)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_evidence_gives_an_encoder_the_texts_that_its_own_cell_wrote(project, jobs):
    prepared(project)
    cells = "quantized_input@10m@1 pseudo_quantized_input@10m@1 scratch@10m@1 pseudo_scratch@10m@1"
    run = dict(stubs={"python": WRITES_MODELS}, environment={"CELLS": cells, "JOBS": jobs})
    run["environment"] |= PREPARED
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    trained = [call.replace("\\", "") for call in calls if "w2v2_jax.train" in call]
    assert sum("evidence.py:pretrain" in call for call in trained) == 1
    wrote = " ".join(call for call in calls if "w2v2_jax pseudo" in call)
    for start in ("quantized_input", "scratch"):
        assert f"--checkpoint out/{start}/10m-1 " in wrote
        (student,) = (call for call in trained if f"out/pseudo_{start}/10m-1 " in call)
        assert f",out/pseudo_{start}/heard-10m-1:unlabeled " in student
        for word in ("init_from=out/quantized_input/pretrain", "model.quantize_input=True"):
            assert (word in student) == (start != "scratch")


@pytest.mark.parametrize(
    ("start", "teacher"), [("pseudo", "scratch"), ("pseudo_pretrain", "pretrain")]
)
def test_the_evidence_says_whose_texts_are_missing(project, start, teacher):
    prepared(project)
    (project / "out" / teacher).mkdir(parents=True)
    (project / "out" / teacher / "pretrained").touch()
    run = dict(stubs={}, environment={"CELLS": f"{start}@10m@3", **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 1 and f"{start}@10m@3 needs the finished cell {teacher}@10m@3" in error
    assert not any("w2v2_jax" in call for call in calls)


@pytest.mark.parametrize(
    ("jobs", "cells", "missing"),
    [
        ("1", "pseudo_pretrain@10m@3", "pretrain@10m@3"),
        ("3", "short@10m@3 pseudo_pretrain@10m@3", "pretrain@10m@3"),
        ("1", "pretrain@10m@1 pseudo@10m@1", "scratch@10m@1"),
        ("1", "pseudo_pretrain@10m@1 pretrain@10m@1", "pretrain@10m@1"),
    ],
)
def test_the_evidence_says_at_once_whose_texts_are_missing(project, jobs, cells, missing):
    """It was said after a pretraining of minutes."""
    prepared(project)
    run = dict(stubs={"python": WRITES_MODELS}, environment={"CELLS": cells, "JOBS": jobs})
    run["environment"] |= PREPARED
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (1, [], 1), error
    assert f"needs the finished cell {missing}" in error
    assert not (project / "out").exists()


@pytest.mark.parametrize("start", ["pseudo_", "pseudo_pseudo", "pseudo_other"])
def test_texts_of_no_start_of_the_evidence_are_refused(project, start):
    prepared(project)
    run = dict(stubs={}, environment={"CELLS": f"{start}@10m@1", **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", **run)
    assert status == 2 and f"'{start}@10m@1' is no START@LABELS@SEED of the starts" in error
    assert not any("w2v2_jax" in call for call in calls)


def test_the_evidence_does_not_take_texts_of_another_confidence(project):
    prepared(project)
    body = WRITES_MODELS + (
        '\ncase "$*" in *w2v2_jax\\ pseudo*) mkdir -p out/pseudo/heard-10m-1/unlabeled'
        " && touch out/pseudo/heard-10m-1/unlabeled/report.json ;; *out/pseudo/10m*) exit 1 ;; esac"
    )
    cells = {"CELLS": "scratch@10m@1 pseudo@10m@1", **PREPARED}
    run = dict(stubs={"python": body})
    for more, wrote in (({}, 1), ({}, 0), ({"MIN_CONFIDENCE": "0.5"}, 0)):
        *_, calls = launch(project, "evidence.sh", "--out", "out", environment=cells | more, **run)
        assert sum("w2v2_jax pseudo" in call for call in calls) == wrote
        assert "out/pseudo/10m-1" in calls[-1]
    cells["MIN_CONFIDENCE"] = "0.9"
    status, _, error, calls = launch(
        project, "evidence.sh", "--out", "out", environment=cells, **run
    )
    assert (status, calls) == (1, [])
    assert "heard-10m-1 was written with MIN_CONFIDENCE=0.5, not 0.9; use another --out" in error


def test_the_evidence_hands_options_to_trainings(project):
    prepared(project)
    options = {"OPTIONS": "--config.a=1 --config.b=(2,)", "TUNE_OPTIONS": "--config.c=3"}
    cells = {"CELLS": "random_targets@10m@1", **options, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=cells)
    *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    pretraining, tuning = (call.replace("\\", "") for call in calls if "w2v2_jax.train" in call)
    assert "evidence.py:pretrain,random_targets " in pretraining
    assert "--config.a=1 --config.b=(2,)" in pretraining and "--config.c" not in pretraining
    assert "--config.a=1 --config.b=(2,) " in tuning and "--config.c=3" in tuning


def test_options_of_the_evidence_may_be_on_several_lines(project):
    prepared(project)
    options = {"OPTIONS": "--config.a=1\n  --config.b=2\n", "TUNE_OPTIONS": "\n--config.c=3"}
    run = dict(environment={"CELLS": "scratch@10m@1", **options, **PREPARED})
    *_, calls = launch(project, "evidence.sh", "--out", "out", stubs={"python": EVALUATED}, **run)
    (tuning,) = (call for call in calls if "w2v2_jax.train" in call)
    assert all(f"--config.{option} " in tuning for option in ("a=1", "b=2", "c=3"))


@pytest.mark.parametrize("value", ["high", "1.5", "-0.1", "nan", "50%", "0,5", "0.5 0.6", "."])
def test_a_confidence_for_the_evidence_that_is_none_is_one_line_and_status_2(project, value):
    """It was refused by the first cell that needs it, hours later."""
    settings = {"CELLS": "scratch@10m@1 pseudo@10m@1", "MIN_CONFIDENCE": value, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (2, [], 1)
    assert error.startswith(f"error: MIN_CONFIDENCE='{value}' is not a number from 0 to 1")


@pytest.mark.parametrize("value", ["0", "1", "0.5", ".75", "1.0", "0.", ""])
def test_a_confidence_from_0_to_1_is_taken(project, value):
    settings = {"CELLS": "x", "MIN_CONFIDENCE": value, **PREPARED}
    _, _, error, _ = launch(project, "evidence.sh", stubs={"python": ""}, environment=settings)
    assert "cell 'x' is no" in error


def test_the_evidence_fine_tunes_a_quantized_input_with_its_quantizer_and_no_other(project):
    prepared(project)
    cells = {"CELLS": "quantized_input@10m@1 continuous_targets@10m@1 scratch@10m@1"}
    run = dict(stubs={"python": EVALUATED}, environment={**cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    tuned = [call for call in calls if "evidence.py:finetune_10m" in call]
    option = "--config.model.quantize_input=True"
    assert [(option in call) for call in tuned] == [True, False, False]
    assert "--config.init_from=out/quantized_input/pretrain" in tuned[0]
    assert not any(option in call for call in calls if call not in tuned)


def test_the_evidence_goes_on_where_a_signal_stopped_a_pretraining(project):
    prepared(project)
    stopped = 'case "$*" in *evidence.py:pretrain*) [ -f go ] || exit 3 ;; esac\n' + EVALUATED
    run = dict(stubs={"python": stopped}, environment={"CELLS": "pretrain@10m@1", **PREPARED})
    status, *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, len(calls)) == (3, 1)
    (project / "go").touch()
    status, *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (
        status == 0 and "evidence.py:pretrain" in calls[0] and len(calls) == 7
    )  # tuned, a language model, evaluated without and with it, both reported
