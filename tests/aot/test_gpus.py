"""GPUs that are not there: their figures, and the plugin of JAX that compiles for them."""

import re
from types import SimpleNamespace

import jaxlib
import pytest

from w2v2_jax.aot import report, topology
from w2v2_jax.aot.chips import chip_of
from w2v2_jax.aot.gpus import GPUS
from w2v2_jax.aot.topology import Target
from w2v2_jax.errors import InputError


def test_without_the_plugin_of_gpus_one_line_names_the_package(monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="no GPU; pip install --no-deps jax-cuda13-plugin=="):
        topology.target("h100:8")
    with pytest.raises(InputError, match="--slices is for TPU topologies, not h100:8"):
        topology.target("h100:8", slices=2)


def installed(monkeypatch, **versions):
    """As if of JAX's plugin for NVIDIA GPUs only these packages and versions were there."""

    def version(package):
        if package not in versions:
            raise topology.importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    versions = {name.replace("_", "-"): value for name, value in versions.items()}
    modules = {
        "jax-cuda13-plugin": "jax_cuda13_plugin",
        "jax-cuda13-pjrt": "jax_plugins.xla_cuda13",
    }
    here = {modules[name] for name in versions}
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: name in here or None)
    monkeypatch.setattr(topology.importlib.metadata, "version", version)


def test_a_plugin_of_another_version_is_refused(monkeypatch):
    here = jaxlib.__version__
    installed(monkeypatch, jax_cuda13_plugin=here, jax_cuda13_pjrt=f"{here}+built.here")
    topology.check_plugin("l4:1")
    for versions in ({"jax_cuda13_plugin": "0.9.1"}, {"jax_cuda13_pjrt": "0.9.1"}):
        installed(monkeypatch, **{"jax_cuda13_plugin": here, "jax_cuda13_pjrt": here} | versions)
        with pytest.raises(InputError, match=rf"0\.9\.1, and jaxlib .* jax-cuda13-pjrt=={here}"):
            topology.target("l4:1")


def test_half_a_plugin_is_none(monkeypatch):
    installed(monkeypatch, jax_cuda13_plugin=jaxlib.__version__)
    with pytest.raises(InputError, match=r"needs JAX's plugin .* jax-cuda13-pjrt=="):
        topology.target("l4:1")


def test_every_gpu_that_is_not_here_is_known_with_its_figures():
    for name, gpu in GPUS.items():
        chip = chip_of(gpu.kind)
        assert chip is not None and chip.kind == gpu.kind, name
        assert 0 < chip.flops32 <= chip.flops / 2 and gpu.spec()


@pytest.mark.parametrize(
    "kind",
    ["NVIDIA L40S", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A100-SXM4-80GB MIG 3g.40gb"],
)
def test_another_card_with_a_longer_name_is_not_taken_for_a_known_one(kind):
    assert chip_of(kind) is None
    assert chip_of("TPU v5 lite").flops < chip_of("TPU v5p").flops


def test_a_device_that_is_here_says_itself_what_a_run_may_use():
    card = SimpleNamespace(
        device_kind="NVIDIA L4", platform="gpu", memory_stats=lambda: {"bytes_limit": 17 << 30}
    )
    chip = chip_of("NVIDIA L4")
    assert report.capacity_of(Target([card], 1, "gpu", present=True), chip) == 17 << 30
    silent = SimpleNamespace(device_kind="NVIDIA L4", platform="gpu", memory_stats=lambda: None)
    known = report.capacity_of(Target([silent], 1, "gpu", present=True), chip)
    assert known == report.capacity_of(Target([silent], 1, "gpu"), chip) < chip.hbm


@pytest.mark.parametrize(
    ("name", "gib"),
    [("t4", 14.58), ("l4", 21.96), ("rtx4090", 23.65), ("a100-40gb", 39.39), ("a100", 79.26),
     ("h100", 79.11), ("h200", 139.80)],
)  # fmt: skip
def test_a_gpu_elsewhere_has_the_memory_that_jax_would_take(monkeypatch, name, gib):
    gpu = GPUS[name]
    size = int(re.search(r"device_memory_size: (\d+)\n", gpu.spec()).group(1))
    assert round(size / 2**30, 2) == gib
    device = SimpleNamespace(device_kind=gpu.kind, platform="gpu")
    where = Target([device], 1, "gpu")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert report.limit_of(where) == report.capacity_of(where, chip_of(gpu.kind))
    assert report.limit_of(where) == int(size * 0.75)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    assert report.limit_of(where) == int(size * 0.9)
    for wrong in ("2", "0", "most", "nan"):
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", wrong)
        with pytest.raises(InputError, match=f"MEM_FRACTION='{wrong}' is not a share"):
            report.limit_of(where)
