"""Compiled for NVIDIA GPUs by JAX's plugin, on a machine without one."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.helpers.places import EXPERIMENTS
from w2v2_jax.aot.topology import PLUGINS

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(
        not any(importlib.util.find_spec(name) for name in PLUGINS),
        reason="JAX's plugin for NVIDIA GPUs is not installed",
    ),
]


@pytest.mark.parametrize(
    ("topology", "devices", "gib"),
    [("a100-40gb:1", 1, 30), ("h100:1", 1, 60), ("h200:2", 2, 105.75)],
)
def test_a_step_is_compiled_with_the_kernels_of_the_gpu(topology, devices, gib, tmp_path):
    out = tmp_path / "report.json"
    command = [
        sys.executable,
        "-m",
        "w2v2_jax.aot",
        "--config",
        f"{EXPERIMENTS}/pretrain_base.py:smoke",
    ]
    command += ["--topology", topology, "--json", str(out), "--config.execution.dtype=bfloat16"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    environment.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)
    done = subprocess.run(
        command, cwd=EXPERIMENTS.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert (found["devices"], found["capacity"]) == (devices, int(gib * 2**30))
    assert found["fits"] and found["time"]["kernels"] >= 2  # attention, forward and backward
    assert found["time"]["source"] == "roofline" and found["flops"]["compiled"] > 0
    reduced = found["gradient_bytes_reduced"]
    assert reduced >= 4 * found["parameters"] if devices > 1 else reduced == 0
