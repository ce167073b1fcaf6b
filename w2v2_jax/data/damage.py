"""Utterances whose samples are no longer those that were prepared: found at first use, left out."""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

import numpy as np

from w2v2_jax.data.corpus import CutShort

UNSEEN, WHOLE, BROKEN = 0, 1, 2


class Verifiable(Protocol):
    """A corpus, for what is asked of it here."""

    def __len__(self) -> int: ...
    def id(self, i: int) -> str: ...
    def verify(self, i: int) -> bool: ...


class Broken(NamedTuple):
    """An utterance and what is wrong with it."""

    id: str
    reason: str


class Damage:
    """Looks at the checksum of every utterance once, when it is first read; safe in threads.

    A whole utterance is read for that, in the first epoch alone. A shard that is gone is no
    damage: reading it raises InputError.
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
        """What was found since this was last asked."""
        with self._lock:
            news, self._news = self._news, []
        return news
