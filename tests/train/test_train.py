"""The train command end to end: it learns, resumes bitwise and refuses mistakes."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import soundfile

import w2v2_jax
from tests.helpers.train_runs import FINETUNE, PRETRAIN, options, records
from w2v2_jax import evaluate, transcribe
from w2v2_jax.errors import run_command
from w2v2_jax.train import command as train
from w2v2_jax.train import loop
from w2v2_jax.train.workdir import lock

pytestmark = pytest.mark.usefixtures("programs", "one_device")


def test_a_run_writes_configuration_metrics_tensorboard_and_checkpoints(pretrained):
    config = json.loads((pretrained / "config.json").read_text())
    assert config["train"]["steps"] == 6
    assert [r["step"] for r in records(pretrained, "train")] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in records(pretrained, "valid")] == [2, 4, 6]
    assert list((pretrained / "tensorboard").glob("events*"))
    assert (pretrained / "checkpoints" / "6" / "params").is_dir()
    row = records(pretrained, "train")[-1]
    for name in ("contrastive_accuracy", "code_perplexity", "gradient_norm", "learning_rate"):
        assert np.isfinite(row[name])


def test_a_run_that_dies_between_steps_resumes_with_bitwise_equal_losses(
    corpus, pretrained, tmp_path, monkeypatch
):
    workdir = tmp_path / "interrupted"
    arguments = ["--config", PRETRAIN, *options(corpus, workdir, "--config.train.steps=6")]
    write = loop.MetricWriter.write

    def die(self, step, split, metrics):
        write(self, step, split, metrics)
        if step == 5 and split == "train":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.MetricWriter, "write", die)
        with pytest.raises(KeyboardInterrupt):
            train.main(arguments)
    assert not (workdir / "checkpoints" / "6").exists()
    train.main(arguments)
    assert records(workdir, "train") == records(pretrained, "train")
    assert records(workdir, "valid") == records(pretrained, "valid")


def test_a_run_compiles_once_a_bucket_and_once_an_evaluation_shape(pretrained):
    lines = (pretrained / "metrics.jsonl").read_text().splitlines()
    counts = [row["compilations"] for row in map(json.loads, lines) if "compilations" in row]
    assert counts == [1, 1, 2, 2, 2, 2]  # one bucket; from the first validation on, its shape


@pytest.mark.slow
def test_the_compiler_sees_each_bucket_and_each_evaluation_shape_once(corpus, tmp_path, caplog):
    """Two training buckets and one of validation, by the compiler's own log."""

    more = (
        "--config.data.mode=crop",  # joined clips would fill the largest bucket alone
        "--config.data.bucket_seconds=(1.0,1.3)",
        "--config.train.steps=8",
    )
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        train.main(["--config", PRETRAIN, *options(corpus, tmp_path / "run", *more)])
    shown = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Compiling ")]
    assert sum("train_step" in line for line in shown) == 2
    assert sum("eval_step" in line for line in shown) == 1


def test_running_a_finished_run_again_changes_nothing(corpus, pretrained):
    before = (pretrained / "metrics.jsonl").read_text()
    train.main(["--config", PRETRAIN, *options(corpus, pretrained, "--config.train.steps=6")])
    assert (pretrained / "metrics.jsonl").read_text() == before


def test_fine_tuning_from_it_then_evaluating_and_transcribing(corpus, pretrained, tmp_path, capsys):
    workdir = tmp_path / "tuned"
    more = (f"--config.init_from={pretrained}", "--config.data.bucket_seconds=(2.5,)")
    train.main(["--config", FINETUNE, *options(corpus, workdir, *more)])
    assert "fresh: head/bias, head/kernel" in capsys.readouterr().err
    assert {"cer", "wer", "blank_rate"} <= set(records(workdir, "valid")[-1])
    evaluate.main(
        [
            "--checkpoint",
            str(workdir),
            "--data",
            f"{corpus}:test",
            "--json",
            str(tmp_path / "test.json"),
        ]
    )
    result = json.loads((tmp_path / "test.json").read_text())
    assert result["num_utterances"] == 2 and result["num_words"] == 4
    clip = corpus.parent / "3.wav"
    capsys.readouterr()
    transcribe.main(["--checkpoint", str(workdir), str(clip)])
    path, _, text = capsys.readouterr().out.rstrip("\n").partition("\t")
    model = w2v2_jax.load(workdir)
    assert path == str(clip) and text == model.transcribe(str(clip))[0].text
    logits = model.logits(soundfile.read(clip)[0])
    assert logits.shape == (1, 64, 32)


