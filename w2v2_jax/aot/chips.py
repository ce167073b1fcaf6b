"""What a chip can do, from the makers' published tables; one row per chip, matched by its kind."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.system.device_memory import GIB


class Chip(NamedTuple):
    """Published figures of one chip, which is one JAX device.

    kind: `device.device_kind`, or of a TPU its beginning. hbm: bytes, of a GPU those that its
    driver leaves to programs. flops: dense FLOP/s in bfloat16, or in float16 where a GPU has no
    bfloat16. flops32: those of float32 factors, which GPUs from Ampere on round to TF32. hbm_rate:
    bytes/s. ici_rate: bytes/s that a chip sends over all its links within the slice or the host
    (NVLink, or else PCIe), in one direction. dcn_rate: bytes/s that a chip sends to other slices.
    clock: Hz of the cycles that the compiler estimates; 0 if it estimates none.

    TPU: cloud.google.com/tpu/docs (interconnect figures there count both directions; data-center
    network 100 Gbit/s a host of 4 chips, 200 for v6e); clocks follow from peak = MXUs x size x
    clock. NVIDIA: data sheets and white papers, without sparsity and with sums in float32; memory
    from XLA's descriptions (openxla/xla, xla/backends/gpu/target_config/specs), deviceQuery, and
    for the H200 the capacity that torch names when it is full.
    """

    kind: str
    hbm: int
    flops: float
    flops32: float
    hbm_rate: float
    ici_rate: float
    dcn_rate: float
    clock: float


CHIPS = (
    Chip("TPU v4", 32 * GIB, 275e12, 275e12, 1.228e12, 150e9, 3.125e9, 1.05e9),
    Chip("TPU v5 lite", 16 * GIB, 197e12, 197e12, 0.819e12, 100e9, 3.125e9, 1.5e9),
    Chip("TPU v5", 95 * GIB, 459e12, 459e12, 2.765e12, 300e9, 3.125e9, 1.75e9),  # v5p
    Chip("TPU v6 lite", 32 * GIB, 918e12, 918e12, 1.638e12, 224e9, 6.25e9, 1.75e9),
    Chip("Tesla T4", 15_655_829_504, 65e12, 8.1e12, 0.320e12, 16e9, 6.25e9, 0.0),
    Chip("NVIDIA L4", 23_583_784_960, 121e12, 60.5e12, 0.300e12, 32e9, 12.5e9, 0.0),
    Chip("NVIDIA GeForce RTX 4090", 25_393_692_672, 165.2e12, 82.6e12, 1.008e12, 32e9, 12.5e9, 0.0),
    Chip("NVIDIA A100-SXM4-40GB", 42_298_834_944, 312e12, 156e12, 1.555e12, 300e9, 25e9, 0.0),
    Chip("NVIDIA A100-PCIE-40GB", 42_298_834_944, 312e12, 156e12, 1.555e12, 32e9, 25e9, 0.0),
    Chip("NVIDIA A100 80GB PCIe", 85_100_068_864, 312e12, 156e12, 1.935e12, 32e9, 25e9, 0.0),
    Chip("NVIDIA A100-SXM4-80GB", 85_100_068_864, 312e12, 156e12, 2.039e12, 300e9, 25e9, 0.0),
    Chip("NVIDIA H100 80GB HBM3", 84_942_979_072, 989e12, 494e12, 3.35e12, 450e9, 50e9, 0.0),
    Chip("NVIDIA H100 PCIe", 84_942_979_072, 756e12, 378e12, 2.0e12, 64e9, 50e9, 0.0),
    Chip("NVIDIA H200", 150_109_000_000, 989e12, 494e12, 4.8e12, 450e9, 50e9, 0.0),
)


def chip_of(kind: str) -> Chip | None:
    """The chip of a device kind, None if it is not in the table: a GPU's name with a word more may
    be another card (PCIe, Laptop, a share of one)."""
    named = (c for c in CHIPS if kind == c.kind or (c.clock and kind.startswith(c.kind)))
    return next(named, None)
