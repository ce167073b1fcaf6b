"""A checkpoint as an object: logits, features, units and transcripts of 16 kHz waveforms."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax import checkpoint
from w2v2_jax.checkpoint import Description, Loaded
from w2v2_jax.decode.lines import Line
from w2v2_jax.errors import InputError
from w2v2_jax.models.feature_extractor import frame_counts
from w2v2_jax.models.stacking import join_layers, to_device
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC, Wav2Vec2ForPretraining
from w2v2_jax.partition import COMPILER_OPTIONS
from w2v2_jax.paths import AnyPath, is_remote, read_json, to_path
from w2v2_jax.recognition import long_audio, recognise
from w2v2_jax.recognition.transcript import Result

SAMPLE_RATE = 16000
EPSILON = 1e-5
BUCKETS_SECONDS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 25, 30, 40, 60)
BATCH_SECONDS = 60.0  # audio of one batch
WHOLE_SAMPLES = BUCKETS_SECONDS[-1] * SAMPLE_RATE  # longer recordings come in chunks


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
        return "model_type" in read_json(path / "config.json")
    except InputError:
        return False


@dataclasses.dataclass(frozen=True)
class Model:
    """Parameters on the default device with the functions people call; made by `load`.

    params: the network's tree, its stacked layers whole or as `split_layers` leaves them.
    """

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

        def apply(method, **options):
            def run(params, waveforms, num_samples):
                variables = {"params": join_layers(params)}
                return network.apply(variables, waveforms, num_samples, method=method, **options)

            return jax.jit(run, compiler_options=COMPILER_OPTIONS.get(jax.default_backend()))

        states = apply("encode", hidden_states=True)
        return {"call": apply(None), "units": apply("units"), "states": states}

    def _prepare(self, waveforms, num_samples, statistics=None):
        """Checks and normalises waveforms [B, S] with the model's own input scale, from the rows'
        own mean and variance or those (numbers) of the recording they are cut from."""
        waveforms = np.atleast_2d(np.asarray(waveforms, np.float32))
        if num_samples is None:
            num_samples = np.full(len(waveforms), waveforms.shape[1], np.int32)
        num_samples = np.asarray(num_samples, np.int32)
        shortest = int(num_samples.min())
        if int(frame_counts(shortest, self.description.model.conv_layers)) < 1:
            raise InputError(f"{shortest} samples of audio are too short for one frame (25 ms)")
        real = np.arange(waveforms.shape[1]) < num_samples[:, None]
        waveforms = np.where(real, waveforms, 0.0)
        if self.description.normalise and statistics is not None:
            scaled = (waveforms - statistics.mean) / np.sqrt(statistics.variance + EPSILON)
            waveforms = np.where(real, scaled, 0.0)
        elif self.description.normalise:
            count = num_samples[:, None]
            mean = waveforms.sum(1, keepdims=True) / count
            variance = (np.square(waveforms - mean) * real).sum(1, keepdims=True) / count
            waveforms = np.where(real, (waveforms - mean) / np.sqrt(variance + EPSILON), 0.0)
        return jnp.asarray(waveforms, jnp.float32), jnp.asarray(num_samples)

    def logits(self, waveforms, num_samples=None, *, statistics=None) -> np.ndarray:
        """[B, S] raw 16 kHz waveforms -> CTC logits [B, T, C]; frames past a row's end are junk.

        statistics: `long_audio.Statistics` of the recording that the rows are cut from.
        """
        if self.description.objective != "ctc":
            raise InputError(f"{self.path} is a pretraining checkpoint; it has no CTC head")
        inputs = self._prepare(waveforms, num_samples, statistics)
        logits, _ = self._functions["call"](self.params, *inputs)
        return np.asarray(logits)

    def features(self, waveforms, num_samples=None, layer: int = -1) -> np.ndarray:
        """[B, T, D]: -1 is the context network's output, i >= 0 the input of block i."""
        return self.layers(waveforms, num_samples, layers=(layer,))[:, :, 0]

    def layers(
        self, waveforms, num_samples=None, *, layers: Sequence[int], statistics=None
    ) -> np.ndarray:
        """[B, T, L, D] of several layers, as in `features`, in one pass."""
        last = self.description.model.num_layers
        for layer in layers:
            if not -1 <= layer <= last:
                raise InputError(f"layer={layer} is outside -1..{last}")
        inputs = self._prepare(waveforms, num_samples, statistics)
        encoded = self._functions["states"](self.params, *inputs)
        chosen = [encoded.context if layer == -1 else encoded.states[layer] for layer in layers]
        return np.stack([np.asarray(layer) for layer in chosen], axis=2)

    def units(self, waveforms, num_samples=None, *, statistics=None) -> np.ndarray:
        """[B, T, G] quantizer entries of a pretraining checkpoint."""
        model, pretraining = self.description.model, "target_projection" in self.params
        if pretraining and not model.quantize_targets:
            raise InputError(f"{self.path} has no units: model.quantize_targets=False")
        if "quantizer" not in self.params and not (pretraining and model.same_quantizer):
            raise InputError(f"{self.path} has no quantizer; only pretraining checkpoints do")
        inputs = self._prepare(waveforms, num_samples, statistics)
        return np.asarray(self._functions["units"](self.params, *inputs))

    def batched_logits(
        self, waveforms: Sequence[np.ndarray], *, batch_seconds: float = BATCH_SECONDS
    ) -> Iterable[tuple[int, np.ndarray]]:
        """(index, logits [T, C]) of many waveforms [S], batched by length, in that order."""
        return self.batched(self.logits, waveforms, batch_seconds=batch_seconds)

    def batched(
        self, apply: Callable, waveforms: Sequence[np.ndarray], *, batch_seconds: float
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, [T, ...]) of many waveforms [S], batched by length, in that order; those above
        the largest bucket come in chunks, see `stitched`.

        apply: a method of this model from waveforms, num_samples and statistics to [B, T, ...].
        """
        conv_layers = self.description.model.conv_layers
        order = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))
        while order:
            if len(waveforms[order[0]]) > WHOLE_SAMPLES:
                i = order.pop(0)
                yield i, np.concatenate(list(self.stitched(apply, lambda i=i: [waveforms[i]])))
                continue
            size = _bucket(len(waveforms[order[0]]))
            most = max(1, int(batch_seconds * SAMPLE_RATE / size))
            group = [i for i in order[:most] if len(waveforms[i]) <= size]
            order = order[len(group) :]
            # A group that does not fill a batch gets one of the next power of two: few shapes,
            # and a single utterance is computed once, not as often as a batch has rows.
            rows = min(most, 1 << (len(group) - 1).bit_length())
            padded = np.zeros((rows, size), np.float32)
            counts = np.full(rows, size, np.int32)
            for row, i in enumerate(group):
                padded[row, : len(waveforms[i])] = waveforms[i]
                counts[row] = len(waveforms[i])
            found = apply(padded, counts)
            for row, i in enumerate(group):
                yield i, found[row, : int(frame_counts(len(waveforms[i]), conv_layers))]

    def stitched_logits(self, blocks: Callable, **sizes) -> Iterator[np.ndarray]:
        """Logits [t, C] of a recording of any length, piece by piece; see `stitched`."""
        return self.stitched(self.logits, blocks, **sizes)

    def stitched(
        self, apply: Callable, blocks: Callable, *,
        chunk_seconds: float = recognise.CHUNK_SECONDS,
        context_seconds: float = recognise.CONTEXT_SECONDS, batch_seconds: float = 60.0,
    ) -> Iterator[np.ndarray]:  # fmt: skip
        """What `apply` gives of a recording of any length, [t, ...] from overlapping chunks.

        blocks: a function that gives the recording's 16 kHz samples as blocks [n]. A model that
        normalises takes mean and variance of the whole recording, as in training (of whole
        utterances), so that overlapping chunks see the same numbers: blocks is then called twice.
        """
        try:
            grid = long_audio.make_grid(
                self.description.model.conv_layers,
                chunk_samples=int(chunk_seconds * SAMPLE_RATE),
                context_samples=int(context_seconds * SAMPLE_RATE),
            )
        except ValueError as error:
            raise InputError(
                f"chunk_seconds={chunk_seconds:g} with context_seconds={context_seconds:g} keeps "
                "nothing; the chunk must be longer than twice the context"
            ) from error
        statistics = long_audio.measure(blocks()) if self.description.normalise else None
        return long_audio.stitched(
            blocks(), grid, lambda w, n: apply(w, n, statistics=statistics),
            rows=max(1, int(batch_seconds / chunk_seconds)),
        )  # fmt: skip

    def transcribe(self, inputs, **options) -> list[Result]:
        """Transcripts of files (any format and rate) or of arrays, in order.

        options: those of `recognise.Options`, among them sample_rate of arrays (16000), decoder,
        vad, chunk_seconds and context_seconds. Raises InputError that names what cannot be used.
        """
        return list(recognise.transcribe(self, inputs, recognise.make_options(options)))

    def align(self, source, lines: Sequence[str], **options) -> list[Line]:
        """Where the lines of a transcript lie in a recording, in the order they are spoken."""
        return recognise.align(self, source, lines, recognise.make_options(options))


def _bucket(samples: int) -> int:
    """The row length a waveform of at most WHOLE_SAMPLES is padded to."""
    return next(s for s in BUCKETS_SECONDS if samples <= s * SAMPLE_RATE) * SAMPLE_RATE


def load(path: str | Path, *, language: str | None = None) -> Model:
    """Anything --checkpoint takes -> a Model ready to use; language as in `load_any`."""
    loaded = load_any(path, language=language)
    return Model(loaded.path, loaded.description, to_device(loaded.params))
