"""Finds utterances whose samples have changed since they were prepared, and leaves them out."""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.data.corpus import CutShort

UNSEEN, WHOLE, BROKEN = 0, 1, 2


class Verifiable(Protocol):
    """The parts of a corpus that are used here."""

    def __len__(self) -> int: ...
    def id(self, i: int) -> str: ...
    def verify(self, i: int) -> bool: ...


class Broken(NamedTuple):
    """An utterance and what is wrong with it."""

    id: str
    reason: str


class Damage:
    """Checks every utterance's checksum once, when it is first read; safe in threads.

    The whole utterance is read for this, but only in the first epoch. A missing shard does not
    count as damage: reading it raises InputError.
    """

    def __init__(self, corpus: Verifiable):
        self._corpus = corpus
        self._state = np.zeros(len(corpus), np.int8)
        self._lock = threading.Lock()
        self._news: list[Broken] = []

    def whole(self, i: int) -> bool:
        """Whether the samples of utterance i are as they were prepared."""
        if self._state[i] == UNSEEN:
            try:
                reason = "" if self._corpus.verify(i) else "checksum differs"
            except CutShort:
                reason = "its shard is cut short or damaged"
            with self._lock:
                if reason and self._state[i] == UNSEEN:
                    self._news.append(Broken(self._corpus.id(i), reason))
                self._state[i] = BROKEN if reason else WHOLE
        return self._state[i] == WHOLE

    def news(self) -> list[Broken]:
        """The damage that was found since the last call."""
        with self._lock:
            news, self._news = self._news, []
        return news
