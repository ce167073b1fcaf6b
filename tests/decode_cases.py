"""A small language, a model of it and noisy logits of its sentences: no training, no library."""

from __future__ import annotations

import numpy as np

from w2v2_jax.data.vocabulary import SPECIALS, Vocabulary

LETTERS = "ABCDEFGH"
VOCABULARY = Vocabulary((*SPECIALS, *LETTERS), "upper")


def words(count: int, *, seed: int = 0) -> list[str]:
    """Different words of 1 to 5 letters."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(LETTERS[i] for i in rng.integers(0, 8, rng.integers(1, 6)))] = None
    return list(found)


def sentences(count: int, vocabulary: list[str], *, seed: int = 0) -> list[list[str]]:
    """A Markov chain of 1 to 9 words: half the time one of two successors, else Zipf's law."""
    rng = np.random.default_rng(seed)
    size = len(vocabulary)
    zipf = 1 / np.arange(1, size + 1)
    draws = rng.choice(size, (count, 10), p=zipf / zipf.sum())
    follow, which = rng.random((count, 10)) < 0.5, rng.integers(0, 2, (count, 10))
    lengths = rng.integers(1, 10, count)
    found = []
    for n in range(count):
        line = [draws[n, 0]]
        for k in range(1, lengths[n]):
            after = (line[-1] * 7 + which[n, k]) % size
            line.append(after if follow[n, k] else draws[n, k])
        found.append([vocabulary[i] for i in line])
    return found


def logits_of(text: str, rng: np.random.Generator, *, noise: float = 2.0) -> np.ndarray:
    """[T, C]: each symbol for 1 or 2 frames with blanks between, under Gaussian noise."""
    path = []
    for symbol in VOCABULARY.encode(text):
        path += [int(symbol)] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    clean = 5.0 * np.eye(len(VOCABULARY))[path]
    clean[:, 1:4] -= 10.0  # the model never writes the special symbols
    return (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


# name: order, pruning thresholds
LMPLZ_MODELS = {"whole": (4, [0]), "pruned": (3, [0, 0, 1]), "words": (2, [1, 1])}


def lmplz_text() -> str:
    """The text of the stored lmplz models."""
    lines = sentences(600, words(400, seed=3), seed=4)
    return "".join(" ".join(line) + "\n" for line in lines)
