"""What a chip can do, from the makers' published tables; one row per chip, matched by its kind."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.system.device_memory import GIB


class Chip(NamedTuple):
    """Published figures of one chip, which is one JAX device.

    kind: `device.device_kind`, or its beginning. hbm: bytes. flops: dense bfloat16 FLOP/s.
    hbm_rate: bytes/s. ici_rate: bytes/s that a chip sends over all its links within the slice or
    NVLink domain, in one direction. dcn_rate: bytes/s that a chip sends to other slices. clock: Hz
    of the cycles that the compiler estimates; 0 if it estimates none.

    TPU: cloud.google.com/tpu/docs (interconnect figures there count both directions; data-center
    network 100 Gbit/s a host of 4 chips, 200 for v6e); clocks follow from peak = MXUs x size x
    clock. NVIDIA: data sheets of A100, H100 and H200 SXM, without sparsity.
    """

    kind: str
    hbm: int
    flops: float
    hbm_rate: float
    ici_rate: float
    dcn_rate: float
    clock: float


CHIPS = (
    Chip("TPU v4", 32 * GIB, 275e12, 1.228e12, 150e9, 3.125e9, 1.05e9),
    Chip("TPU v5 lite", 16 * GIB, 197e12, 0.819e12, 100e9, 3.125e9, 1.5e9),
    Chip("TPU v5", 95 * GIB, 459e12, 2.765e12, 300e9, 3.125e9, 1.75e9),  # v5p
    Chip("TPU v6 lite", 32 * GIB, 918e12, 1.638e12, 224e9, 6.25e9, 1.75e9),
    Chip("NVIDIA A100-SXM4-40GB", 40 * GIB, 312e12, 1.555e12, 300e9, 25e9, 0.0),
    Chip("NVIDIA A100", 80 * GIB, 312e12, 2.039e12, 300e9, 25e9, 0.0),
    Chip("NVIDIA H100", 80 * GIB, 989e12, 3.35e12, 450e9, 50e9, 0.0),
    Chip("NVIDIA H200", 141 * GIB, 989e12, 4.8e12, 450e9, 50e9, 0.0),
)


def chip_of(kind: str) -> Chip | None:
    """The chip of a device kind, None if it is not in the table."""
    return next((chip for chip in CHIPS if kind.startswith(chip.kind)), None)
