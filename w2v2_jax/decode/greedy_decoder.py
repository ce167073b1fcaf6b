"""Best-path decoding as a Decoder."""

from __future__ import annotations

import dataclasses

import numpy as np

from w2v2_jax.decode import greedy
from w2v2_jax.decode.hypothesis import Hypothesis, log_softmax


@dataclasses.dataclass(frozen=True)
class GreedyDecoder:
    """The likeliest class of each frame; its one hypothesis scores that path's log probability."""

    symbols: tuple[str, ...]
    blank: int = 0
    seconds_per_frame: float = greedy.SECONDS_PER_FRAME

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        logits = np.asarray(logits)
        path = logits.argmax(axis=-1)
        words = greedy.words(
            greedy.align_path(path, logits, blank=self.blank),
            self.symbols,
            seconds_per_frame=self.seconds_per_frame,
        )
        score = float(log_softmax(logits).max(axis=-1, initial=-np.inf).sum()) if len(path) else 0.0
        return [Hypothesis(" ".join(w.word for w in words), score, words, path, score, 0.0)]
