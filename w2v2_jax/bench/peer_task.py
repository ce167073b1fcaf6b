"""What both sides of a comparison with another framework get: weights, input, draws and task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2v2_jax import trees
from w2v2_jax.bench import step
from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.interop import hugging_face, names
from w2v2_jax.models import flops, row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.paths import write_json
from w2v2_jax.vocabulary import LIBRISPEECH

# Hugging Face has these two networks; `task.json` says "ctc": true or false.
PRETRAINING, TUNED = (hugging_face.KINDS[f"Wav2Vec2For{x}"] for x in ("PreTraining", "CTC"))
PEER_OBJECTIVES = tuple(kind.objective.name for kind in (PRETRAINING, TUNED))
TEMPERATURE = 2.0
EQUAL = dict(  # Hugging Face has no gradient scale; its LayerDrop is a branch on the host
    layer_drop=0.0,
    dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.0,
    input_dropout=0.0,
    quantizer_dropout=0.0,
    final_dropout=0.0,
)
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
        "mask": draws.mask,
        "negatives": draws.negatives,
        "gumbel": draws.gumbel,
        "flat_negatives": negatives,
        "flat_gumbel": gumbel.reshape(-1, entries),
        **{f"slots_{name}": value for name, value in draws.slots._asdict().items()},
    }


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
        what="train",
        ctc=ctc,
        dtype=arguments.dtype,
        model=timed,
        accumulate=arguments.accumulate,
        temperature=TEMPERATURE,
        mixed=False,
        objective=objective,
        arguments={k: v for k, v in vars(arguments).items() if k != "json"},
    )
    write(folder, task, inputs, dataclasses.replace(built.model, **timed), kind)
    return {
        "shape": list(shape),
        "frames": shape[0] * frames,
        "samples": shape[0] * shape[1],
        "model_flops": shape[0] * flops.train_flops(built.model, shape[1]),
        "model": dataclasses.asdict(dataclasses.replace(built.model, **timed)),
        "execution": dataclasses.asdict(settings.execution),
    }


def write_inference(folder: Path, arguments) -> dict:
    """The folder of an inference task; returns facts for the JSON."""
    model, execution, _ = step.infer_config(arguments, **EQUAL)
    lengths = step.lengths_of(arguments)
    waveforms = step.noise_waveforms(lengths)
    inputs = {f"u{i}": waveform[None] for i, waveform in enumerate(waveforms)}
    task = dict(
        what="infer",
        ctc=True,
        dtype=arguments.dtype,
        utterances=len(lengths),
        mixed=bool(arguments.lengths),
        accumulate=1,
        execution=dataclasses.asdict(execution),
    )
    write(folder, task, inputs, model, TUNED)
    return {
        "shape": [len(lengths), max(lengths)],
        "lengths_samples": lengths,
        "samples": sum(lengths),
        "frames": int(sum(frame_counts(n, model.conv_layers) for n in lengths)),
        "model_flops": sum(flops.forward_flops(model, n) for n in lengths),
        "model": dataclasses.asdict(model),
        "execution": dataclasses.asdict(execution),
    }


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
