"""Compiled for NVIDIA GPUs by JAX's plugin, on a machine without one."""

import importlib.util

import pytest

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
def test_a_step_is_compiled_with_the_kernels_of_the_gpu(topology, devices, gib, compiled):
    bfloat16 = "--config.execution.dtype=bfloat16"
    status, found, error = compiled("pretrain_base.py:smoke", topology, bfloat16)
    assert status == 0, error
    assert (found["devices"], found["capacity"]) == (devices, int(gib * 2**30))
    assert found["fits"] and found["time"]["kernels"] >= 2  # attention, forward and backward
    assert found["time"]["source"] == "roofline" and found["flops"]["compiled"] > 0
    reduced = found["gradient_bytes_reduced"]
    assert reduced >= 4 * found["parameters"] if devices > 1 else reduced == 0
