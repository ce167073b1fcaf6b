"""A checkpoint as an object: logits, features, units and transcripts of 16 kHz waveforms."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax import checkpoint
from w2v2_jax.checkpoint import Description, Loaded
from w2v2_jax.decode import greedy as decoding
from w2v2_jax.decode.greedy_decoder import GreedyDecoder
from w2v2_jax.errors import InputError
from w2v2_jax.models.feature_extractor import frame_counts
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC, Wav2Vec2ForPretraining
from w2v2_jax.paths import AnyPath, is_remote, to_path

SAMPLE_RATE = 16000
EPSILON = 1e-5
BUCKETS_SECONDS = (1, 2, 4, 6, 8, 12, 16, 20, 25, 30, 40, 60)  # one compiled shape each


def load_any(path: str | AnyPath, *, language: str | None = None) -> Loaded:
    """A workdir, one step's directory or an exported Hugging Face directory -> its parts.

    language: whose adapters and head to take from a Hugging Face directory with a choice (MMS).
    """
    where = to_path(path)
    if (where / "config.json").is_file() and _is_hugging_face(where):
        if is_remote(where):
            raise InputError(f"{where}: copy the Hugging Face folder to this machine first")
        from w2v2_jax.interop import hugging_face

        return hugging_face.load(path, language=language)
    if language is not None:
        raise InputError(
            f"{path} is no Hugging Face directory with adapters; language={language!r} is "
            "chosen when such a one is converted or loaded"
        )
    return checkpoint.load(path)


def _is_hugging_face(path: AnyPath) -> bool:
    try:
        return "model_type" in json.loads((path / "config.json").read_text("utf-8"))
    except ValueError:
        return False


class Result(NamedTuple):
    """A transcript: where it came from, its text and its words with times in seconds."""

    path: str
    text: str
    words: list[decoding.Word]


@dataclasses.dataclass(frozen=True)
class Model:
    """Parameters on the default device with the functions people call; made by `load`."""

    path: Path
    description: Description
    params: Any

    def _network(self):
        # Dropout rates play no part here; LayerDrop and masks are never drawn.
        if self.description.objective == "ctc":
            return Wav2Vec2ForCTC(self.description.model, len(self.description.vocabulary))
        return Wav2Vec2ForPretraining(self.description.model)

    @functools.cached_property
    def _functions(self):
        network = self._network()

        def apply(method):
            return jax.jit(lambda p, w, n: network.apply({"params": p}, w, n, method=method))

        states = jax.jit(
            lambda p, w, n: network.apply({"params": p}, w, n, hidden_states=True, method="encode")
        )
        return {"call": apply(None), "units": apply("units"), "states": states}

    def _prepare(self, waveforms, num_samples):
        """Checks and normalises waveforms [B, S] with the model's own input scale."""
        waveforms = np.atleast_2d(np.asarray(waveforms, np.float32))
        if num_samples is None:
            num_samples = np.full(len(waveforms), waveforms.shape[1], np.int32)
        num_samples = np.asarray(num_samples, np.int32)
        shortest = int(num_samples.min())
        if int(frame_counts(shortest, self.description.model.conv_layers)) < 1:
            raise InputError(f"{shortest} samples of audio are too short for one frame (25 ms)")
        real = np.arange(waveforms.shape[1]) < num_samples[:, None]
        waveforms = np.where(real, waveforms, 0.0)
        if self.description.normalise:
            count = num_samples[:, None]
            mean = waveforms.sum(1, keepdims=True) / count
            variance = (np.square(waveforms - mean) * real).sum(1, keepdims=True) / count
            waveforms = np.where(real, (waveforms - mean) / np.sqrt(variance + EPSILON), 0.0)
        return jnp.asarray(waveforms, jnp.float32), jnp.asarray(num_samples)

    def logits(self, waveforms, num_samples=None) -> np.ndarray:
        """[B, S] raw 16 kHz waveforms -> CTC logits [B, T, C]; frames past a row's end are junk."""
        if self.description.objective != "ctc":
            raise InputError(f"{self.path} is a pretraining checkpoint; it has no CTC head")
        logits, _ = self._functions["call"](self.params, *self._prepare(waveforms, num_samples))
        return np.asarray(logits)

    def features(self, waveforms, num_samples=None, layer: int = -1) -> np.ndarray:
        """[B, T, D]: -1 is the context network's output, i >= 0 the input of block i."""
        layers = self.description.model.num_layers
        if not -1 <= layer <= layers:
            raise InputError(f"layer={layer} is outside -1..{layers}")
        encoded = self._functions["states"](self.params, *self._prepare(waveforms, num_samples))
        return np.asarray(encoded.context if layer == -1 else encoded.states[layer])

    def units(self, waveforms, num_samples=None) -> np.ndarray:
        """[B, T, G] quantizer entries of a pretraining checkpoint."""
        if "quantizer" not in self.params:
            raise InputError(f"{self.path} has no quantizer; only pretraining checkpoints do")
        return np.asarray(
            self._functions["units"](self.params, *self._prepare(waveforms, num_samples))
        )

    def batched_logits(
        self, waveforms: Sequence[np.ndarray], *, batch_seconds: float
    ) -> Iterable[tuple[int, np.ndarray]]:
        """(index, logits [T, C]) of many waveforms [S], batched by length, in that order."""
        conv_layers = self.description.model.conv_layers
        order = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))
        while order:
            size = _bucket(len(waveforms[order[0]]))
            rows = max(1, int(batch_seconds * SAMPLE_RATE / size))
            group = [i for i in order[:rows] if len(waveforms[i]) <= size]
            order = order[len(group) :]
            padded = np.zeros((rows, size), np.float32)
            counts = np.full(rows, size, np.int32)
            for row, i in enumerate(group):
                padded[row, : len(waveforms[i])] = waveforms[i]
                counts[row] = len(waveforms[i])
            logits = self.logits(padded, counts)
            for row, i in enumerate(group):
                yield i, logits[row, : int(frame_counts(len(waveforms[i]), conv_layers))]

    def transcribe(self, inputs, *, batch_seconds: float = 60.0, decoder=None) -> list[Result]:
        """Transcripts of files (any format and rate) or of 16 kHz arrays, in order; greedy unless
        a Decoder (`w2v2_jax.decode.make`) is given."""
        from w2v2_jax.data.audio import load_audio

        inputs = [inputs] if isinstance(inputs, (str, Path, np.ndarray)) else list(inputs)
        names = [
            str(x) if isinstance(x, (str, Path)) else f"array {i}" for i, x in enumerate(inputs)
        ]
        waveforms = [
            load_audio(x) if isinstance(x, (str, Path)) else np.asarray(x, np.float32)
            for x in inputs
        ]
        conv_layers = self.description.model.conv_layers
        for name, waveform in zip(names, waveforms, strict=True):
            if frame_counts(len(waveform), conv_layers) < 1:
                raise InputError(f"{name}: {len(waveform)} samples are too short for one frame")
        results: list[Result | None] = [None] * len(inputs)
        symbols = self.description.vocabulary.symbols if self.description.vocabulary else ()
        seconds = self.description.model.stride / SAMPLE_RATE
        decoder = decoder or GreedyDecoder(symbols, seconds_per_frame=seconds)
        for i, logits in self.batched_logits(waveforms, batch_seconds=batch_seconds):
            best = decoder(logits)[0]
            results[i] = Result(names[i], best.text, best.words)
        return results


def _bucket(samples: int) -> int:
    """The row length a waveform is padded to; above the largest bucket, whole minutes."""
    for seconds in BUCKETS_SECONDS:
        if samples <= seconds * SAMPLE_RATE:
            return seconds * SAMPLE_RATE
    return -(-samples // (60 * SAMPLE_RATE)) * 60 * SAMPLE_RATE


def load(path: str | Path, *, language: str | None = None) -> Model:
    """Anything --checkpoint takes -> a Model ready to use; language as in `load_any`."""
    loaded = load_any(path, language=language)
    return Model(loaded.path, loaded.description, jax.device_put(loaded.params))
