"""Kernels give way where JAX has no compiler for them."""

import ast
import importlib.util
import sys
from types import SimpleNamespace

import jax.experimental.pallas as pallas
import jax.numpy as jnp
import pytest

from tests.helpers.places import ROOT
from w2v2_jax.aot.gpus import GPUS
from w2v2_jax.models import attention, backend, first_layer
from w2v2_jax.objectives import ctc_loss

COMPILERS = {
    "triton": "jax.experimental.pallas.triton",
    "mosaic": "jax.experimental.pallas.tpu",
}


@pytest.fixture
def on_a_gpu(monkeypatch):
    monkeypatch.setattr(backend, "platform", lambda: "gpu")
    for module in (attention, first_layer, ctc_loss):
        monkeypatch.setattr(module, "platform", lambda: "gpu")
    for module in (attention, first_layer):
        monkeypatch.setattr(module, "has_matrix_units", lambda: True)


def formulations():
    """What is chosen for bfloat16: attention's name, and whether the others are kernels."""
    patches = jnp.zeros((1, 200, 10), jnp.bfloat16)
    return (
        attention.choose("auto", dtype="bfloat16").__name__,
        attention.choose("gpu_kernel", dtype="bfloat16").__name__,
        first_layer._in_kernels(patches, jnp.zeros((1, 10, 512))),
        ctc_loss.takes_kernel(64),
    )


def test_without_a_triton_compiler_no_kernel_is_chosen(on_a_gpu, monkeypatch):
    assert formulations() == ("gpu_kernel", "gpu_kernel", True, True)
    monkeypatch.setattr(backend, "triton", None)
    assert formulations() == ("plain", "plain", False, False)


def test_a_step_for_a_gpu_that_is_not_here_has_the_kernels_of_one(monkeypatch):
    assert not backend.has_matrix_units()  # a CPU's own programs
    monkeypatch.setattr(backend, "platform", lambda: "gpu")
    assert backend.has_matrix_units()
    for name, gpu in GPUS.items():
        device = SimpleNamespace(platform="gpu", device_kind=gpu.kind)
        mesh = SimpleNamespace(abstract_device=device)
        monkeypatch.setattr(backend.jax.sharding, "get_abstract_mesh", lambda mesh=mesh: mesh)
        assert backend.has_matrix_units() == (gpu.capability >= (8, 0)), name


@pytest.mark.parametrize("name", COMPILERS)
def test_a_jax_without_a_compiler_is_noticed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, COMPILERS[name], None)
    monkeypatch.delattr(pallas, COMPILERS[name].rpartition(".")[2], raising=False)
    spec = importlib.util.spec_from_file_location("another_backend", backend.__file__)
    another = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(another)
    assert getattr(another, name) is None and getattr(backend, name) is not None
    assert (another.has_triton(), another.has_mosaic()) == (name != "triton", name != "mosaic")


def test_one_module_alone_imports_the_compilers():
    importers = set()
    for path in (ROOT / "w2v2_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "jax.experimental.pallas"
            ):
                importers.add(path.name)
    assert importers == {"backend.py"}
