"""What a model makes of every utterance of a prepared corpus, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from w2v2_jax.data.store import Corpus

if TYPE_CHECKING:
    from w2v2_jax.inference import Model

CHUNK = 1024  # utterances whose audio is held at once


def corpus_frames(
    model: Model, corpus: Corpus, apply: Callable, *, batch_seconds: float
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, [T, ...]) of every utterance of a corpus, in an order of its own.

    apply: a method of the model, such as `model.logits`; see `Model.batched`.
    """
    for first in range(0, len(corpus), CHUNK):
        indices = range(first, min(first + CHUNK, len(corpus)))
        waveforms = [
            corpus.read(i, 0, int(corpus.num_samples[i])).astype(np.float32) / 32768
            for i in indices
        ]
        for offset, found in model.batched(apply, waveforms, batch_seconds=batch_seconds):
            yield first + offset, found
