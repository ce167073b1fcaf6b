"""Greedy (best path) CTC decoding: the most likely class of each frame, with repeats joined and
blanks removed.

Graves et al. 2006, section 3.2; the baseline for a beam search with a language model. Numpy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from w2v2_jax.decode import alignment
from w2v2_jax.decode.alignment import Alignment, collapse, path_probability
from w2v2_jax.decode.hypothesis import Hypothesis, check_finite, log_softmax
from w2v2_jax.vocabulary.units import CHARACTERS


def frame_choices(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [T, C] -> the most likely class [T] of each frame and its softmax probability [T]."""
    path = logits.argmax(axis=-1)
    return path, path_probability(path, logits)


def greedy(
    logits: np.ndarray, num_frames: int | Sequence[int] | np.ndarray, *, blank: int = 0
) -> list[Alignment]:
    """Best path of each utterance.

    Args:
      logits: [T, C] or [B, T, C], unnormalised or log probabilities.
      num_frames: valid frames, one number or [B]; later frames are not looked at.
      blank: the id of the CTC blank.
    """
    logits = np.asarray(logits)
    batch = logits if logits.ndim == 3 else logits[None]
    counts = np.atleast_1d(num_frames)
    if (
        batch.ndim != 3
        or counts.shape != batch.shape[:1]
        or np.any((counts < 0) | (counts > batch.shape[1]))
    ):
        raise ValueError(
            f"logits {logits.shape} do not fit num_frames {np.shape(num_frames)}: "
            "[T, C] with one number or [B, T, C] with [B], none over T"
        )
    return [
        collapse(*frame_choices(row[:count]), blank=blank)
        for row, count in zip(batch, counts, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class GreedyDecoder:
    """The likeliest class of each frame; its one hypothesis scores that path's log probability."""

    symbols: tuple[str, ...]
    blank: int = 0
    seconds_per_frame: float = alignment.SECONDS_PER_FRAME
    units: str = CHARACTERS
    writes_words: ClassVar[bool] = False
    lexicon_words: ClassVar[tuple[str, ...]] = ()

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        logits = check_finite(logits, where="logits")
        path = logits.argmax(axis=-1)
        words = alignment.words(
            alignment.align_path(path, logits, blank=self.blank),
            self.symbols,
            seconds_per_frame=self.seconds_per_frame,
            units=self.units,
        )
        score = float(log_softmax(logits).max(axis=-1, initial=-np.inf).sum()) if len(path) else 0.0
        return [Hypothesis(" ".join(w.word for w in words), score, words, path, score, 0.0)]
