"""Times the same network, weights and input in another framework, in turns with this package.

Every side is a separate process with its own memory, allocator and threads, and only one runs at a
time. Before timing, two further processes compute the loss and the norm of every gradient (or all
logits) from the same weights, masks, negatives and noise. If these differ by more than the
tolerance, there is an error and no ratio.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import jax
import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.bench.child import Side
from w2v2_jax.bench.measure import spread
from w2v2_jax.bench.peer_task import write_inference, write_training
from w2v2_jax.errors import InputError

OURS = "w2v2_jax.bench.ours"
PEERS = {"hf": "w2v2_jax.bench.hugging_face", "torchaudio": "w2v2_jax.bench.torchaudio_model"}
# Largest relative difference of the loss, of a gradient's norm and of logits.
TOLERANCE = {"float32": (1e-4, 5e-3, 1e-3), "bfloat16": (2e-2, 2e-1, 1e-1)}
# Norms below this share of the largest are compared at its size: what is left of terms that cancel,
# as for queries of nearly even attention, has few right bits in half precision.
FLOOR = {"float32": 1e-4, "bfloat16": 1e-2}


def compare(folder: Path, dtype: str) -> dict[str, float]:
    """Largest relative differences of what the two sides computed, and how many norms of gradients
    were compared at the floor; InputError above tolerance."""
    ours, theirs = np.load(folder / "ours.npz"), np.load(folder / "theirs.npz")
    if set(ours.files) != set(theirs.files):
        odd = sorted(set(ours.files) ^ set(theirs.files))[0]
        raise InputError(f"--peer: only one side has {odd}; no ratio is reported")
    norms = [name for name in theirs.files if name.startswith("norm/")]
    largest = max((float(theirs[name]) for name in norms), default=0.0)
    of_loss, of_norm, of_logits = TOLERANCE[dtype]
    differences: dict[str, float] = {
        "norms_below_floor": sum(float(theirs[x]) < FLOOR[dtype] * largest for x in norms)
    }
    for name in theirs.files:
        a, b = np.asarray(ours[name], np.float64), np.asarray(theirs[name], np.float64)
        floor = FLOOR[dtype] * largest if name in norms else 0.0
        difference = float(np.abs(a - b).max() / max(np.abs(b).max(), floor, 1e-30))
        kind = "gradient_norm" if name in norms else "loss" if name == "loss" else "logits"
        limit = {"gradient_norm": of_norm, "loss": of_loss, "logits": of_logits}[kind]
        if not difference <= limit:
            raise InputError(
                f"--peer: {name} differs by {difference:.2g} (tolerance {limit:g}); the two "
                "compute different things, so no ratio is reported"
            )
        differences[kind] = max(differences.get(kind, 0.0), difference)
    return differences


def compiled_sides(folder: Path, arguments) -> list[Side]:
    """The processes that compile before they run, ours first."""
    peer, theirs = arguments.peer, PEERS[arguments.peer]
    sides = [Side("ours", OURS, folder)]
    if not arguments.no_compile:
        alone = ["--alone"] if arguments.lengths else []  # one graph a shape; padded ones recompile
        sides.append(Side(f"{peer} torch.compile", theirs, folder, "--compile", *alone))
    return sides


def eager_sides(folder: Path, arguments) -> list[Side]:
    """The processes that run the peer without compiling it."""
    peer, theirs = arguments.peer, PEERS[arguments.peer]
    sides = [Side(f"{peer} eager", theirs, folder)]
    if arguments.lengths:
        sides.append(Side(f"{peer} eager, one by one", theirs, folder, "--alone"))
    return sides


def check(folder: Path, arguments) -> dict[str, float]:
    """Runs both sides once, in processes that then end, and returns the differences. One process
    runs at a time, or both with --together; a missing torch is found first."""
    peer = arguments.peer
    running = []
    try:
        for name, module in ((peer, PEERS[peer]), ("ours", OURS)):
            running.append(Side(name, module, folder, "--check"))
            if not arguments.together:
                running[-1].wait_ready()
                running[-1].end()
        if arguments.together:
            for side in running:
                side.wait_ready()
                side.end()
    finally:
        for side in running:
            side.kill()
    return compare(folder, arguments.dtype)


def alternate(sides: list[Side], *, warmup: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each side's steps, the sides in turns."""
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(warmup + repeats):
        for side in sides:
            took = side.run()
            if turn >= warmup:
                seconds[side.name].append(took)
    return seconds


def bench_peer(arguments) -> dict:
    """Our time divided by theirs, for --what train or infer."""
    jax.config.update("jax_platforms", "cpu")  # of this process alone: the sides have the device
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_task = write_training if arguments.what == "train" else write_inference
        facts = write_task(folder, arguments)
        sides = compiled_sides(folder, arguments) if arguments.together else []
        try:
            differences = check(folder, arguments)
            sides = sides or compiled_sides(folder, arguments)
            sides[1:1] = eager_sides(folder, arguments)
            for side in sides:
                side.wait_ready()
            seconds = alternate(sides, warmup=1, repeats=arguments.repeats)
            peaks = {side.name: side.end() for side in sides}
        finally:
            for side in sides:
                side.kill()
    return report(arguments, facts, differences, sides, seconds, peaks)


def report(arguments, facts: dict, differences, sides, seconds, peaks) -> dict:
    """The JSON: a table of sides, and the ratios of their medians."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = {
        name: statistics.median(a / b for a, b in zip(seconds["ours"], values, strict=True))
        for name, values in seconds.items()
    }
    samples, frames = facts.pop("samples"), facts.pop("frames")
    table = {
        side.name: {
            **spread(seconds[side.name]),
            "seconds": seconds[side.name],
            "audio_seconds_per_second": samples / SAMPLE_RATE / median[side.name],
            "real_time_factor": median[side.name] * SAMPLE_RATE / samples,
            "tokens_per_second": frames / median[side.name],
            "peak_memory_bytes": peaks[side.name],
            **side.facts,
        }
        for side in sides
    }
    ratios = {
        f"time_ratio_to_{name}": median["ours"] / median[name] for name in median if name != "ours"
    }
    return {
        "what": arguments.what,
        "peer": arguments.peer,
        "objective": arguments.objective,
        "dtype": arguments.dtype,
        "dropout": arguments.dropout,
        "repeats": arguments.repeats,
        "accumulate": arguments.accumulate,
        **facts,
        "norms_below_floor": differences.pop("norms_below_floor", 0),
        "differences": differences,
        "sides": table,
        **ratios,
        **{f"median_of_paired_ratios_to_{name}": pairs[name] for name in pairs if name != "ours"},
        **{
            f"memory_ratio_to_{name}": peaks["ours"] / peaks[name]
            for name in peaks
            if name != "ours"
        },
    }