def test_features_and_units_of_a_pretraining_checkpoint(pretrained):
    model = w2v2_jax.load(pretrained)
    waveforms = np.random.default_rng(0).standard_normal((2, 16000)).astype("f")
    assert model.features(waveforms).shape == (2, 49, 32)
    assert model.units(waveforms).shape == (2, 49, 2)
    padded = np.pad(waveforms, ((0, 0), (0, 4000)))
    np.testing.assert_allclose(
        model.features(padded, np.full(2, 16000))[:, :49], model.features(waveforms), atol=2e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.model.width=3"], "config.model.width is not a setting"),
        (["--config.data.train=nowhere"], "nowhere"),
        (["--config.mesh.fsdp=3"], "config.mesh.data=1 x mesh.fsdp=3"),
        (["--config.init_from=nowhere"], "nowhere holds no checkpoint"),
        (["--config.model.family=huge"], "config.model.family='huge'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(corpus, tmp_path, capsys, arguments, message):
    status = run_command(
        train.main, ["--config", PRETRAIN, *options(corpus, tmp_path / "run", *arguments)]
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2 and error.startswith("error: ") and message in error


def test_another_network_in_the_same_workdir_is_refused(corpus, pretrained, capsys):
    arguments = options(corpus, pretrained, "--config.model.num_layers=3")
    assert run_command(train.main, ["--config", PRETRAIN, *arguments]) == 2
    assert "was started with another config.model" in capsys.readouterr().err


def test_a_second_run_in_a_workdir_in_use_is_refused(corpus, tmp_path, capsys):
    with lock(tmp_path):
        status = run_command(train.main, ["--config", PRETRAIN, *options(corpus, tmp_path)])
    assert status == 2 and "is in use by another run" in capsys.readouterr().err


def test_a_pretraining_checkpoint_cannot_transcribe(corpus, pretrained, capsys):
    clip = str(corpus.parent / "3.wav")
    assert run_command(transcribe.main, ["--checkpoint", str(pretrained), clip]) == 2
    assert "is a pretraining checkpoint; fine-tune it first" in capsys.readouterr().err


@pytest.mark.slow
def test_sigkill_at_random_moments_then_the_same_command_gives_the_same_losses(
    corpus, pretrained, tmp_path
):
    workdir = tmp_path / "killed"
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "w2v2_jax.train", "--config", PRETRAIN]
    command += options(corpus, workdir, "--config.train.steps=40")
    whole = tmp_path / "whole"
    uninterrupted = [c if c != str(workdir) else str(whole) for c in command]
    subprocess.run(uninterrupted, env=environment, check=True, capture_output=True)
    random = np.random.default_rng(1)
    for _ in range(4):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seen = len(records(workdir, "train")) if (workdir / "metrics.jsonl").exists() else 0
        target = seen + int(random.integers(1, 8))
        while process.poll() is None:
            if (workdir / "metrics.jsonl").exists() and len(records(workdir, "train")) >= target:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert records(workdir, "train") == records(whole, "train")


@pytest.mark.slow
def test_sigterm_saves_and_ends_with_status_0(corpus, tmp_path):
    workdir = tmp_path / "preempted"
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "w2v2_jax.train", "--config", PRETRAIN]
    command += options(corpus, workdir, "--config.train.steps=100000")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    while not (workdir / "metrics.jsonl").exists() or len(records(workdir, "train")) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "stopped by SIGTERM at step" in output
    step = int(output.split("at step ")[1].split(";")[0])
    assert (workdir / "checkpoints" / str(step)).is_dir()
