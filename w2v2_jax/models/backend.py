"""Where the computation being traced will run: formulations are chosen by it."""

from __future__ import annotations

import jax


def platform() -> str:
    """Where the computation being traced will run: the mesh's platform, or else the default's.

    A step compiled ahead of time for a TPU is traced on a machine whose default is the CPU. JAX
    has two names for an NVIDIA GPU; here it is always "gpu".
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    name = device.platform if device is not None else jax.default_backend()
    return "gpu" if name == "cuda" else name
