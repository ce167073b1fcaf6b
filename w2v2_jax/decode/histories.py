"""Histories of the words so far, each with its state in a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.ngram.backoff import END, Backoff

MOST_SCORES = 1 << 24  # float32 held by `ScoreRows`


class WordModel(NamedTuple):
    """A language model used by the index into a list of words; without one all words are equal."""

    model: Backoff | None
    numbers: np.ndarray  # [W] int64, each word's number in the model
    bonuses: np.ndarray | None = None  # [W] float64, added to each word's score

    @classmethod
    def of(cls, model: Backoff | None, words: Sequence[str]) -> WordModel:
        numbers = [model.number(word) if model else 0 for word in words]
        return cls(model, np.array(numbers, np.int64))

    def with_bonuses(self, bonuses: Mapping[int, float]) -> WordModel:
        """The model with a bonus on some words."""
        table = np.zeros(len(self.numbers))
        table[list(bonuses)] = list(bonuses.values())
        return self._replace(bonuses=table)

    def score(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [n], words [n] -> float32 [n] log10 probabilities, [n] next states."""
        if self.model is None:
            scores, after = np.zeros(len(words), np.float32), states
        else:
            scores, after = self.model.score(states, self.numbers[words])
        if self.bonuses is not None:
            scores = (scores.astype(float) + self.bonuses[words]).astype(np.float32)
        return scores, after

    def first_scores(self) -> np.ndarray:
        """float32 [W], each word's score at the beginning of a text."""
        start = self.model.start if self.model else 0
        words = np.arange(len(self.numbers))
        return self.score(np.full(len(words), start), words)[0]

    def finish(self, states: np.ndarray) -> np.ndarray:
        """float32 [n], the log10 probability that the text ends."""
        if self.model is None:
            return np.zeros(len(states), np.float32)
        return self.model.score(states, np.full(len(states), self.model.words[END]))[0]


class Histories:
    """The histories of one utterance's search, numbered; 0 is the empty one.

    Equal histories have the same number.
    """

    def __init__(self, model: WordModel):
        self._model = model
        self._numbers: dict[int, int] = {}
        self._states = np.full(1024, model.model.start if model.model else 0)
        self._scores = np.zeros(1024, np.float32)
        self._size = 1

    def states(self, histories: np.ndarray) -> np.ndarray:
        """[n] the language model's state after each history."""
        return self._states[histories]

    def _append(self, states: np.ndarray, scores: np.ndarray) -> None:
        end = self._size + len(states)
        while end > len(self._states):
            self._states = np.concatenate([self._states, self._states])
            self._scores = np.concatenate([self._scores, self._scores])
        self._states[self._size : end], self._scores[self._size : end] = states, scores
        self._size = end

    def after(self, histories: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Histories [n] and words [n] -> the histories [n] that they make, and the words' scores
        float32 [n] in the model."""
        keys = (histories * len(self._model.numbers) + words).tolist()
        get = self._numbers.get
        numbers = np.array([get(key, -1) for key in keys], np.int64)
        if len(missing := np.flatnonzero(numbers < 0)):
            scores, states = self._model.score(self._states[histories[missing]], words[missing])
            fresh = [keys[row] for row in missing.tolist()]
            for number, key in enumerate(fresh, self._size):
                self._numbers.setdefault(key, number)
            self._append(states, scores)
            numbers[missing] = [self._numbers[key] for key in fresh]
        return numbers, self._scores[numbers]

    def finish(self, histories: np.ndarray) -> np.ndarray:
        """float32 [n], the score of the end of the text."""
        return self._model.finish(self._states[histories])


class ScoreRows:
    """The scores of all words after a state, computed once for each state."""

    def __init__(self, model: WordModel):
        self._model = model
        self._rows: dict[int, int] = {}
        self._table = np.empty((0, len(model.numbers)), np.float32)

    def of(self, states: np.ndarray) -> np.ndarray:
        """States [n] -> float32 [n, W]."""
        listed = states.tolist()
        fresh = [state for state in dict.fromkeys(listed) if state not in self._rows]
        if fresh:
            if len(self._table) * len(self._model.numbers) > MOST_SCORES:
                self._rows, self._table, fresh = {}, self._table[:0], list(dict.fromkeys(listed))
            width = len(self._model.numbers)
            scores, _ = self._model.score(
                np.repeat(fresh, width), np.tile(np.arange(width), len(fresh))
            )
            self._rows |= {state: len(self._table) + n for n, state in enumerate(fresh)}
            self._table = np.concatenate([self._table, scores.reshape(-1, width)])
        return self._table[[self._rows[state] for state in listed]]
