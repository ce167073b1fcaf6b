"""Several processes that go back: all to one checkpoint, and no notice to stop is lost."""

import signal
import time
from pathlib import Path

import pytest

from tests.helpers.host_processes import (
    LIMIT,
    STEPS,
    assert_close,
    finish,
    losses,
    records,
    start,
    train,
)

pytestmark = pytest.mark.slow
ROLLBACK = (
    "--config.health.rollback=loss-spike", "--config.health.skip_batches=2",
    "--config.train.checkpoint_every=2", "--config.train.eval_every=0",
)  # fmt: skip
ALARM = ("--alarm-at", "5")


@pytest.fixture(scope="module")
def alone(tones, tmp_path_factory):
    """A run of one process that goes back from update 5 to 2."""
    workdir = tmp_path_factory.mktemp("runs") / "alone"
    train(tones, workdir, more=ROLLBACK, faults=ALARM)
    return workdir


@pytest.mark.parametrize("count", [2, 4])
def test_processes_go_back_together_and_go_on_as_one_would(tones, alone, tmp_path, count):
    workdir = tmp_path / "run"
    found = train(tones, workdir, count=count, more=ROLLBACK, faults=ALARM)
    assert (
        "returned to step 2; batches up to 5 are left out" in Path(f"{workdir}.0.err").read_text()
    )
    assert_close(found, losses(alone))
    for run in (alone, workdir):
        skipped = [r["skipped"] for r in records(run) if r["split"] == "train"]
        assert skipped == [0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("told", [0, 1])
def test_sigterm_after_a_rollback_while_a_save_is_slow_stops_all(tones, tmp_path, told):
    workdir = tmp_path / "run"
    more = (*ROLLBACK, "--config.train.checkpoint_every=1")
    faults = (*ALARM, "--slow-saves", "2")
    processes = start(tones, workdir, count=2, steps=100000, more=more, faults=faults)
    end = time.monotonic() + LIMIT
    while not (went_back(workdir) and records(workdir)[-1]["step"] > 5):
        assert all(p.poll() is None for p in processes) and time.monotonic() < end
        time.sleep(0.05)
    processes[told].send_signal(signal.SIGTERM)
    assert finish(processes, 120) == [0, 0], Path(f"{workdir}.0.err").read_text()[-2000:]
    assert "stopped by SIGTERM at step" in Path(f"{workdir}.0.out").read_text()


def went_back(workdir):
    return any(r.get("action") == "rollback" for r in records(workdir))


def test_a_checkpoint_that_one_host_alone_cannot_read_is_left_by_all(tones, tmp_path):
    workdir = tmp_path / "run"
    more = ("--config.train.checkpoint_every=2", "--config.train.eval_every=0")
    train(tones, workdir, count=2, steps=4, more=more)
    before = losses(workdir)
    after = train(tones, workdir, count=2, more=more, faults=("--unreadable", "1:4"))
    said = Path(f"{workdir}.0.err").read_text()
    assert "checkpoints/4 is damaged (another host could not read it); moved to" in said
    assert f"resuming {workdir} at step 2" in said
    # The validation of update 4 was the end of the first run, and is nothing to the second.
    assert_close(after, before, [("train", step) for step in range(1, 5)])
    assert set(after) == {("train", step) for step in range(1, STEPS + 1)} | {("valid", STEPS)}
    assert (workdir / "damaged_checkpoints" / "4").is_dir()
