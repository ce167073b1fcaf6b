"""How much of a set of texts a vocabulary has no symbol for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from w2v2_jax.vocabulary.symbols import Vocabulary
from w2v2_jax.vocabulary.units import CHARACTERS, PHONEMES, PIECES, count_characters

PLURALS = {CHARACTERS: "characters", PHONEMES: "phonemes", PIECES: "pieces"}


class Coverage(NamedTuple):
    """What texts consist of, and what of it becomes `<unk>`."""

    unknown: dict[str, int]  # how often each unit without a symbol occurs, most frequent first
    num_unknown: int
    total: int  # units of the texts, the spaces between words not among them
    units: str  # "words" if these have pronunciations, else those of the vocabulary, "characters"
    lack: str  # what the unknown ones lack, as a predicate of `units`


def coverage(texts: Iterable[str], vocabulary: Vocabulary) -> Coverage:
    """The units of the texts, normalised as the vocabulary has it, and the unknown ones."""
    texts = list(texts)
    unknown = vocabulary.unknown(texts)
    if vocabulary.pronunciations:
        total = sum(len(vocabulary.normalise(text).split()) for text in texts)
        units, lack = "words", "have no pronunciation"
    else:
        total = sum(count_characters(texts, normalise=vocabulary.tokens).values())
        units, lack = PLURALS[vocabulary.units], "are not in the vocabulary"
    return Coverage(unknown, sum(unknown.values()), total, units, lack)
