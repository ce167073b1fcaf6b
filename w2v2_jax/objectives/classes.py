"""The classes of a classifier; they have the role that a vocabulary has in CTC."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.paths import write_json
from w2v2_jax.texts import normal_form


@dataclass(frozen=True)
class Classes:
    """Names of the classes in the order of the head's rows. In a prepared corpus, the transcript of
    an utterance is its class: the whole text, with its case, without spaces at the ends.

    It has the methods of a `Vocabulary` that the data pipeline needs. Raises InputError for a name
    that is empty or occurs twice.
    """

    # As a vocabulary says them: texts are taken as they are written.
    units: ClassVar[str] = "classes"
    case: ClassVar[str] = "keep"
    rules: ClassVar[None] = None

    symbols: tuple[str, ...]

    def __post_init__(self):
        names = [name if isinstance(name, str) else "" for name in self.symbols]
        odd = [name for name, times in Counter(map(_plain, names)).items() if times > 1 or not name]
        if odd or not names:
            raise InputError(f"classes: names must be different texts, not empty: {odd[:5]}")

    def __len__(self) -> int:
        return len(self.symbols)

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {_plain(name): row for row, name in enumerate(self.symbols)}

    def normalise(self, text: str) -> str:
        """A text as a class's name."""
        return _plain(text)

    def has_words(self, text: str) -> bool:
        """Whether a text is one of the classes; others are used neither in training nor scoring."""
        return _plain(text) in self._rows

    def encode(self, text: str) -> np.ndarray:
        """[1] int32, the class's row; empty for a text that is not a class."""
        row = self._rows.get(_plain(text))
        return np.array([] if row is None else [row], np.int32)

    def decode(self, rows: Iterable[int]) -> str:
        """The name of a row."""
        return " ".join(self.symbols[int(row)] for row in rows)

    def unknown(self, texts: Iterable[str]) -> dict[str, int]:
        """Nothing: a text that is not a class was already left out."""
        return {}

    def described(self) -> str:
        """The classes, for messages."""
        more = ", ..." * (len(self) > 20)
        return f"is one of the {len(self)} classes: {', '.join(self.symbols[:20])}{more}"

    def to_json(self) -> dict[str, Any]:
        return {"classes": list(self.symbols)}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Classes:
        """What `to_json` made; ValueError, KeyError or TypeError if it is something else."""
        return Classes(tuple(content["classes"]))

    def save(self, path: str | Path) -> None:
        """Writes `to_json`."""
        write_json(path, self.to_json())


def classes_of(texts: Iterable[str]) -> Classes:
    """Every different text as a class, in the order of code points."""
    return Classes(tuple(sorted({_plain(text) for text in texts} - {""})))


def _plain(text: str) -> str:
    return " ".join(normal_form(text).split())
