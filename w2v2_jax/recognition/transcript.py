"""A transcript as an object: text, words and letters with times, and its form in notebooks."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.decode.alignment import Character, Word

SHOWN_WORDS = 500  # in a notebook


@dataclasses.dataclass(frozen=True)
class Result:
    """A transcript: where it came from, its text, and words and letters with times in seconds.

    Confidences are mean softmax probabilities. duration: seconds of audio, 0 if not known.
    """

    path: str
    text: str
    words: list[Word]
    characters: list[Character] = dataclasses.field(default_factory=list, repr=False)
    duration: float = 0.0

    @property
    def confidence(self) -> float:
        """Mean confidence of the words, 0 without any."""
        return float(np.mean([w.confidence for w in self.words])) if self.words else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, for JSON."""
        return {
            "path": self.path,
            "duration": self.duration,
            "text": self.text,
            "words": [word._asdict() for word in self.words],
            "characters": [character._asdict() for character in self.characters],
        }

    def _repr_html_(self) -> str:
        """For notebooks: the words, paler the less certain they are, with their times on hover."""
        spans = [
            f'<span title="{w.start:.2f} to {w.end:.2f} s, confidence {w.confidence:.2f}" '
            f'style="opacity:{0.35 + 0.65 * min(max(w.confidence, 0), 1):.2f}">'
            f"{html.escape(w.word)}</span>"
            for w in self.words[:SHOWN_WORDS]
        ]
        left = len(self.words) - len(spans)
        more = f" &hellip; and {left} more words" if left else ""
        return (
            f"<div><b>{html.escape(self.path)}</b> ({self.duration:.1f} s, confidence "
            f"{self.confidence:.2f})<p>{' '.join(spans)}{more}</p></div>"
        )


class Reading(NamedTuple):
    """What was said in one stretch of a recording, times from the stretch's beginning."""

    words: list[Word]
    characters: list[Character]


def joined(path: str, pieces: Sequence[tuple[float, Reading]], duration: float) -> Result:
    """A result of stretches (start in seconds, what was said), one after the other."""
    words = [w for offset, reading in pieces for w in _later(reading.words, offset)]
    letters = [c for offset, reading in pieces for c in _later(reading.characters, offset)]
    return Result(path, " ".join(word.word for word in words), words, letters, duration)


def _later(items: list, offset: float) -> list:
    if not offset:
        return items
    return [item._replace(start=item.start + offset, end=item.end + offset) for item in items]
