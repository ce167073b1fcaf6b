"""Disks that fill up or refuse, clocks that jump: one line says so, and the run goes on later."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from tests.helpers.fault_cases import UNRAISABLE, run
from tests.helpers.train_runs import records
from w2v2_jax.errors import run_command
from w2v2_jax.prepare import command as prepare
from w2v2_jax.train import metric_writer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(UNRAISABLE),
    pytest.mark.usefixtures("programs", "one_device"),
]


@pytest.fixture
def die_at(monkeypatch):
    """(update) -> the run is interrupted right after its record; (None) -> no longer."""
    write, at = metric_writer.MetricWriter.write, []

    def die(self, step, split, metrics):
        write(self, step, split, metrics)
        if step in at:
            raise KeyboardInterrupt

    def put(step):
        at[:] = [step]

    monkeypatch.setattr(metric_writer.MetricWriter, "write", die)
    return put


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MiB of its own; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_once_there_is_room(
    corpus, pretrained, small_disk, capsys, die_at
):  # fmt: skip
    workdir = small_disk / "run"
    die_at(3)
    assert run(corpus, workdir) == 130
    die_at(None)
    used = sum(p.stat().st_size for p in workdir.rglob("*") if p.is_file())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(6 * 2**20 - used - 300_000))
    assert run(corpus, workdir) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: --workdir {workdir}: No space left on device")
    assert (workdir / "checkpoints" / "2" / "params").is_dir()
    filler.unlink()
    assert run(corpus, workdir) == 0
    assert records(workdir, "train") == records(pretrained, "train")


SAVES = """
import sys, jax.numpy as jnp, numpy as np
from pathlib import Path
from w2v2_jax.checkpoint import files
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import run_command
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.train.workdir import disk_errors
from w2v2_jax.train_step import TrainState

def main(argv):
    draw = np.random.default_rng(0).normal
    params = {str(i): jnp.asarray(draw(size=100_000).astype(np.float32)) for i in range(20)}
    description = Description("contrastive", ModelConfig(), None, False)
    place = Path(sys.argv[1])
    with disk_errors(place), files.manager(place, keep_last=2, keep_best=0) as checkpoints:
        state = TrainState(jnp.asarray(1), {"encoder": params}, {"m": params})
        files.save(checkpoints, state, description)
        checkpoints.wait_until_finished()

sys.exit(run_command(main))
"""


def test_a_save_on_a_full_disk_prints_its_line_alone(small_disk):
    """Threads of TensorStore printed tracebacks of a closed event loop before it."""
    command = [sys.executable, "-c", SAVES, str(small_disk)]
    environment = {**os.environ, "XLA_FLAGS": ""}
    for _ in range(3):  # how many threads come too late is chance
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert run.returncode == 2
        (line,) = run.stderr.splitlines()
        assert line.startswith(f"error: --workdir {small_disk}: No space left on device")


def test_prepare_on_a_full_disk_ends_in_one_line_and_leaves_no_half_corpus(
    corpus, small_disk, capsys
):  # fmt: skip
    (small_disk / "filler").write_bytes(bytes(6 * 2**20 - 100_000))
    out = small_disk / "corpus"
    source = ["--source", f"folder:{corpus.parent}", "--workers", "1"]
    assert run_command(prepare.main, [*source, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "No space left on device" in error
    assert not [p for p in out.iterdir() if p.is_dir()]


def test_a_read_only_workdir_is_one_line_before_training(corpus, small_disk, capsys):
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    assert run(corpus, small_disk / "run") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == f"error: --workdir {small_disk / 'run'}: Read-only file system"


def test_a_clock_that_goes_back_changes_no_number_and_overwrites_no_file(
    corpus, pretrained, tmp_path, monkeypatch, die_at
):  # fmt: skip
    workdir, frozen, back = tmp_path / "run", time.time(), itertools.count(0, 3600)
    with monkeypatch.context() as patch:
        for now, step in ((lambda: frozen - next(back), 3), (lambda: frozen, 5)):
            patch.setattr(time, "time", now)  # an hour at every look, then not at all
            die_at(step)
            assert run(corpus, workdir) == 130
        die_at(None)
        assert run(corpus, workdir) == 0
    assert len(list((workdir / "tensorboard").iterdir())) == 3
    assert records(workdir, "train") == records(pretrained, "train")


def test_a_clock_that_jumps_a_year_ahead_in_a_save_costs_that_save_alone(
    corpus, pretrained, tmp_path, capsys, monkeypatch
):  # fmt: skip
    """Orbax gives its parts a time by the wall clock; they miss it, and the run says so."""
    workdir, jumps, frozen = tmp_path / "run", itertools.cycle([0, -1e8, 3e7]), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: frozen + next(jumps))
        status = run(corpus, workdir)
    if status:  # it depends on who looks at the clock first
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert status == 2 and "writing took too long, or the clock jumped" in error
    assert run(corpus, workdir) == 0
    assert records(workdir, "train") == records(pretrained, "train")
