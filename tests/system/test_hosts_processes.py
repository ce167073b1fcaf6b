"""Real processes on loopback: equal losses, deaths that all notice, preemption, other sizes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.host_processes import (
    assert_close,
    finish,
    losses,
    records,
    start,
    train,
    wait_for_step,
)
from tests.helpers.places import ROOT
from w2v2_jax.system import join

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tones, tmp_path_factory):
    """Losses of one process with one device."""
    return train(tones, tmp_path_factory.mktemp("runs") / "alone", more=("--config.mesh.data=1",))


@pytest.mark.parametrize(
    ("count", "devices", "mesh"),
    [(2, 1, ""), (4, 1, ""), (2, 2, "fsdp=2"), (2, 1, "tensor=2"), (4, 1, "fsdp=2,tensor=2")],
)
def test_several_processes_have_the_losses_of_one(tones, alone, tmp_path, count, devices, mesh):
    """tensor=2 on two processes: both feed the same rows."""
    more = [f"--config.mesh.{axis}" for axis in mesh.split(",") if axis]
    workdir = tmp_path / "run"
    found = train(tones, workdir, count=count, devices=devices, more=more)
    assert_close(found, alone)
    rows = [r for r in records(workdir) if r["split"] == "train"]
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["compilations"] == 2  # one bucket and one evaluation shape
    output = Path(f"{workdir}.0.out").read_text()
    assert f"{count} processes" in output
    assert "done" not in Path(f"{workdir}.1.out").read_text()
    assert len(list((workdir / "tensorboard").iterdir())) == 1


def test_an_averaged_run_resumes_on_two_processes_with_the_losses_of_one(tones, tmp_path):
    """With a frozen layer of a stack, whose average is taken out of and put into sharded arrays."""
    more = ["--config.optimizer.ema_decay=0.3", "--config.schedule.total=6",
            "--config.optimizer.rate_by_path=[['layers[0:1]/', 0.0]]"]  # fmt: skip
    one = train(tones, tmp_path / "one", more=[*more, "--config.mesh.data=1"])
    for steps in (4, 6):
        options = {"count": 2, "devices": 2, "steps": steps}
        found = train(tones, tmp_path / "two", more=[*more, "--config.mesh.fsdp=2"], **options)
    assert_close(found, one)


def test_fine_tuning_on_two_processes_scores_all_utterances_once(tones, tmp_path):
    buckets = ("--config.data.bucket_seconds=(2.0,3.0)",)  # the last of dev's clips has 2.95 s
    options = {"recipe": "finetune", "steps": 2, "more": buckets}
    one = tmp_path / "one"
    train(tones, one, **options)
    two = tmp_path / "two"
    train(tones, two, count=2, **options)
    for found, expected in zip(records(two), records(one), strict=True):
        assert found.keys() == expected.keys()
        for name in expected.keys() & {"loss", "cer", "wer", "weight"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    last = records(two)[-1]
    assert last["split"] == "valid" and {"loss", "cer", "wer"} <= last.keys()


@pytest.mark.parametrize(("count", "victim"), [(2, 1), (2, 0), (4, 2)])
def test_a_killed_process_ends_all_within_60_s_with_one_clear_line_and_the_restart_resumes(
    tones, tmp_path, count, victim
):
    workdir = tmp_path / "run"
    more = ("--config.train.checkpoint_every=2", "--config.train.eval_every=0")
    processes = start(tones, workdir, count=count, steps=100000, more=more)
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
    again = start(tones, workdir, count=count, steps=100000, more=more)
    wait_for_step(workdir, last + 1, again)
    assert f"resuming {workdir} at step {saved}" in Path(f"{workdir}.0.err").read_text()
    assert_close(losses(workdir), before)


@pytest.mark.parametrize(("count", "told"), [(2, 1), (4, 0)])
def test_sigterm_to_one_saves_on_all_at_one_step_and_all_exit_0(tones, tmp_path, count, told):
    workdir = tmp_path / "run"
    more = ("--config.train.eval_every=0", "--config.train.checkpoint_every=0")
    processes = start(tones, workdir, count=count, steps=100000, more=more)
    wait_for_step(workdir, 2, processes)
    processes[told].send_signal(signal.SIGTERM)
    assert finish(processes) == [0] * count
    output = Path(f"{workdir}.0.out").read_text()
    assert "stopped by SIGTERM at step" in output
    step = int(output.split("at step ")[1].split(";")[0])
    saved = [p.name for p in (workdir / "checkpoints").iterdir()]
    assert saved == [str(step)]
    again = start(tones, workdir, count=1, steps=100000, more=(*more, "--stopped-status", "75"))
    wait_for_step(workdir, step + 1, again)  # one process goes on from what several saved
    again[0].send_signal(signal.SIGTERM)
    assert finish(again) == [75]
    assert f"resuming {workdir} at step {step}" in Path(f"{workdir}.0.err").read_text()


def test_hosts_with_different_configurations_end_with_status_2_and_write_nothing(tones, tmp_path):
    workdir = tmp_path / "run"
    each = ("--config.seed=1", "--config.seed=2")
    assert finish(start(tones, workdir, count=2, each=each)) == [2, 2]
    for i in range(2):
        error = Path(f"{workdir}.{i}.err").read_text()
        assert "error: process 1 has another configuration than process 0" in error
    assert not workdir.exists()


def test_what_the_chief_alone_finds_wrong_ends_all_hosts_with_status_2(tones, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"seed": 99, ')
    assert finish(start(tones, workdir, count=2)) == [2, 2]
    for i in range(2):
        shown = Path(f"{workdir}.{i}.err").read_text()
        assert "config.json: cannot be read as JSON" in shown


def test_a_run_goes_on_with_other_meshes_and_hosts_as_if_it_had_never_changed(tones, tmp_path):
    """8 -> 4 -> 2x2 devices -> 2 processes -> 1 device."""
    rows = ("--config.data.row_multiple=16", "--config.data.batch_seconds=32.0",
            "--config.schedule.total=10", "--config.train.eval_every=2")  # fmt: skip
    whole = train(tones, tmp_path / "whole", steps=10, more=rows)
    workdir = tmp_path / "elastic"
    square = {"devices": 4, "mesh": ("fsdp", "tensor")}
    stages = ({"devices": 8}, {"devices": 4}, square, {"count": 2}, {})
    for steps, stage in zip((2, 4, 6, 8, 10), stages, strict=True):
        mesh = [f"--config.mesh.{axis}=2" for axis in stage.pop("mesh", ())]
        train(tones, workdir, steps=steps, more=(*rows, *mesh), **stage)
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
