"""The same network, weights and input in another framework, in turns with ours in one run.

Every side is a process of its own, so that memory is its own and no allocator or thread pool is
shared; one runs at a time. Before any timing, two further processes compute the loss and the norm
of every gradient (or all logits) from the same weights, masks, negatives and noise; where they
differ by more than the tolerance there is no ratio but an error.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2v2_jax import trees
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.bench import step
from w2v2_jax.bench.child import Side
from w2v2_jax.bench.measure import spread
from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.interop import hugging_face, names
from w2v2_jax.models import flops, row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.paths import write_json
from w2v2_jax.vocabulary import LIBRISPEECH

OURS = "w2v2_jax.bench.ours"
# Hugging Face has these two networks; `task.json` says "ctc": true or false.
PRETRAINING, TUNED = (hugging_face.KINDS[f"Wav2Vec2For{x}"] for x in ("PreTraining", "CTC"))
PEER_OBJECTIVES = tuple(kind.objective.name for kind in (PRETRAINING, TUNED))
PEERS = {"hf": "w2v2_jax.bench.hugging_face", "torchaudio": "w2v2_jax.bench.torchaudio_model"}
# Largest relative difference of the loss, of a gradient's norm and of logits.
TOLERANCE = {"float32": (1e-4, 5e-3, 1e-3), "bfloat16": (2e-2, 2e-1, 1e-1)}
# Norms below this share of the largest are compared at its size: what is left of terms that cancel,
# as for queries of nearly even attention, has few right bits in half precision.
FLOOR = {"float32": 1e-4, "bfloat16": 1e-2}
TEMPERATURE = 2.0
EQUAL = dict(  # Hugging Face has no gradient scale; its LayerDrop is a branch on the host
    layer_drop=0.0, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, input_dropout=0.0,
    quantizer_dropout=0.0, final_dropout=0.0,
)  # fmt: skip
WITH_DROPOUT = dict(dropout=0.1, attention_dropout=0.1, input_dropout=0.1, quantizer_dropout=0.1)


def random_weights(model: ModelConfig, parts: tuple[str, ...]) -> dict:
    """Parameters of ordinary size drawn by numpy.

    The quantizer's logits are small, so that the given noise decides and near ties are rare.
    """
    random = np.random.default_rng(0)
    flat = {}
    for path, shape in names.expected(model, parts=parts, classes=len(LIBRISPEECH)).items():
        name = path.split("/")[-1]
        if name in ("scale", "norm_scale", "magnitude"):
            flat[path] = np.ones(shape, np.float32)
        elif name in ("entries", "mask_embedding"):
            flat[path] = random.random(shape, np.float32)
        elif "bias" in name:
            flat[path] = 0.1 * random.standard_normal(shape, np.float32)
        else:
            width = float(np.prod(shape[:-1])) ** -0.5
            if path.startswith(names.STACKED) or path.startswith("quantizer/"):
                width = 0.02
            flat[path] = width * random.standard_normal(shape, np.float32)
    return trees.nest(flat)


def contrastive_inputs(objective, num_samples: np.ndarray, samples: int) -> dict[str, np.ndarray]:
    """Mask, negatives and Gumbel noise in our buffer of slots and in Hugging Face's frames."""
    rows = len(num_samples)
    keys = row_random.row_keys(jax.random.key(0), np.arange(rows))
    draws = jax.tree.map(
        np.asarray, objective.draw(keys, num_samples, samples, training=True, equalised=False)
    )
    frames, (row, slot) = draws.slots.frames, np.nonzero(draws.slots.valid)
    length = draws.mask.shape[1]
    negatives = np.zeros((*draws.mask.shape, draws.negatives.shape[-1]), np.int64)
    chosen = np.take_along_axis(frames[:, :, None], draws.negatives, axis=1)  # [B, M, K]
    negatives[row, frames[row, slot]] = row[:, None] * length + chosen[row, slot]
    books, entries = draws.gumbel.shape[2:]
    gumbel = np.zeros((rows, length, books, entries), np.float32)
    gumbel[row, frames[row, slot]] = draws.gumbel[row, slot]
    return {
        "mask": draws.mask, "negatives": draws.negatives, "gumbel": draws.gumbel,
        "flat_negatives": negatives, "flat_gumbel": gumbel.reshape(-1, entries),
        **{f"slots_{name}": value for name, value in draws.slots._asdict().items()},
    }  # fmt: skip


