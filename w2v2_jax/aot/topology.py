"""Names of TPU topologies -> the devices to compile for, through libtpu, without a TPU."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, NamedTuple

import jax

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
    """What to compile for: the devices, how many slices they make, and the platform's name."""

    devices: list[Any]
    slices: int
    platform: str


def known_topologies() -> str:
    """Every name that `target` takes, in one line."""
    names = [f"{chip}:{{{','.join(shapes)}}}" for chip, shapes in TOPOLOGIES.items()]
    return " ".join([*names, *PRESENT])


def target(name: str, *, slices: int = 1) -> Target:
    """The devices of `v5p:2x2x2` (a slice, `slices` of them), or those present: `cpu`, `gpu`.

    Raises InputError if the name is not known (with the list), libtpu is not installed, or no
    such device is present.
    """
    if name in PRESENT:
        return _present(name, slices)
    chip, _, shape = name.partition(":")
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
        return Target(jax.devices(name), 1, name)
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
