"""Beam search without compiled packages: the functions of `flashlight`, with numpy and this
package's ARPA reader."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from w2v2_jax.decode.histories import WordModel
from w2v2_jax.decode.hypothesis import NO_TEXT, Result
from w2v2_jax.decode.lexicon import BOUNDARY
from w2v2_jax.decode.numpy_search import LexiconFreeSearch, LexiconSearch
from w2v2_jax.decode.word_tree import WordTree, word_tree
from w2v2_jax.errors import InputError
from w2v2_jax.ngram import arpa, backoff


def _check_readable(path: str) -> None:
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no such language model file")
    if arpa.is_binary(path):
        raise InputError(
            f"{path}: a model in KenLM's binary form needs KenLM: pip install flashlight-text "
            "ufal.kenlm, or give the ARPA file that it was made from"
        )


def language_model(path: str | None, words: Sequence[str]) -> WordModel:
    """A model that is used by index into `words`; None gives every word probability 1.

    Raises InputError that names the file when there is none or it cannot be read.
    """
    if path is None:
        return WordModel.of(None, words)
    _check_readable(path)
    return WordModel.of(backoff.read(path), words)


def known_words(path: str, words: Sequence[str]) -> list[str]:
    """Those of the words that an ARPA model has."""
    _check_readable(path)
    known = set(arpa.vocabulary(path))
    return [word for word in words if word in known]


def trie(
    model: WordModel,
    lexicon: Sequence[tuple[str, tuple[str, ...]]],
    words: Sequence[str],
    *,
    symbols: Sequence[str],
    bonuses: Mapping[int, float],
    path: str | None,
) -> WordTree:
    """The tree of spellings; a node knows the best score of a word below it (after `<s>`)."""
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    numbers = {word: index for index, word in enumerate(words)}
    scores = boosted(model, bonuses).first_scores()
    spelled = [numbers[word] for word, _ in lexicon]
    spellings = [[ids[symbol] for symbol in spelling] for _, spelling in lexicon]
    return word_tree(spellings, spelled, scores[spelled])


def boosted(model: WordModel, bonuses: Mapping[int, float]) -> WordModel:
    """The model with a bonus on some words."""
    return model.with_bonuses(bonuses) if bonuses else model


def with_lexicon(
    options, tree: WordTree, model: WordModel, *, symbols: Sequence[str], blank: int, unknown: int
) -> LexiconSearch:
    """The search for words."""
    boundary = list(symbols).index(BOUNDARY)
    return LexiconSearch(options, tree, model, boundary=boundary, blank=blank, unknown=unknown)


def lexicon_free(
    options, model: WordModel, *, symbols: Sequence[str], blank: int
) -> LexiconFreeSearch:
    """The search for symbols."""
    boundary = list(symbols).index(BOUNDARY)
    return LexiconFreeSearch(options, model, boundary=boundary, blank=blank)


def results(search: LexiconFreeSearch | LexiconSearch, log_probs: np.ndarray) -> Iterator[Result]:
    """Results of log probabilities [T, C], best first; InputError if no text has a score."""
    for number, result in enumerate(search.decode(log_probs)):
        if not number and not math.isfinite(result.score):
            raise InputError(NO_TEXT)
        yield result