def write_training(folder: Path, arguments) -> dict:
    """The folder of a training task; returns facts for the JSON."""
    kind = TUNED if arguments.objective == TUNED.objective.name else PRETRAINING
    ctc = kind is TUNED
    changed: dict[str, Any] = dict(EQUAL, feature_grad_scale=0.0 if ctc else 1.0)
    changed |= dict(mask_start_prob=0.0) if ctc else {}
    objective = {} if ctc else {"feature_penalty_weight": 0.0}  # Hugging Face has none
    settings = step.settings_of(arguments, model=changed, **objective)
    timed = changed | (WITH_DROPOUT if arguments.dropout else {})
    built = step.build(settings)
    batch = step.random_batch(settings)
    inputs = {k: x for k, x in batch._asdict().items() if x is not None and k != "weights"}
    if not ctc:
        samples = batch.waveforms.shape[1]
        inputs |= contrastive_inputs(built.objective, batch.num_samples, samples)
    shape = batch.waveforms.shape
    frames = int(frame_counts(shape[1], built.model.conv_layers))
    task = dict(
        what="train", ctc=ctc, dtype=arguments.dtype, model=timed,
        accumulate=arguments.accumulate, temperature=TEMPERATURE, mixed=False,
        objective=objective,
        arguments={k: v for k, v in vars(arguments).items() if k != "json"},
    )  # fmt: skip
    write(folder, task, inputs, dataclasses.replace(built.model, **timed), kind)
    return {
        "shape": list(shape), "frames": shape[0] * frames,
        "samples": shape[0] * shape[1],
        "model_flops": shape[0] * flops.train_flops(built.model, shape[1]),
        "model": dataclasses.asdict(dataclasses.replace(built.model, **timed)),
        "execution": dataclasses.asdict(settings.execution),
    }  # fmt: skip


def write_inference(folder: Path, arguments) -> dict:
    """The folder of an inference task; returns facts for the JSON."""
    model, execution = step.infer_config(arguments, **EQUAL)
    lengths = step.lengths_of(arguments)
    waveforms = step.noise_waveforms(lengths)
    inputs = {f"u{i}": waveform[None] for i, waveform in enumerate(waveforms)}
    task = dict(
        what="infer", ctc=True, dtype=arguments.dtype, utterances=len(lengths),
        mixed=bool(arguments.lengths), accumulate=1, execution=dataclasses.asdict(execution),
    )  # fmt: skip
    write(folder, task, inputs, model, TUNED)
    return {
        "shape": [len(lengths), max(lengths)], "lengths_samples": lengths, "samples": sum(lengths),
        "frames": int(sum(frame_counts(n, model.conv_layers) for n in lengths)),
        "model_flops": sum(flops.forward_flops(model, n) for n in lengths),
        "model": dataclasses.asdict(model), "execution": dataclasses.asdict(execution),
    }  # fmt: skip


def write(
    folder: Path, task: dict, inputs: dict, model: ModelConfig, kind: hugging_face.Kind
) -> None:
    """Writes what both sides read."""
    vocabulary = LIBRISPEECH if task["ctc"] else None
    description = Description(kind.objective.name, model, vocabulary, False)
    loaded = Loaded(folder, description, random_weights(model, kind.parts))
    hugging_face.save(loaded, folder / "model")
    write_json(folder / "task.json", task)
    np.savez(folder / "inputs.npz", **inputs)


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
    """The processes of the peer as it is."""
    peer, theirs = arguments.peer, PEERS[arguments.peer]
    sides = [Side(f"{peer} eager", theirs, folder)]
    if arguments.lengths:
        sides.append(Side(f"{peer} eager, one by one", theirs, folder, "--alone"))
    return sides


def check(folder: Path, arguments) -> dict[str, float]:
    """Both sides once, in processes that then end; the differences. One process at a time, or
    with --together both: a missing torch is found first."""
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
    """Our time over theirs, of --what train or infer."""
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
        "what": arguments.what, "peer": arguments.peer, "objective": arguments.objective,
        "dtype": arguments.dtype, "dropout": arguments.dropout, "repeats": arguments.repeats,
        "accumulate": arguments.accumulate, **facts,
        "norms_below_floor": differences.pop("norms_below_floor", 0),
        "differences": differences, "sides": table,
        **ratios,
        **{f"median_of_paired_ratios_to_{name}": pairs[name] for name in pairs if name != "ours"},
        **{
            f"memory_ratio_to_{name}": peaks["ours"] / peaks[name]
            for name in peaks if name != "ours"
        },
    }  # fmt: skip
