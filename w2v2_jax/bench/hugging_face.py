"""Hugging Face's side of a comparison: `python -m w2v2_jax.bench.hugging_face FOLDER`.

Its own process holds torch and no JAX. FOLDER is as for `ours`; --check writes `theirs.npz`;
--compile puts the model through torch.compile. Runs on the GPU where torch sees one.
`torchaudio_model` is the same with another model.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import time
from pathlib import Path

import numpy as np

from w2v2_jax.bench.child import resident_peak_bytes, serve
from w2v2_jax.errors import InputError, lacking


def import_torch():
    """(torch, transformers); InputError if they are missing."""
    try:
        import torch
        import transformers
    except ImportError as error:
        needed, install = "--peer hf needs torch and transformers", "pip install torch transformers"
        raise InputError(lacking(error, needed, install)) from error
    return torch, transformers


class HuggingFaceBench:
    """The task, its inputs as tensors on the device, and the model with the shared weights."""

    def __init__(self, folder: Path):
        self.torch, transformers = import_torch()
        transformers.logging.set_verbosity_error()
        self.task = json.loads((folder / "task.json").read_text("utf-8"))
        self.inputs = dict(np.load(folder / "inputs.npz"))
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        ctc = self.task["ctc"]
        kind = transformers.AutoModelForCTC if ctc else transformers.AutoModelForPreTraining
        self.model = kind.from_pretrained(folder / "model").to(self.device)
        self.attention = self.model.config._attn_implementation
        if ctc:
            self.model.freeze_feature_encoder()

    def tensor(self, array):
        return self.torch.as_tensor(array).to(self.device)

    def precision(self):
        """Autocast to the task's dtype; nothing for float32."""
        if self.task["dtype"] == "float32":
            return contextlib.nullcontext()
        return self.torch.autocast(self.device, dtype=getattr(self.torch, self.task["dtype"]))

    def batch(self) -> dict:
        """Keyword arguments of a training step's forward pass."""
        inputs = self.inputs
        if self.task["ctc"]:
            return {
                "input_values": self.tensor(inputs["waveforms"]),
                "labels": self.tensor(inputs["labels"].astype(np.int64)),
            }
        return {
            "input_values": self.tensor(inputs["waveforms"]),
            "mask_time_indices": self.tensor(inputs["mask"]),
            "sampled_negative_indices": self.tensor(inputs["flat_negatives"].astype(np.int64)),
        }

    def logits_of(self, model, waveforms, real):
        """Logits [B, T, C] of waveforms [B, S], of which `real` [B, S] (0 or 1) are no padding."""
        mask = None if real.all() else self.tensor(real)
        return model(self.tensor(waveforms), attention_mask=mask).logits

    def utterances(self) -> list[np.ndarray]:
        return [self.inputs[f"u{i}"][0] for i in range(self.task["utterances"])]

    def synchronise(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def peak_bytes(self) -> int:
        if self.device == "cuda":
            return self.torch.cuda.max_memory_allocated()
        return resident_peak_bytes()

    def facts(self) -> dict:
        import transformers

        torch = self.torch
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "device": name,
            "threads": torch.get_num_threads(),
            "attention": self.attention,
        }


def given_gumbel(logits, tau=1.0, hard=True, *, noise):
    """torch's gumbel_softmax with given noise: hard sample forward, soft gradient backward."""
    import torch

    soft = torch.nn.functional.softmax((logits + noise.to(logits)) / tau, dim=-1)
    chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return chosen - soft.detach() + soft


def gradients(bench: HuggingFaceBench) -> dict[str, np.ndarray]:
    """Loss and the norm of every gradient, with the given draws and without dropout."""
    functional = bench.torch.nn.functional
    without_dropout(bench.model)
    bench.model.train()
    original = functional.gumbel_softmax
    if not bench.task["ctc"]:
        bench.model.set_gumbel_temperature(bench.task["temperature"])
        noise = bench.tensor(bench.inputs["flat_gumbel"])
        functional.gumbel_softmax = functools.partial(given_gumbel, noise=noise)
    try:
        with bench.precision():
            loss = bench.model(**bench.batch()).loss
    finally:
        functional.gumbel_softmax = original
    loss.backward()
    values = {"loss": np.float32(loss.detach().cpu())}
    for name, parameter in bench.model.named_parameters():
        norm = 0.0 if parameter.grad is None else float(parameter.grad.norm())
        values[f"norm/{name}"] = np.float32(norm)
    return values


def without_dropout(model) -> None:
    """Sets every rate of dropout in a torch module to 0."""
    for module in model.modules():
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0


def logits(bench: HuggingFaceBench) -> dict[str, np.ndarray]:
    """Logits of every utterance alone."""
    bench.model.eval()
    values = {}
    with bench.torch.inference_mode(), bench.precision():
        for i, waveform in enumerate(bench.utterances()):
            real = np.ones((1, len(waveform)), np.int64)
            out = bench.logits_of(bench.model, waveform[None], real)
            values[f"u{i}"] = out[0].float().cpu().numpy()
    return values


def train_function(bench: HuggingFaceBench, compiled: bool):
    """One step: forward, backward, AdamW in its fused form."""
    model = bench.model.train()
    optimizer = bench.torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad),
        lr=1e-4,
        betas=(0.9, 0.98),
        eps=1e-6,
        weight_decay=0.01,
        fused=True,
    )
    batch = bench.batch()
    forward = bench.torch.compile(model) if compiled else model
    parts = bench.task["accumulate"]
    pieces = [{k: x[i::parts] for k, x in batch.items()} for i in range(parts)]
    if parts > 1 and "sampled_negative_indices" in batch:
        raise InputError("--accumulate with --peer is for --objective ctc")

    def run():
        for piece in pieces:
            with bench.precision():
                loss = forward(**piece).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        bench.synchronise()

    return run


def infer_function(bench: HuggingFaceBench, compiled: bool, alone: bool):
    """Logits of all utterances as numpy arrays: either one padded batch with its attention mask,
    as users of these frameworks do, or one utterance at a time."""
    torch, model = bench.torch, bench.model.eval()
    forward = torch.compile(model) if compiled else model
    waveforms = bench.utterances()
    groups = [[waveform] for waveform in waveforms] if alone else [waveforms]

    def run():
        for group in groups:
            longest = max(len(waveform) for waveform in group)
            padded = np.zeros((len(group), longest), np.float32)
            real = np.zeros((len(group), longest), np.int64)
            for row, waveform in enumerate(group):
                padded[row, : len(waveform)], real[row, : len(waveform)] = waveform, 1
            with torch.inference_mode(), bench.precision():
                bench.logits_of(forward, padded, real).float().cpu().numpy()

    return run


def main(side: type[HuggingFaceBench] = HuggingFaceBench) -> None:
    """Runs this side's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()

    def prepare():
        bench = side(options.folder)
        training = bench.task["what"] == "train"
        if options.check:
            values = (gradients if training else logits)(bench)
            np.savez(options.folder / "theirs.npz", **values)
            return bench.facts(), None, bench.peak_bytes
        if training:
            run = train_function(bench, options.compile)
        else:
            run = infer_function(bench, options.compile, options.alone)
        start = time.perf_counter()
        run()
        return (
            bench.facts() | {"first_call_seconds": time.perf_counter() - start},
            run,
            bench.peak_bytes,
        )

    serve(prepare)


if __name__ == "__main__":
    main()
