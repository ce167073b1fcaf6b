"""Real processes of one toy run on loopback: how they are started, awaited and read."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import xla_flags
from tests.helpers.places import ROOT

STEPS = 6
STARTED: list[subprocess.Popen] = []
LIMIT = 900  # seconds a run may take on a busy machine


def start(
    corpus,
    workdir,
    *,
    count=1,
    devices=1,
    steps=STEPS,
    recipe="pretrain",
    more=(),
    each=(),
    faults=(),
):
    """The processes of one run, each with `devices` fake devices, output in files; each: one
    further option a process; faults: those of tests.helpers.faulty_train."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workdir.parent.mkdir(exist_ok=True)
    processes = []
    program = "tests.helpers.faulty_train" if faults else "w2v2_jax.train"
    for i in range(count):
        job = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count),
               "--process-id", str(i)] * (count > 1)  # fmt: skip
        with open(f"{workdir}.{i}.out", "w") as out, open(f"{workdir}.{i}.err", "w") as err:
            processes.append(
                subprocess.Popen(
                    [
                        sys.executable, "-m", program, *faults,
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
                        "XLA_FLAGS": xla_flags.devices(devices),
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
    """(split, step) -> loss; an update that was not taken has none."""
    return {(r["split"], r["step"]): r["loss"] for r in records(workdir) if "loss" in r}


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
