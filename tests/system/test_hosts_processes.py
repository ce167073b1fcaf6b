"""Real processes on loopback: equal losses, deaths that all notice, preemption, other sizes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.places import ROOT
from w2v2_jax.prepare import command as prepare
from w2v2_jax.system import join

pytestmark = pytest.mark.slow
STEPS = 6
STARTED: list[subprocess.Popen] = []
LIMIT = 900  # seconds a run may take on a busy machine


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Forty tones in noise, prepared into train and dev."""
    folder = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    lines = []
    for i in range(40):
        time_axis = np.arange(16000 + 800 * i) / 16000
        tone = 0.2 * np.sin(2 * np.pi * (200 + 20 * i) * time_axis)
        noise = 0.05 * random.standard_normal(len(time_axis))
        soundfile.write(folder / f"{i:02}.wav", tone + noise, 16000)
        lines.append(f"{i:02}.wav\tTONE {'ABCDEFGHIJ'[i % 10]}\t{'train' if i < 32 else 'dev'}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    out = folder / "corpus"
    prepare.main(["--source", f"folder:{folder}", "--out", str(out), "--workers", "1"])
    return out


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Kills what a failed test left running."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


def start(corpus, workdir, *, count=1, devices=1, steps=STEPS, recipe="pretrain", more=(), each=()):
    """The processes of one run, each with `devices` fake devices, output in files; each: one
    further option a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workdir.parent.mkdir(exist_ok=True)
    processes = []
    for i in range(count):
        job = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count),
               "--process-id", str(i)] * (count > 1)  # fmt: skip
        with open(f"{workdir}.{i}.out", "w") as out, open(f"{workdir}.{i}.err", "w") as err:
            processes.append(
                subprocess.Popen(
                    [
                        sys.executable, "-m", "w2v2_jax.train",
                        "--config", f"{ROOT}/experiments/quickstart.py:{recipe},smoke",
                        "--workdir", str(workdir),
                        f"--config.data.train={corpus}:train",
                        f"--config.data.valid={corpus}:dev",
                        "--config.data.reader=threads", "--config.data.workers=1",
                        "--config.data.row_multiple=8", "--config.data.batch_seconds=16.0",
                        f"--config.train.steps={steps}", *job, *more, *each[i : i + 1],
                    ],
                    cwd=ROOT, stdout=out, stderr=err,
                    env={
                        **os.environ,
                        "JAX_PLATFORMS": "cpu",
                        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false "
                        f"--xla_force_host_platform_device_count={devices}",
                    },
                )
            )  # fmt: skip
    STARTED.extend(processes)
    return processes


def finish(processes, limit=LIMIT):
    """Exit statuses; what is still running at the limit is killed and counts as such."""
    end = time.monotonic() + limit
    for process in processes:
        try:
            process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return [process.returncode for process in processes]


def train(corpus, workdir, **options):
    statuses = finish(start(corpus, workdir, **options))
    assert set(statuses) == {0}, Path(f"{workdir}.0.err").read_text()[-3000:]
    return losses(workdir)


def records(workdir):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def losses(workdir):
    """(split, step) -> loss."""
    return {(r["split"], r["step"]): r["loss"] for r in records(workdir)}


def wait_for_step(workdir, step, processes):
    end = time.monotonic() + LIMIT
    while not any(r["step"] >= step for r in records(workdir)):
        assert all(p.poll() is None for p in processes) and time.monotonic() < end
        time.sleep(0.05)


def assert_close(found, expected, keys=None):
    keys = keys or expected.keys()
    assert found.keys() >= set(keys) and keys
    for key in keys:
        assert found[key] == pytest.approx(expected[key], rel=1e-5), key


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory):
    """Losses of one process with one device."""
    return train(corpus, tmp_path_factory.mktemp("runs") / "alone", more=("--config.mesh.data=1",))


@pytest.mark.parametrize(
    ("count", "devices", "mesh"),
    [(2, 1, ""), (4, 1, ""), (2, 2, "fsdp=2"), (2, 1, "tensor=2"), (4, 1, "fsdp=2,tensor=2")],
)
def test_several_processes_have_the_losses_of_one(corpus, alone, tmp_path, count, devices, mesh):
    """tensor=2 on two processes: both feed the same rows."""
    more = [f"--config.mesh.{axis}" for axis in mesh.split(",") if axis]
    workdir = tmp_path / "run"
    found = train(corpus, workdir, count=count, devices=devices, more=more)
    assert_close(found, alone)
    rows = [r for r in records(workdir) if r["split"] == "train"]
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["compilations"] == 2  # one bucket and one evaluation shape
    output = Path(f"{workdir}.0.out").read_text()
    assert f"{count} processes" in output
    assert "done" not in Path(f"{workdir}.1.out").read_text()
    assert len(list((workdir / "tensorboard").iterdir())) == 1


def test_fine_tuning_on_two_processes_scores_all_utterances_once(corpus, tmp_path):
    buckets = ("--config.data.bucket_seconds=(2.0,3.0)",)  # the last of dev's clips has 2.95 s
    options = {"recipe": "finetune", "steps": 2, "more": buckets}
    one = tmp_path / "one"
    train(corpus, one, **options)
    two = tmp_path / "two"
    train(corpus, two, count=2, **options)
    for found, expected in zip(records(two), records(one), strict=True):
        assert found.keys() == expected.keys()
        for name in expected.keys() & {"loss", "cer", "wer", "weight"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    last = records(two)[-1]
    assert last["split"] == "valid" and {"loss", "cer", "wer"} <= last.keys()


@pytest.mark.parametrize(("count", "victim"), [(2, 1), (2, 0), (4, 2)])
def test_a_killed_process_ends_all_within_60_s_with_one_clear_line_and_the_restart_resumes(
    corpus, tmp_path, count, victim
):
    workdir = tmp_path / "run"
    more = ("--config.train.checkpoint_every=2", "--config.train.eval_every=0")
    processes = start(corpus, workdir, count=count, steps=100000, more=more)
    wait_for_step(workdir, 4, processes)
    processes[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    statuses = finish(processes, 60)
    took = time.monotonic() - killed
    assert took < 60
    assert statuses[victim] == -signal.SIGKILL
    for i, status in enumerate(statuses):
        if i != victim:  # our own end, or the runtime's abort where the coordinator is gone
            assert status in (join.LOST, -signal.SIGABRT), (i, status)
        time.sleep(0.2)  # the witness of a killed process speaks after it
        shown = Path(f"{workdir}.{i}.err").read_text()
        lines = [line for line in shown.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and "the same command on all hosts resumes" in lines[0], shown
        print(f"process {i} of {count}, {took:.1f} s after the kill: status {status}, {lines[0]}")
    saved = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    before = losses(workdir)
    last = max(step for _, step in before)
    assert saved >= 2 and last >= 4
    again = start(corpus, workdir, count=count, steps=100000, more=more)
    wait_for_step(workdir, last + 1, again)
    assert f"resuming {workdir} at step {saved}" in Path(f"{workdir}.0.err").read_text()
    assert_close(losses(workdir), before)


@pytest.mark.parametrize(("count", "told"), [(2, 1), (4, 0)])
def test_sigterm_to_one_saves_on_all_at_one_step_and_all_exit_0(corpus, tmp_path, count, told):
    workdir = tmp_path / "run"
    more = ("--config.train.eval_every=0", "--config.train.checkpoint_every=0")
    processes = start(corpus, workdir, count=count, steps=100000, more=more)
    wait_for_step(workdir, 2, processes)
    processes[told].send_signal(signal.SIGTERM)
    assert finish(processes) == [0] * count
    output = Path(f"{workdir}.0.out").read_text()
    assert "stopped by SIGTERM at step" in output
    step = int(output.split("at step ")[1].split(";")[0])
    saved = [p.name for p in (workdir / "checkpoints").iterdir()]
    assert saved == [str(step)]
    again = start(corpus, workdir, count=1, steps=100000, more=(*more, "--stopped-status", "75"))
    wait_for_step(workdir, step + 1, again)  # one process goes on from what several saved
    again[0].send_signal(signal.SIGTERM)
    assert finish(again) == [75]
    assert f"resuming {workdir} at step {step}" in Path(f"{workdir}.0.err").read_text()


def test_hosts_with_different_configurations_end_with_status_2_and_write_nothing(corpus, tmp_path):
    workdir = tmp_path / "run"
    each = ("--config.seed=1", "--config.seed=2")
    assert finish(start(corpus, workdir, count=2, each=each)) == [2, 2]
    for i in range(2):
        error = Path(f"{workdir}.{i}.err").read_text()
        assert "error: process 1 has another configuration than process 0" in error
    assert not workdir.exists()


def test_what_the_chief_alone_finds_wrong_ends_all_hosts_with_status_2(corpus, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"seed": 99, "data": {}}')
    assert finish(start(corpus, workdir, count=2)) == [2, 2]
    for i in range(2):
        shown = Path(f"{workdir}.{i}.err").read_text()
        assert "was started with another config.seed: 99 there" in shown


def test_a_run_goes_on_with_other_meshes_and_hosts_as_if_it_had_never_changed(corpus, tmp_path):
    """8 -> 4 -> 2x2 devices -> 2 processes -> 1 device."""
    rows = ("--config.data.row_multiple=16", "--config.data.batch_seconds=32.0",
            "--config.schedule.total=10", "--config.train.eval_every=2")  # fmt: skip
    whole = train(corpus, tmp_path / "whole", steps=10, more=rows)
    workdir = tmp_path / "elastic"
    square = {"devices": 4, "mesh": ("fsdp", "tensor")}
    stages = ({"devices": 8}, {"devices": 4}, square, {"count": 2}, {})
    for steps, stage in zip((2, 4, 6, 8, 10), stages, strict=True):
        mesh = [f"--config.mesh.{axis}=2" for axis in stage.pop("mesh", ())]
        train(corpus, workdir, steps=steps, more=(*rows, *mesh), **stage)
        if steps == 2:  # eight devices saved it, one loads it
            code = (
                "import sys, w2v2_jax as w; print(w.load(sys.argv[1]).units([[0.5] * 16000]).shape)"
            )
            shown = subprocess.run(
                [sys.executable, "-c", code, str(workdir)],
                cwd=ROOT,
                env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
                capture_output=True,
                text=True,
            )
            assert shown.stdout.strip() == "(1, 49, 2)", shown.stderr[-2000:]
    assert_close(losses(workdir), whole)
