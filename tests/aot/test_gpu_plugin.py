"""Compiled for NVIDIA GPUs by JAX's plugin, on a machine without one."""

import pytest

from w2v2_jax.aot.topology import PLUGINS, installed

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(
        not any(map(installed, PLUGINS)),
        reason="JAX's plugin for NVIDIA GPUs is not installed",
    ),
]


@pytest.mark.parametrize(
    ("topology", "devices", "gib"),
    [("l4:1", 1, 16.473), ("a100-40gb:1", 1, 29.545), ("h200:2", 2, 104.85)],
)
def test_a_step_is_compiled_with_the_kernels_of_the_gpu(topology, devices, gib, compiled):
    bfloat16 = "--config.execution.dtype=bfloat16"
    status, found, error = compiled("pretrain_base.py:smoke", topology, bfloat16)
    assert status == 0, error
    assert (found["devices"], round(found["capacity"] / 2**30, 3)) == (devices, gib)
    assert found["fits"] and found["time"]["kernels"] >= 2  # attention, forward and backward
    assert found["time"]["source"] == "roofline" and found["flops"]["compiled"] > 0
    reduced = found["gradient_bytes_reduced"]
    assert reduced >= 4 * found["parameters"] if devices > 1 else reduced == 0


def test_a_gpu_without_bfloat16_has_none_of_the_kernels_and_float16_pays(compiled):
    found = {}
    for dtype in ("bfloat16", "float16"):
        option = f"--config.execution.dtype={dtype}"
        status, found[dtype], error = compiled("pretrain_base.py:smoke", "t4:1", option)
        assert status == 0 and found[dtype]["time"]["kernels"] == 0, error
    assert found["float16"]["time"]["step"] < found["bfloat16"]["time"]["step"]
    assert found["float16"]["hbm"]["total"] < found["bfloat16"]["hbm"]["total"]


def test_the_kernels_state_their_flops_to_the_compiler(compiled, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    found = {}
    for formulation in ("gpu_kernel", "plain"):
        options = ["--config.execution.dtype=bfloat16"]
        options += [f"--config.execution.attention_formulation={formulation}"]
        status, found[formulation], error = compiled("pretrain_base.py:smoke", "a100:1", *options)
        assert status == 0, error
    kernels, plain = (found[name]["flops"]["compiled"] for name in ("gpu_kernel", "plain"))
    kept = (tmp_path / "cache").glob("jit_train_step*")
    assert not list(kept)  # no program for an absent GPU could be read back
    # Backward the kernels multiply seven times where plain attention keeps the weights: four.
    assert plain < kernels < 1.5 * plain
