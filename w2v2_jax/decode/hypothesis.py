"""What every decoder gives back, and the shape of a decoder."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.decode.alignment import Word


class Hypothesis(NamedTuple):
    """One reading of an utterance of T frames."""

    text: str
    score: float  # what the decoder ranks by, greater is better
    words: list[Word]  # with seconds
    tokens: np.ndarray  # [T] int, the symbol of each frame (blanks and repeats included)
    acoustic_score: float  # natural log probability of the best alignment found
    lm_score: float  # of the language model alone, unweighted (log10 for an n-gram model)


class Decoder(Protocol):
    """Logits [T, C] of one utterance -> hypotheses, best first; never empty.

    Decoders are values: equal fields decode equally, and they can be sent to other processes.
    `prepare` loads what the decoder needs (raises InputError if it cannot); calling does so too.
    """

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]: ...

    def prepare(self) -> None: ...


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[T, C] float32 natural log probabilities, contiguous."""
    shifted = np.asarray(logits, np.float32)
    shifted = shifted - shifted.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.ascontiguousarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
