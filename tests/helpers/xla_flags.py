"""Flags with which XLA compiles for the tests; imports nothing that reads them."""

from importlib.metadata import version

# Compiles a train step in a third of the time. XLA ends the process at a flag that it does not
# know, and versions after 0.10 do not know this one.
_OLD = tuple(int(part) for part in version("jaxlib").split(".")[:2]) <= (0, 10)
FEWER_FUSIONS = "--xla_cpu_use_fusion_emitters=false" if _OLD else ""


def devices(count: int) -> str:
    """XLA_FLAGS for `count` CPU devices."""
    return f"--xla_force_host_platform_device_count={count} {FEWER_FUSIONS}".strip()
