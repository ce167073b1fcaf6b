"""A checkpoint as an object: logits, features, units and transcripts of 16 kHz waveforms.

What people import. The work is done in `recognition`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from w2v2_jax.decode.lines import Line
from w2v2_jax.interop.load import load_any
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.layer_stack import to_device
from w2v2_jax.recognition import batches, recognise
from w2v2_jax.recognition.network import Network
from w2v2_jax.recognition.transcript import Result


class Model(Network):
    """Parameters on the default device with the functions people call; made by `load`."""

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

        options: those of `recognise.Options`, among them sample_rate of arrays (16000), decoder,
        vad, chunk_seconds and context_seconds. Raises InputError that names what cannot be used.
        """
        return list(recognise.transcribe(self, inputs, recognise.make_options(options)))

    def align(self, source, lines: Sequence[str], **options) -> list[Line]:
        """Where the lines of a transcript lie in a recording, in the order they are spoken."""
        return recognise.align(self, source, lines, recognise.make_options(options))


def load(path: str | Path, *, language: str | None = None, execution: Execution = PLAIN) -> Model:
    """Anything --checkpoint takes -> a Model ready to use; language as in `load_any`. execution:
    how it is computed, as `Execution(dtype="bfloat16")` on a GPU; plain float32 otherwise."""
    loaded = load_any(path, language=language)
    return Model(loaded.path, loaded.description, to_device(loaded.params), execution)
