"""The result of every decoder, and the interface of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from w2v2_jax.decode.alignment import Word
from w2v2_jax.errors import InputError

NO_TEXT = (
    "beam search: no text has a finite score; check the language model's probabilities and the "
    "decoder's weights"
)


class Hypothesis(NamedTuple):
    """One reading of an utterance of T frames."""

    text: str
    score: float  # what the decoder ranks by, greater is better
    words: list[Word]  # with seconds
    tokens: np.ndarray  # [T] int, the symbol of each frame (blanks and repeats included)
    acoustic_score: float  # natural log probability of the best alignment found
    lm_score: float  # of the language model alone, unweighted (log10 for an n-gram model)


class Result(NamedTuple):
    """A beam search's result for one hypothesis, over all T frames."""

    tokens: np.ndarray  # [T] int64, the symbol of each frame
    words: np.ndarray  # [T] int64, the word that is complete with the frame, else negative
    score: float
    acoustic_score: float
    lm_score: float


class Decoder(Protocol):
    """Logits [T, C] of one utterance -> hypotheses, best first; never empty.

    Decoders are values: equal fields decode equally, and they can be sent to other processes.
    `prepare` loads what the decoder needs (raises InputError if it cannot); calling does so too.
    writes_words: whether texts are words of a lexicon, and not what the symbols spell.
    lexicon_words: these words, each once; none if the symbols spell the texts.
    """

    @property
    def writes_words(self) -> bool: ...

    @property
    def lexicon_words(self) -> Sequence[str]: ...

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]: ...

    def prepare(self) -> None: ...


def broken_frames(logits: np.ndarray) -> np.ndarray:
    """Numbers of the frames of logits [T, C] that cannot be used: a value is NaN or plus infinity,
    or all are minus infinity (a single one only rules out its class)."""
    return np.flatnonzero(~np.isfinite(logits.max(axis=-1, initial=-np.inf)))


def check_finite(logits: Any, *, where: str, first: int = 0) -> np.ndarray:
    """The logits [T, C], whose frame 0 is frame `first` of the utterance; InputError, which begins
    with `where`, on `broken_frames`."""
    logits = np.asarray(logits)
    bad = broken_frames(logits)
    if len(bad):
        raise InputError(
            f"{where}: the logits of {len(bad)} of {len(logits)} frames, the first of them frame "
            f"{first + bad[0]}, are not finite numbers; is the checkpoint or the file damaged?"
        )
    return logits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[T, C] float32 natural log probabilities, contiguous; InputError as `check_finite`."""
    shifted = np.asarray(check_finite(logits, where="logits"), np.float32)
    shifted = shifted - shifted.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.ascontiguousarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
