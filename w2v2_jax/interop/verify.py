"""Runs the same audio through this network and through the other framework, if it is installed.

Only `--verify` uses this module; torch and the framework are imported then.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.errors import InputError, lacking
from w2v2_jax.input_scale import normalised
from w2v2_jax.interop import torchaudio_file
from w2v2_jax.recognition.network import Network

TOLERANCE = 1e-3  # of the largest value; equal networks differ by about 1e-6
SYNTHETIC = "synthetic"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """--verify, for convert and export."""
    parser.add_argument(
        "--verify",
        nargs="?",
        const=SYNTHETIC,
        metavar="AUDIO",
        help="also run the other framework, on this file or on two seconds of tones and noise, "
        "and print the largest difference; nothing is written if it is large. Only for files "
        "you trust: fairseq's own loader runs what a pickle names",
    )


def refuse_unable(audio: str | None, framework: str) -> None:
    """InputError, before the work is done, if --verify is asked for a format that has no other code
    to run, or whose code is not installed."""
    if audio is None:
        return
    if framework not in FRAMEWORKS:
        raise InputError(f"--verify goes with {', '.join(FRAMEWORKS)}; {framework} has no code")
    needed = [name for name in PACKAGES[framework] if name not in sys.modules]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"--verify runs {framework} itself, which needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}; or leave --verify out"
        )
    _waveform(audio)  # what cannot be read is told now


def report(loaded: Loaded, framework: str, path: Path, audio: str | None) -> list[str]:
    """Remarks for the printed check: the difference; [] if it is not asked for.

    Raises InputError if the two differ by more than TOLERANCE, or if the other cannot be run.
    """
    if audio is None:
        return []
    waveform = _waveform(audio)
    what = "CTC logits" if loaded.description.objective_class.ctc_head else "context"
    try:
        with _quiet():
            theirs = FRAMEWORKS[framework](loaded, path, _scaled(waveform, loaded))
    except ImportError as error:
        needed = f"nothing is written: --verify needs {framework}"
        install = f"pip install {' '.join(PACKAGES[framework])}"
        raise InputError(lacking(error, needed, install)) from error
    model = Network(loaded.path, loaded.description, loaded.params)
    ours = model.logits(waveform) if what == "CTC logits" else model.features(waveform)
    if ours.shape != theirs.shape:
        raise InputError(f"{path}: {framework} gives {what} {theirs.shape}, this one {ours.shape}")
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    text = f"{what} of {framework} on {audio} audio differ by at most {difference:.1e}"
    if not difference <= TOLERANCE * largest:
        raise InputError(f"{path}: {text} where the largest is {largest:.3g}; not the same network")
    return [f"verified: {text} (the largest is {largest:.3g})"]


def _waveform(audio: str) -> np.ndarray:
    if audio != SYNTHETIC:
        from w2v2_jax.data.audio import load_audio

        return load_audio(audio)
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * pitch * time * (1 + 0.1 * time)) for pitch in (130, 410, 1900))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * tones + 0.02 * noise).astype(np.float32)


def _scaled(waveform: np.ndarray, loaded: Loaded) -> np.ndarray:
    """[1, S] as the other framework's network takes it."""
    description, waveforms = loaded.description, waveform[None].astype(np.float32)
    if not description.normalise:
        return waveforms
    return normalised(waveforms, np.array([len(waveform)]), description.normalise_epsilon)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Their warnings and prints are not part of the check."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), open(os.devnull, "w") as sink:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(sink):
            try:
                yield
            finally:
                logging.disable(level)


def hugging_face(loaded: Loaded, path: Path, waveform: np.ndarray) -> np.ndarray:
    """Logits or context [1, T, C] of transformers."""
    import torch
    from transformers import AutoModel, AutoModelForCTC

    tuned = loaded.description.objective_class.ctc_head
    network = (AutoModelForCTC if tuned else AutoModel).from_pretrained(
        path, local_files_only=True, trust_remote_code=False
    )
    network.eval()
    with torch.no_grad():
        output = network(torch.from_numpy(waveform))
    return (output.logits if tuned else output.last_hidden_state).numpy()


def fairseq(loaded: Loaded, path: Path, waveform: np.ndarray) -> np.ndarray:
    """Logits or context [1, T, C] of fairseq's own loader and model."""
    import torch
    from fairseq import checkpoint_utils

    (network,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    network.eval()
    source = torch.from_numpy(waveform)
    with torch.no_grad():
        if loaded.description.objective_class.ctc_head:
            out = network(source=source, padding_mask=None)["encoder_out"].transpose(0, 1)
        else:
            out = network.extract_features(source, None)["x"]
    return out.numpy()


def torchaudio(loaded: Loaded, path: Path, waveform: np.ndarray) -> np.ndarray:
    """Logits or context [1, T, C] of torchaudio's model class."""
    import torch
    from torchaudio.models.wav2vec2.model import wav2vec2_model

    network = wav2vec2_model(**torchaudio_file.arguments(loaded.description)).eval()
    state = torch.load(path, weights_only=True)
    new_names = any("parametrizations" in name for name in network.state_dict())
    spelling = torchaudio_file.LEGACY_WEIGHT_NORM
    if new_names:
        spelling = {old: new for new, old in spelling.items()}
    network.load_state_dict({spelling.get(name, name): x for name, x in state.items()})
    with torch.no_grad():
        return network(torch.from_numpy(waveform))[0].numpy()


FRAMEWORKS: dict[str, Callable[[Loaded, Path, np.ndarray], np.ndarray]] = {
    "hf": hugging_face,
    "fairseq": fairseq,
    "torchaudio": torchaudio,
}
PACKAGES = {
    "hf": ("torch", "transformers"),
    "fairseq": ("torch", "fairseq"),
    "torchaudio": ("torch", "torchaudio"),
}
