"""The device on which the traced computation will run; formulations are chosen by it."""

from __future__ import annotations

import jax

try:
    from jax.experimental.pallas import triton
except ImportError:  # a version of JAX without it, as is announced
    triton = None
try:
    from jax.experimental.pallas import tpu as mosaic
except ImportError:
    mosaic = None


BEFORE_AMPERE = ("Tesla T4",)  # of the GPUs that `aot` compiles for


def device_kind() -> str:
    """The kind of the device on which the traced computation will run, as "TPU v6 lite"."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.device_kind if device is not None else jax.local_devices()[0].device_kind


def platform() -> str:
    """The platform of the traced computation: that of the mesh, or else the default.

    A step compiled ahead of time for a TPU is traced on a machine whose default is the CPU. JAX
    has two names for an NVIDIA GPU; here it is always "gpu".
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    name = device.platform if device is not None else jax.default_backend()
    return "gpu" if name == "cuda" else name


def has_matrix_units() -> bool:
    """Whether the traced computation will run on an NVIDIA GPU that multiplies bfloat16 (compute
    capability 8, Ampere)."""
    if platform() != "gpu":
        return False
    if jax.default_backend() == "cpu":
        return device_kind() not in BEFORE_AMPERE  # compiled for a GPU that is not here
    capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))
    major = capability.split(".")[0]
    return major.isdecimal() and int(major) >= 8


def has_triton() -> bool:
    """Whether JAX has Pallas's Triton compiler, in which our kernels for GPUs are written."""
    return triton is not None


def stated(flops: int) -> dict[str, str]:
    """What a kernel for GPUs tells of itself, since Pallas's Triton compiler drops cost estimates:
    `aot` reads the FLOPs of its products from the compiled text."""
    return {"flops": str(flops)}


def has_mosaic() -> bool:
    """Whether JAX has Pallas's TPU compiler, in which our kernels for TPUs are written."""
    return mosaic is not None


def when_needed(saved, gradient):
    """Both, for the start of a backward pass. XLA for CPU would compute in the forward pass what
    depends on the saved values alone, and keep it: .7 of the 3 GB of a BASE step. jaxlib 0.10 still
    does so with the views of the convolutions."""
    values = (saved, gradient)
    return jax.lax.platform_dependent(
        values, cpu=jax.lax.optimization_barrier, default=lambda values: values
    )
