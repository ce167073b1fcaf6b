"""The benchmark command: what it writes, and arithmetic it rests on."""

import json

import pytest

from w2v2_jax import bench, flops
from w2v2_jax.errors import run_command
from w2v2_jax.models.config import model_config


def test_base_needs_the_published_share_of_flops_a_frame():
    config = model_config("base")
    a_frame = flops.train_flops(config, 250_000) / 781
    assert a_frame == pytest.approx(0.90e9, rel=0.1)  # 0.90 GFLOP a frame and training step


def test_data_benchmark_writes_its_rate(tmp_path):
    out = tmp_path / "data.json"
    status = run_command(
        bench.main,
        ["--what", "data", "--json", str(out), "--rows", "8", "--seconds", "2", "--repeats", "1"],
    )
    result = json.loads(out.read_text())
    assert status == 0 and result["audio_hours_per_second_per_worker"] > 0


def test_bad_shape_is_one_line(tmp_path, capsys):
    status = run_command(
        bench.main, ["--what", "infer", "--json", str(tmp_path / "x"), "--rows", "0"]
    )
    assert status == 2 and "--rows" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "infer"])
def test_model_benchmarks_write_speed_mfu_memory_and_compile_time(tmp_path, what, monkeypatch):
    import jax

    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *a: devices)
    monkeypatch.setattr(jax, "device_count", lambda *a: 1)
    out = tmp_path / "out.json"
    arguments = ["--what", what, "--json", str(out), "--family", "small", "--rows", "1"]
    bench.main([*arguments, "--seconds", "1", "--repeats", "2"])
    result = json.loads(out.read_text())
    assert result["frames_per_second"] > 0 and 0 < result["mfu"] < 1
    assert result["peak_memory_bytes"] > 0 and result["compile_seconds"] > 0
