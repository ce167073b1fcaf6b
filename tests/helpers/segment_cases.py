"""A long recording of known sentences as logits, and texts of it some of which were not said."""

from typing import NamedTuple

import numpy as np

from w2v2_jax.vocabulary import SPECIALS, Vocabulary

VOCABULARY = Vocabulary((*SPECIALS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"), "upper")
SECONDS = 0.02  # of a frame
HEIGHT = 6.0  # of the true class over noise of deviation 1
MISHEARD = 0.1  # share of the letters


class Recording(NamedTuple):
    """logits [T, C]; of each sentence its text and its first and last letter's seconds."""

    logits: np.ndarray
    texts: list[str]
    starts: np.ndarray
    ends: np.ndarray


def sentence(rng) -> str:
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9)))
             for _ in range(rng.integers(4, 13))]  # fmt: skip
    return " ".join(words)


def recording(rng, count: int, *, left_out: float = 0.1) -> Recording:
    """`count` sentences with pauses, and speech between some of them that no text tells of; a model
    that hears one letter in ten as another."""
    path, heard, texts, times = [0] * 40, [0] * 40, [], []

    def say(text: str) -> tuple[int, int]:
        first = last = len(path)
        for row in VOCABULARY.encode(text):
            frames = int(rng.integers(1, 3))
            wrong = rng.random() < MISHEARD
            heard_row = int(rng.integers(4, len(VOCABULARY))) if wrong else int(row)
            path.extend([int(row)] * frames)
            heard.extend([heard_row] * frames)
            last = len(path) if row != 4 else last
            pause = int(rng.integers(1, 4))
            path.extend([0] * pause)
            heard.extend([0] * pause)
        return first, last

    for _ in range(count):
        texts.append(sentence(rng))
        times.append(say(texts[-1]))
        for rest in (path, heard):
            rest.extend([0] * 25)
        if rng.random() < left_out:
            say(sentence(rng))
    logits = rng.normal(size=(len(heard), len(VOCABULARY))).astype(np.float32)
    logits[np.arange(len(heard)), heard] += HEIGHT
    starts, ends = (np.array(some) * SECONDS for some in zip(*times, strict=True))
    return Recording(logits, texts, starts, ends)


def with_wrong(rng, texts: list[str], share: float = 0.1) -> tuple[list[str], np.ndarray]:
    """The texts with some replaced by others that were not said, and which ones."""
    wrong = np.zeros(len(texts), bool)
    wrong[rng.choice(len(texts), round(share * len(texts)), replace=False)] = True
    return [sentence(rng) if w else t for t, w in zip(texts, wrong, strict=True)], wrong
