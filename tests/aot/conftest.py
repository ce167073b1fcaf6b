"""The command, run on a recipe for a topology."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.places import EXPERIMENTS


@pytest.fixture
def compiled(tmp_path):
    """(exit status, report, stderr) of the command on a recipe, in a process of its own: the
    suite's XLA flags are for the CPU and switch optimizations off."""

    def run(recipe, topology, *options):
        out = tmp_path / "report.json"
        command = [sys.executable, "-m", "w2v2_jax.aot", "--config", f"{EXPERIMENTS}/{recipe}"]
        command += ["--topology", topology, "--json", str(out), *options]
        environment = {**os.environ, "XLA_FLAGS": ""}
        environment.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)
        done = subprocess.run(
            command, cwd=EXPERIMENTS.parent, env=environment, capture_output=True, text=True
        )
        assert out.exists(), done.stderr
        return done.returncode, json.loads(out.read_text()), done.stderr

    return run
