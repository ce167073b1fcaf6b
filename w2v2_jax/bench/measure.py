"""What every timing shares: the clock, the measured peak, memory, and a model timing's JSON."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.bench.child import resident_peak_bytes
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.system import cpu_memory


def timed(run: Callable[[], object], *, warmup: int, repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls after `warmup` calls; run must wait for its result."""
    for _ in range(warmup):
        run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def matmul_peak(dtype: str) -> float:
    """FLOP/s of a large square matmul on the default device: the measured ceiling.

    bfloat16 products are added up in float32, as the network's are.
    """
    size = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    product = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
    seconds = timed(lambda: product(a).block_until_ready(), warmup=2, repeats=5)
    return 2.0 * size**3 / min(seconds)


def keep_memory(what: str) -> None:
    """Sets up the CPU's memory as the commands do that are timed: `train`, or `transcribe`. Call it
    before JAX looks for devices."""
    if what == "train":
        cpu_memory.keep_for_training()
    else:
        cpu_memory.keep()


def peak_memory_bytes() -> int:
    """The peak that the device reports, or if it reports none the process's resident peak."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("peak_bytes_in_use", resident_peak_bytes()))


def versions(*names: str) -> dict[str, str]:
    """Installed versions of Python and the packages named."""
    versions_used = {"python": platform.python_version()}
    return versions_used | {name: importlib.metadata.version(name) for name in names}


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and range of repeated timings."""
    return {
        "seconds_median": statistics.median(seconds),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
    }


def summary(
    what: str,
    config: ModelConfig,
    execution: Execution,
    seconds: list[float],
    *,
    rows,
    samples,
    work,
    compile_seconds,
) -> dict:
    """The JSON object of a timing of the model; a token is one frame of 20 ms."""
    median = statistics.median(seconds)
    peak = matmul_peak(execution.dtype)
    frames = rows * int(frame_counts(samples, config.conv_layers))
    return {
        "what": what,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "versions": versions("jax", "jaxlib", "numpy"),
        "shape": [rows, samples],
        "model": dataclasses.asdict(config),
        "execution": dataclasses.asdict(execution),
        "repeats": len(seconds),
        **spread(seconds),
        "audio_seconds_per_second": rows * samples / SAMPLE_RATE / median,
        "real_time_factor": median * SAMPLE_RATE / (rows * samples),
        "frames_per_second": frames / median,
        "tokens_per_second": frames / median,
        "model_flops": rows * work,
        "matmul_peak_flops_per_second": peak,
        "mfu": rows * work / median / (peak * jax.device_count()),
        "compile_seconds": compile_seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }
