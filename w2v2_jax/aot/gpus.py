"""What XLA has to know of an NVIDIA GPU to compile for it where there is none."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.aot.chips import chip_of


class Gpu(NamedTuple):
    """Published figures of one GPU, beside those of `chips.CHIPS`.

    kind: as JAX names the device. capability: compute capability. cores: streaming
    multiprocessors. units: float32 units of a multiprocessor. threads: those that a multiprocessor
    holds. shared, shared_optin: bytes of shared memory of a multiprocessor, and that one block may
    ask for. l2: bytes. clock: GHz.

    Sources: XLA's own descriptions (openxla/xla, xla/backends/gpu/target_config/specs) of A100 and
    H100, NVIDIA's deviceQuery on an L4, an RTX 4090 and a T4, the table of compute capabilities in
    NVIDIA's CUDA programming guide, and the white papers of Turing, Ampere, Ada and Hopper.
    """

    kind: str
    capability: tuple[int, int]
    cores: int
    units: int
    threads: int
    shared: int
    shared_optin: int
    l2: int
    clock: float

    def spec(self) -> str:
        """XLA's description of the device (`GpuTargetConfigProto` as text)."""
        chip = chip_of(self.kind)
        assert chip is not None  # a test compares the tables
        major, minor = self.capability
        return f"""
            platform_name: "CUDA"
            device_description_str: "{self.kind}"
            dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
            gpu_device_info {{
              name: "{self.kind}"
              cuda_compute_capability {{ major: {major} minor: {minor} }}
              core_count: {self.cores}
              fpus_per_core: {self.units}
              clock_rate_ghz: {self.clock}
              memory_bandwidth: {int(chip.hbm_rate)}
              device_memory_size: {chip.hbm}
              l2_cache_size: {self.l2}
              shared_memory_per_core: {self.shared}
              shared_memory_per_block: 49152
              shared_memory_per_block_optin: {self.shared_optin}
              threads_per_block_limit: 1024
              threads_per_core_limit: {self.threads}
              threads_per_warp: 32
              registers_per_core_limit: 65536
              registers_per_block_limit: 65536
              block_dim_limit_x: 2147483647
              block_dim_limit_y: 65535
              block_dim_limit_z: 65535
            }}
        """


def _turing(kind: str, *, cores: int, l2: int, clock: float) -> Gpu:
    return Gpu(kind, (7, 5), cores, 64, 1024, 65_536, 65_536, l2, clock)


def _a100(kind: str) -> Gpu:
    return Gpu(kind, (8, 0), 108, 64, 2048, 167_936, 166_912, 40 << 20, 1.41)


def _ada(kind: str, *, cores: int, l2: int, clock: float) -> Gpu:
    return Gpu(kind, (8, 9), cores, 128, 1536, 102_400, 101_376, l2, clock)


def _hopper(kind: str) -> Gpu:
    return Gpu(kind, (9, 0), 132, 128, 2048, 233_472, 232_448, 50 << 20, 1.98)


GPUS = {
    "t4": _turing("Tesla T4", cores=40, l2=4 << 20, clock=1.59),
    "l4": _ada("NVIDIA L4", cores=58, l2=48 << 20, clock=2.04),
    "rtx4090": _ada("NVIDIA GeForce RTX 4090", cores=128, l2=72 << 20, clock=2.52),
    "a100-40gb": _a100("NVIDIA A100-SXM4-40GB"),
    "a100": _a100("NVIDIA A100-SXM4-80GB"),
    "h100": _hopper("NVIDIA H100 80GB HBM3"),
    "h200": _hopper("NVIDIA H200"),
}
