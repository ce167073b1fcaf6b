"""Our side of a comparison, in a process of its own: `python -m w2v2_jax.bench.ours FOLDER`.

FOLDER holds a Hugging Face directory `model`, `task.json` and `inputs.npz` (see `peer`). With
--check the side computes what is compared instead of being timed: losses, norms of every gradient
under Hugging Face's names, or logits, into `ours.npz`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import Batch
from w2v2_jax.bench import step
from w2v2_jax.bench.child import serve
from w2v2_jax.bench.measure import keep_memory, peak_memory_bytes, versions
from w2v2_jax.experiment.states import started_from
from w2v2_jax.inference import load
from w2v2_jax.interop import hugging_face, names
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE
from w2v2_jax.models import masking
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.contrastive import Draws
from w2v2_jax.partition import COMPILER_OPTIONS
from w2v2_jax.system import cpu_memory


def read(folder: Path):
    """(task, inputs): what both sides are given."""
    return json.loads((folder / "task.json").read_text("utf-8")), np.load(folder / "inputs.npz")


def experiment_of(task: dict):
    """The experiment of a training task."""
    arguments = argparse.Namespace(**task["arguments"])
    return step.build(step.settings_of(arguments, model=task["model"], **task["objective"]))


def batch_of(inputs) -> Batch:
    """The batch as numpy arrays."""
    optional = (inputs.get(name) for name in ("labels", "num_labels"))
    waveforms = inputs["waveforms"]
    return Batch(waveforms, inputs["num_samples"], np.ones(len(waveforms), np.float32), *optional)


def gradients(folder: Path) -> dict[str, np.ndarray]:
    """The summed loss of the given draws without dropout, and the norm of every gradient."""
    task, inputs = read(folder)
    built, batch = experiment_of(task), batch_of(inputs)
    params = hugging_face.load(folder / "model").params
    objective = built.objective.at(10**9)

    def loss(params):
        if task["ctc"]:
            audio = batch.waveforms, batch.num_samples
            logits, counts = objective.network.apply({"params": params}, *audio)
            return objective.terms(logits, counts, batch).loss
        slots = masking.Slots(*(jnp.asarray(inputs[f"slots_{x}"]) for x in masking.Slots._fields))
        draws_given = (inputs["mask"], slots, inputs["negatives"], inputs["gumbel"])
        draws = Draws(*(jax.tree.map(jnp.asarray, x) for x in draws_given))
        return objective.terms(params, batch, draws, None, 0).loss

    options = COMPILER_OPTIONS.get(jax.default_backend())
    value, gradient = jax.jit(jax.value_and_grad(loss), compiler_options=options)(params)
    tensors = names.split(jax.tree.map(np.asarray, gradient), HUGGING_FACE)
    return {"loss": value, **{f"norm/{k}": np.linalg.norm(x) for k, x in tensors.items()}}


def logits(folder: Path) -> dict[str, np.ndarray]:
    """Logits of every utterance alone."""
    task, inputs = read(folder)
    model = load(folder / "model", execution=Execution(**task["execution"]))
    return {name: model.logits(inputs[name])[0] for name in inputs.files if name.startswith("u")}


def train(folder: Path):
    """The train step that trains, from Hugging Face's weights."""
    task, inputs = read(folder)
    built = experiment_of(task)
    compiled, batch, seconds = step.compile_step(built, batch_of(inputs))
    params = hugging_face.load(folder / "model").params
    params = jax.tree.map(jax.device_put, params, built.state_shardings.params)
    state = started_from(built, built.init(), cpu_memory.owned(params))
    run = step.stepper(compiled, state, batch, built.seed)
    return {"compile_seconds": seconds}, run


def infer(folder: Path):
    """Transcription's logits of all utterances."""
    task, inputs = read(folder)
    waveforms = [inputs[f"u{i}"][0] for i in range(task["utterances"])]
    model = load(folder / "model", execution=Execution(**task["execution"]))
    run = step.transcriber(model, waveforms, mixed=task["mixed"])
    return {}, run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    task, _ = read(options.folder)
    training = task["what"] == "train"

    def prepare():
        keep_memory(task["what"])
        facts = {"versions": versions("jax", "jaxlib", "flax", "numpy")}
        facts["device"] = jax.devices()[0].device_kind
        if options.check:
            values = (gradients if training else logits)(options.folder)
            np.savez(options.folder / "ours.npz", **values)
            return facts, None, peak_memory_bytes
        more, run = (train if training else infer)(options.folder)
        return facts | more, run, peak_memory_bytes

    serve(prepare)


if __name__ == "__main__":
    main()
