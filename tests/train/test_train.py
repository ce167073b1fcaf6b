"""The train command end to end: it learns, resumes bitwise and refuses mistakes."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import soundfile

import w2v2_jax
from tests.helpers.train_runs import FINETUNE, PRETRAIN, options, records, use_one_device
from w2v2_jax import evaluate, transcribe
from w2v2_jax.data.plan import Plan
from w2v2_jax.errors import run_command
from w2v2_jax.prepare import command as prepare
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
    lines = map(json.loads, (pretrained / "metrics.jsonl").read_text().splitlines())
    rows = [line for line in lines if line["split"] == "train"]
    assert [line["epoch"] for line in rows] == [0, 0, 1, 1, 2, 2]  # two updates each
    assert all(0 < line["audio_seconds_per_second"] < 10_000 for line in rows)
    row = records(pretrained, "train")[-1]
    for name in ("contrastive_accuracy", "code_perplexity", "gradient_norm", "learning_rate"):
        assert np.isfinite(row[name])


@pytest.fixture(scope="module")
def interrupted(programs, corpus, tmp_path_factory):
    """The same run by three commands: Ctrl-C at update 2, a death at 5, then to its end. Its
    workdir, what was said, and the bytes on the device at each logged update."""
    workdir, live = tmp_path_factory.mktemp("runs") / "interrupted", {}
    arguments = ["--config", PRETRAIN, *options(corpus, workdir, "--config.train.steps=6")]
    write, output = loop.MetricWriter.write, io.StringIO()

    def interrupt(self, step, split, metrics):
        write(self, step, split, metrics)
        if split == "train":
            live[step] = sum(array.nbytes for array in jax.live_arrays())
        if (step, split) == (1, "train") and 2 not in live:
            os.kill(os.getpid(), signal.SIGINT)
        if (step, split) == (5, "train") and 6 not in live and not dead:
            dead.append(step)
            raise RuntimeError("dies")

    dead = []
    # A shell's background job ignores Ctrl-C, and so does what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        use_one_device(patch)
        patch.setattr(loop.MetricWriter, "write", interrupt)
        train.main(arguments)
        with pytest.raises(RuntimeError, match="dies"):
            train.main(arguments)
        assert not (workdir / "checkpoints" / "6").exists()
        train.main(arguments)
    signal.signal(signal.SIGINT, before)
    return workdir, output.getvalue(), live


def test_a_run_that_dies_between_steps_resumes_with_bitwise_equal_losses(interrupted, pretrained):
    workdir, _, _ = interrupted
    assert records(workdir, "train") == records(pretrained, "train")
    assert records(workdir, "valid") == records(pretrained, "valid")


def test_ctrl_c_saves_stops_and_says_how_to_go_on(interrupted):
    _, output, _ = interrupted
    assert output.startswith("stopped by Ctrl-C at step 3; wrote ")
    assert output.splitlines()[0].endswith("; the same command resumes from there")


def test_a_resumed_run_holds_one_state_as_a_fresh_one_does(interrupted):
    _, _, live = interrupted
    assert live[2] == live[4] == live[6] > 0  # of the three commands, each in its middle


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
        "--config.data.batch_seconds=2.6",  # two rows: a bucket that fills no batch joins another
        "--config.data.row_multiple=2",
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
    workdir, start = tmp_path / "tuned", tmp_path / "start"
    start.symlink_to(pretrained)
    more = (f"--config.init_from={start}", "--config.data.bucket_seconds=(2.5,)")
    more += ("--config.model.family=inherit", "--config.vocabulary.name=from_transcripts",
             "--config.vocabulary.case=upper")  # fmt: skip
    command = ["--config", FINETUNE, *options(corpus, workdir, *more)]
    train.main(command)
    assert "initialised: head/bias, head/kernel" in capsys.readouterr().err
    assert {"cer", "wer", "blank_rate"} <= set(records(workdir, "valid")[-1])
    start.unlink()  # a run that goes on has its network and symbols in its own checkpoint
    train.main(command)
    assert f"resuming {workdir} at step 4" in capsys.readouterr().err
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
    assert logits.shape == (1, 64, 16)


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
        (["--config.init_from=nowhere"], "nowhere does not exist"),
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


@pytest.fixture
def shorter(corpus, tmp_path):
    """A corpus prepared anew with one clip less in train."""
    speech = tmp_path / "speech"
    shutil.copytree(corpus.parent, speech, ignore=shutil.ignore_patterns("corpus"))
    lines = (speech / "transcripts.tsv").read_text().splitlines()
    (speech / "transcripts.tsv").write_text("\n".join(lines[1:]) + "\n")
    (speech / "0.wav").unlink()
    out = ["--out", str(tmp_path / "shorter"), "--workers", "1"]
    prepare.main(["--source", f"folder:{speech}", *out])
    return tmp_path / "shorter"


def test_a_run_goes_on_over_its_corpus_wherever_it_lies_and_over_no_other(
    corpus, pretrained, shorter, tmp_path, capsys
):
    moved, workdir = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(corpus, moved)
    shutil.copytree(pretrained, workdir)
    steps = "--config.train.steps=6"
    assert run_command(train.main, ["--config", PRETRAIN, *options(moved, workdir, steps)]) == 0
    shutil.rmtree(moved)
    shutil.copytree(shorter, moved)  # the same place
    capsys.readouterr()
    assert run_command(train.main, ["--config", PRETRAIN, *options(moved, workdir, steps)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was started with another data.train.fingerprint: " in error and " there, " in error


def test_a_resume_with_another_input_scale_is_refused(corpus, pretrained, capsys):
    arguments = options(corpus, pretrained, "--config.data.normalise=False")
    assert run_command(train.main, ["--config", PRETRAIN, *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was started with another config.data.normalise: True there, False now" in error


def test_lines_are_means_since_the_last_and_say_the_rate_that_was_applied(
    corpus, pretrained, tmp_path, monkeypatch
):
    """Update 5 is left out: it has no loss, and the schedule does not count it."""
    fillers, asked = Plan.fillers, []
    monkeypatch.setattr(Plan, "fillers", lambda plan, k: asked.append(k) or fillers(plan, k))
    workdir = tmp_path / "run"
    workdir.mkdir()
    left_out = {"step": 5, "rule": "loss-spike", "left_out": True, "message": "", "rows": []}
    (workdir / "bad_batches.jsonl").write_text(json.dumps(left_out) + "\n")
    more = ("--config.train.steps=6", "--config.train.log_every=3", "--config.train.keep_every=3",
            "--config.data.valid_bucket_seconds=(1.85,)")  # fmt: skip
    train.main(["--config", PRETRAIN, *options(corpus, workdir, *more)])
    assert asked == [0, 1, 2, 3, 4, 5]  # each batch is held against its own plan
    single, (first, last) = records(pretrained, "train"), records(workdir, "train")
    assert (first["step"], last["step"]) == (3, 6)
    weights = [row["weight"] for row in single[:3]]
    for name in ("loss", "contrastive_loss", "contrastive_accuracy"):
        mean = np.average([row[name] for row in single[:3]], weights=weights)
        assert first[name] == pytest.approx(mean, rel=1e-5), name
    assert first["learning_rate"] == single[2]["learning_rate"]
    assert last["learning_rate"] == single[4]["learning_rate"] != single[5]["learning_rate"]
    assert last["skipped"] == pytest.approx(1 / 3)
    assert last["weight"] == pytest.approx((single[3]["weight"] + single[5]["weight"]) / 3)
    saved = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert saved >= {"3", "6"}  # keep_every
    assert [row["clips_left_out"] for row in records(workdir, "valid")] == [1, 1, 1]


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
