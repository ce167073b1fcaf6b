"""Flags with which XLA compiles for the tests; imports nothing that reads them."""

from importlib.metadata import version

# Compiles a train step in a third of the time. XLA ends the process at a flag that it does not
# know, and versions after 0.10 do not know this one.
_OLD = tuple(int(part) for part in version("jaxlib").split(".")[:2]) <= (0, 10)
_FEWER_FUSIONS = "--xla_cpu_use_fusion_emitters=false" if _OLD else ""
# By default XLA splits a program into up to 32 parts for threads that compile side by side. On
# cores that are busy with other tests that only costs: one part takes 15 % less CPU time.
_ONE_PART = "--xla_cpu_parallel_codegen_split_count=1"
FAST_COMPILE = f"{_ONE_PART} {_FEWER_FUSIONS}".strip()


def devices(count: int) -> str:
    """XLA_FLAGS for `count` CPU devices."""
    return f"--xla_force_host_platform_device_count={count} {FAST_COMPILE}"
