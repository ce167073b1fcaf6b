"""Memory of devices: its size, what a compiled step takes, and a compiler's refusal."""

from __future__ import annotations

import os
import re
from typing import Any

from w2v2_jax.errors import InputError

GIB = 2**30
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def host_memory() -> int:
    """Physical memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def device_memory(device: Any, sharing: int) -> int | None:
    """The bytes of memory of a device, None if it does not say; `sharing`: this many CPU devices
    share the machine's memory."""
    if device.platform == "cpu":
        return host_memory() // sharing
    return (device.memory_stats() or {}).get("bytes_limit")


def gpu_share() -> float:
    """The share of a GPU's memory that JAX takes for a run: three quarters, or what
    XLA_PYTHON_CLIENT_MEM_FRACTION says."""
    value = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75")
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(
            f"XLA_PYTHON_CLIENT_MEM_FRACTION='{value}' is not a share from 0 to 1, such as 0.9"
        )
    return share


def memory_of(compiled: Any) -> dict[str, int]:
    """Bytes a device holds while a compiled step runs, by kind, and their total."""
    table = compiled.memory_analysis()
    kinds = {
        "arguments": table.argument_size_in_bytes,
        "temporaries": table.temp_size_in_bytes,
        "outputs": table.output_size_in_bytes,
        "aliased": table.alias_size_in_bytes,
        "code": table.generated_code_size_in_bytes,
    }
    kinds["total"] = sum(kinds.values()) - 2 * kinds["aliased"]
    return kinds


def memory_shortage(message: str) -> tuple[int, int] | None:
    """(bytes needed, bytes available) from a compiler's refusal; None for any other error."""
    size = r"([\d.]+)([KMGT]?)"
    match = re.search(rf"[Uu]sed {size} of {size} hbm", message) or re.search(
        rf"required .* \({size}\) exceeds available HBM \({size}\)", message
    )
    if match:
        used, unit, room, room_unit = match.groups()
        return round(float(used) * UNITS[unit]), round(float(room) * UNITS[room_unit])
    return (0, 0) if "RESOURCE_EXHAUSTED" in message else None
