"""Names of topologies -> the devices to compile for: TPUs through libtpu and GPUs through NVIDIA's
plugin of JAX, without having one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from typing import Any, NamedTuple

import jax
import jaxlib

from w2v2_jax.aot.gpus import GPUS, Gpu
from w2v2_jax.errors import InputError

FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBE = (
    "2x2x1",
    "2x2x2",
    "2x2x4",
    "2x4x4",
    "4x4x4",
    "4x4x8",
    "4x8x8",
    "8x8x8",
    "8x8x16",
    "8x16x16",
)
# The slice shapes that the clouds sell; the compiler takes others too.
TOPOLOGIES: dict[str, tuple[str, ...]] = {"v4": CUBE, "v5e": FLAT, "v5p": CUBE, "v6e": FLAT}
PRESENT = ("cpu", "gpu")
GPU_COUNTS = ("1", "2", "4", "8")  # those of one host
PLUGINS = ("cuda13", "cuda12")
# Compiling needs no chip: several compilations may run beside a job that holds the TPU, and
# libtpu need not complain on stderr that it finds no description of this host.
LIBTPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


class Target(NamedTuple):
    """What to compile for: the devices, how many slices they make, the platform's name, and whether
    they are here."""

    devices: list[Any]
    slices: int
    platform: str
    present: bool = False


def known_topologies() -> str:
    """Every name that `target` takes, in one line."""
    shapes = {**TOPOLOGIES, **dict.fromkeys(GPUS, GPU_COUNTS)}
    return " ".join([*(f"{chip}:{{{','.join(of)}}}" for chip, of in shapes.items()), *PRESENT])


def target(name: str, *, slices: int = 1) -> Target:
    """The devices of `v5p:2x2x2` (a slice, `slices` of them) or of `h100:8` (a host of 8), or those
    present: `cpu`, `gpu`.

    Raises InputError if the name is not known (with the list), libtpu or NVIDIA's plugin is not
    installed, or no such device is present.
    """
    if name in PRESENT:
        return _present(name, slices)
    chip, _, shape = name.partition(":")
    if chip in GPUS and shape in GPU_COUNTS:
        if slices != 1:
            raise InputError(f"--slices is for TPU topologies, not {name}")
        return Target(_gpu_devices(name, GPUS[chip], int(shape)), 1, "gpu")
    if shape not in TOPOLOGIES.get(chip, ()):
        raise InputError(f"--topology {name} does not exist; use one of {known_topologies()}")
    if slices < 1:
        raise InputError(f"--slices {slices} must be at least 1")
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"--topology {name} needs libtpu; pip install 'jax[tpu]=={jax.__version__}'"
        )
    return Target(_libtpu_devices(chip, shape, slices), slices, "tpu")


def _present(name: str, slices: int) -> Target:
    if slices != 1:
        raise InputError(f"--slices is for TPU topologies, not {name}")
    try:
        return Target(jax.devices(name), 1, name, present=True)
    except RuntimeError:
        raise InputError(f"--topology {name}: JAX finds no {name} device here") from None


def _libtpu_devices(chip: str, shape: str, slices: int) -> list[Any]:
    from jax.experimental import topologies

    for name, value in LIBTPU.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {}
    if chip == "v4":
        options["chip_config_name"] = "megacore"  # one device a chip, as on a TPU VM
    if shape == "1x1":
        options["chips_per_host_bounds"] = [1, 1, 1]
    if slices > 1:
        options["num_slices"] = slices
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=f"{chip}:{shape}", **options
        )
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology {chip}:{shape}: libtpu says {error}") from None
    return list(description.devices)


def installed(cuda: str) -> bool:
    """Whether both packages of the plugin for a version of CUDA are here: JAX's extension of it,
    and the compiler."""
    try:
        modules = (f"jax_{cuda}_plugin", f"jax_plugins.xla_{cuda}")
        return all(importlib.util.find_spec(module) for module in modules)
    except ModuleNotFoundError:  # no package at all in jax_plugins
        return False


def _versions(cuda: str) -> list[str]:
    """The versions of both packages that are known, without what follows a plus."""
    known = []
    for package in (f"jax-{cuda}-plugin", f"jax-{cuda}-pjrt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known.append(importlib.metadata.version(package).partition("+")[0])
    return known


def check_plugin(name: str) -> None:
    """Raises InputError unless JAX's plugin for NVIDIA GPUs is here, in jaxlib's version: another
    one compiles too, but another program than the run's."""
    version = jaxlib.__version__.partition("+")[0]
    cuda = next((cuda for cuda in PLUGINS if installed(cuda)), None)
    remedy = " ".join(f"jax-{cuda or PLUGINS[0]}-{part}=={version}" for part in ("plugin", "pjrt"))
    if cuda is None:
        raise InputError(
            f"--topology {name} needs JAX's plugin for NVIDIA GPUs, but no GPU; "
            f"pip install --no-deps {remedy}"
        )
    others = sorted(set(_versions(cuda)) - {version})
    if others:
        raise InputError(
            f"--topology {name}: JAX's plugin for NVIDIA GPUs has version {', '.join(others)}, and "
            f"jaxlib {version}; pip install --no-deps {remedy}"
        )


def _gpu_devices(name: str, gpu: Gpu, count: int) -> list[Any]:
    from jax.experimental import topologies

    check_plugin(name)
    # The compiler need not tell on stderr how it fails to spare memory: the report has the result.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A program for a GPU that is not here can be kept but not read back: a warning every time.
    jax.config.update("jax_enable_compilation_cache", False)
    jax.devices("cpu")  # finds the plugins
    try:
        description = topologies.get_topology_desc(
            platform="cuda", topology_name=name, target_config=gpu.spec(), topology=f"1x1x{count}"
        )
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology {name}: JAX's plugin says {error}") from None
    return list(description.devices)
