"""A checkpoint as an object: logits, features, units and transcripts of 16 kHz waveforms.

This is the public Python interface. The work is done in `recognition`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from w2v2_jax.decode.lines import Line
from w2v2_jax.errors import InputError
from w2v2_jax.interop.load import load_any
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.families import family_of
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.models.layer_stack import to_device
from w2v2_jax.recognition import batches, recognise
from w2v2_jax.recognition import classify as classification
from w2v2_jax.recognition.network import Network
from w2v2_jax.recognition.options import make_options
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.recognition.waveforms import one_or_rows


class Model(Network):
    """A checkpoint with its parameters on the default device; made by `load`.

    Waveforms are raw 16 kHz samples [S] or [B, S], floats in -1 to 1 or integers of 8, 16 or 32
    bits; the model normalises them itself if it needs that. A list of waveforms of different
    lengths, or of dicts {"array": ..., "sampling_rate": ...} (which are resampled), gives a list of
    arrays [T, ...] of real frames, batched by length; those over 60 s are processed in chunks.
    Anything else gives one array [B, T, ...] from one pass of the network, whose attention needs
    memory for the square of T, however long the rows are. Both are NumPy arrays.

    num_samples [B]: the real samples of each row of an array [B, S], by default all. What follows
    them in a row has no effect on the row's real frames.

    Every method raises InputError, one line, for what it cannot use. Threads may share a model, and
    a pickled one compiles again. In a program of your own, under jax.jit or jax.grad, use the flax
    module `description.network()` with `join_layers(params)`; docs/notebook.md has an example.
    """

    def __repr__(self) -> str:
        model, vocabulary = self.description.model, self.description.vocabulary
        size = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        kind = "classes" if self.description.objective_class.class_labels else "symbols"
        symbols = f", {len(vocabulary)} {kind}" if vocabulary is not None else ""
        return (
            f"Model({self.path}: {self.description.objective}, {family_of(model)}, "
            f"{f'{size / 1e6:.1f} M' if size >= 1e6 else size} parameters{symbols})"
        )

    def num_frames(self, num_samples):
        """Frames made of so many samples, a number or an array of them; 0 if too short."""
        return frame_counts(num_samples, self.description.model.output_layers)

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one output frame to the next, 0.02 without an output adapter: frame t of
        `logits` begins at t times this."""
        return self.description.model.seconds_per_frame

    def logits(self, waveforms, num_samples=None, *, statistics=None):
        """CTC logits [B, T, C], or a list of [T, C]; see the class. Frames after a row's end (by
        num_samples [B]) have no meaning."""
        rows = waveforms if num_samples is not None else one_or_rows(waveforms)
        if isinstance(rows, list) and num_samples is None:
            return self._each(super().logits, rows)
        return super().logits(rows, num_samples, statistics=statistics)

    def features(self, waveforms, num_samples=None, layer: int = -1):
        """[B, T, D], or a list of [T, D]; -1 is the context network's output, i >= 0 the input of
        block i."""
        rows = waveforms if num_samples is not None else one_or_rows(waveforms)
        if isinstance(rows, list) and num_samples is None:
            every = self._each(functools.partial(self.layers, layers=(layer,)), rows)
            return [one[:, 0] for one in every]
        return super().features(rows, num_samples, layer)

    def units(self, waveforms, num_samples=None, *, statistics=None):
        """[B, T, G] quantizer entries of a pretraining checkpoint, or a list of [T, G]."""
        rows = waveforms if num_samples is not None else one_or_rows(waveforms)
        if isinstance(rows, list) and num_samples is None:
            return self._each(super().units, rows)
        return super().units(rows, num_samples, statistics=statistics)

    def classify(self, inputs, **options) -> list[classification.Classified]:
        """The class of each recording, for checkpoints of the objective `classify`; inputs as in
        `transcribe`, options batch_seconds and on_error."""
        return list(classification.classify(self, inputs, **options))

    def class_logits(self, waveforms, num_samples=None) -> np.ndarray:
        """[B, C] of a classifier of recordings."""
        return classification.class_logits(self, waveforms, num_samples)

    def frame_logits(self, waveforms, num_samples=None) -> np.ndarray:
        """[B, T, C] of a classifier of frames."""
        return classification.frame_logits(self, waveforms, num_samples)

    def embeddings(self, waveforms, num_samples=None) -> np.ndarray:
        """[B, E] of an x-vector model."""
        return classification.embeddings(self, waveforms, num_samples)

    def _each(self, apply: Callable, rows: list[np.ndarray]) -> list[np.ndarray]:
        for number, row in enumerate(rows):
            recognise.check_length(self, f"waveform {number}", len(row))
        every = dict(self.batched(apply, rows, batch_seconds=batches.BATCH_SECONDS))
        return [every[number] for number in range(len(rows))]

    def batched_logits(
        self, waveforms: Sequence[np.ndarray], *, batch_seconds: float = batches.BATCH_SECONDS
    ) -> Iterable[tuple[int, np.ndarray]]:
        """(index, logits [T, C]) of many waveforms [S], batched by length, in that order."""
        return self.batched(self.logits, waveforms, batch_seconds=batch_seconds)

    def batched(
        self, apply: Callable, waveforms: Sequence[np.ndarray], *, batch_seconds: float
    ) -> Iterator[tuple[int, np.ndarray]]:
        """See `recognition.batches.batched`; apply is a method of this model."""
        return batches.batched(self, apply, waveforms, batch_seconds=batch_seconds)

    def stitched_logits(self, blocks: Callable, **sizes) -> Iterator[np.ndarray]:
        """Logits [t, C] of a recording of any length, chunk by chunk; see `stitched`."""
        return self.stitched(self.logits, blocks, **sizes)

    def stitched(self, apply: Callable, blocks: Callable, **sizes) -> Iterator[np.ndarray]:
        """See `recognition.batches.stitched`; apply is a method of this model."""
        return batches.stitched(self, apply, blocks, **sizes)

    def transcribe(self, inputs, **options) -> list[Result]:
        """Transcripts of files (any format and rate) or of arrays, in order.

        inputs: one or several paths, arrays [S] or [S, channels], or dicts as in Hugging Face
            datasets, {"array": ..., "sampling_rate": ...}. A string is one path, and an array is
            one recording: the rows of an array [B, S] are list(array).
        options: those of `recognition.options.Options`, such as sample_rate of arrays in Hz
            (16000), decoder, vad, chunk_seconds and context_seconds.
        Raises InputError that names what cannot be used.
        """
        return list(recognise.transcribe(self, inputs, make_options(options)))

    def align(self, source, lines: str | Sequence[str], **options) -> list[Line]:
        """The times in seconds of the lines of a transcript in a recording, in the order in which
        they are spoken. A string is one line, or several if it has line breaks. source: one path,
        array or dict, as in `transcribe`; options: those of `recognition.options.Options`. Raises
        InputError also for a text that the model has no symbols for, or that is too long."""
        return recognise.align(self, source, lines, make_options(options, call="align"))


def load(path: str | Path, *, language: str | None = None, execution: Execution = PLAIN) -> Model:
    """Anything that --checkpoint takes -> a Model; language as in `load_any`. execution: how it is
    computed, for example `Execution(dtype="bfloat16")` on a GPU; by default plain float32."""
    if not isinstance(execution, Execution):
        raise InputError(
            f"execution={execution!r} is no w2v2_jax.models.execution.Execution, such as "
            'Execution(dtype="bfloat16")'
        )
    loaded = load_any(path, language=language)
    return Model(loaded.path, loaded.description, to_device(loaded.params), execution)
