"""What XLA has to know of an NVIDIA GPU to compile for it where there is none."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.aot.chips import chip_of


class Gpu(NamedTuple):
    """Published figures of one GPU, beside those of `chips.CHIPS`.

    kind: as JAX names the device. capability: compute capability. cores: streaming
    multiprocessors. shared, shared_optin: bytes of shared memory of a multiprocessor, and that one
    block may ask for. l2: bytes. clock: GHz.

    Sources: the tables of compute capabilities in NVIDIA's CUDA programming guide; the white papers
    of A100 and H100.
    """

    kind: str
    capability: int
    cores: int
    shared: int
    shared_optin: int
    l2: int
    clock: float

    def spec(self) -> str:
        """XLA's description of the device (`GpuTargetConfigProto` as text)."""
        chip = chip_of(self.kind)
        assert chip is not None  # a test compares the tables
        return f"""
            platform_name: "CUDA"
            device_description_str: "{self.kind}"
            dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
            gpu_device_info {{
              name: "{self.kind}"
              cuda_compute_capability {{ major: {self.capability} minor: 0 }}
              core_count: {self.cores}
              fpus_per_core: {64 if self.capability == 8 else 128}
              clock_rate_ghz: {self.clock}
              memory_bandwidth: {int(chip.hbm_rate)}
              device_memory_size: {chip.hbm}
              l2_cache_size: {self.l2}
              shared_memory_per_core: {self.shared}
              shared_memory_per_block: 49152
              shared_memory_per_block_optin: {self.shared_optin}
              threads_per_block_limit: 1024
              threads_per_core_limit: 2048
              threads_per_warp: 32
              registers_per_core_limit: 65536
              registers_per_block_limit: 65536
              block_dim_limit_x: 2147483647
              block_dim_limit_y: 65535
              block_dim_limit_z: 65535
            }}
        """


def _ampere(kind: str) -> Gpu:
    return Gpu(kind, 8, 108, 167_936, 166_912, 40 << 20, 1.41)


def _hopper(kind: str) -> Gpu:
    return Gpu(kind, 9, 132, 233_472, 232_448, 50 << 20, 1.98)


GPUS = {
    "a100-40gb": _ampere("NVIDIA A100-SXM4-40GB"),
    "a100": _ampere("NVIDIA A100-SXM4-80GB"),
    "h100": _hopper("NVIDIA H100 80GB HBM3"),
    "h200": _hopper("NVIDIA H200"),
}
