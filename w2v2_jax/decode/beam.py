"""Beam search with an n-gram language model, by flashlight-text and KenLM or by numpy.

`LexiconDecoder` writes words of a lexicon and uses a model of words. `LexiconFreeDecoder` writes
any letters and uses a model of letters. A score is the natural log probability of the alignment,
plus lm_weight times the LM's log10 probability, plus word_score per word, as in wav2letter, fairseq
and the paper's tables. Weights tuned with another logarithm do not apply (docs/traps.md#t52).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from w2v2_jax.decode import engines
from w2v2_jax.decode.alignment import SECONDS_PER_FRAME, Word, align_path, words
from w2v2_jax.decode.hypothesis import Hypothesis, Result, log_softmax
from w2v2_jax.decode.lexicon import BOUNDARY
from w2v2_jax.decode.runs import run_lengths, summed
from w2v2_jax.errors import InputError
from w2v2_jax.ngram.backoff import UNKNOWN
from w2v2_jax.texts import normal_form
from w2v2_jax.vocabulary.units import CHARACTERS

MOST_BEAM = 10_000  # the paper's widest is 1500
MOST_WEIGHT = 1e6  # beside more, the sum that is a score loses what the network says
INFINITE = {"unknown_score": -math.inf, "beam_threshold": math.inf}  # "none" and "all of them"


def check_number(name: str, value: float, infinite: float = 0.0) -> None:
    """Raises InputError for a weight or score that is NaN, infinite or over MOST_WEIGHT, unless it
    is on the side of the infinity given."""
    if value * infinite > 0:
        return
    shown = f"{name}={value}" if len(str(value)) < 30 else name
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{shown} must be a finite number")
    if abs(value) > MOST_WEIGHT:
        raise InputError(f"{shown} must be from {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}")


@dataclasses.dataclass(frozen=True)
class BeamOptions:
    """fairseq's defaults; the presets of the paper's splits change the two weights.

    beam: number of hypotheses kept per frame.
    beam_tokens: number of the most likely symbols tried per frame (None: all).
    beam_threshold: how far below the best score a hypothesis may fall.
    unknown_score: score added per word outside the lexicon (-inf: no such words).
    silence_score: score added per frame of `|`.
    log_add: whether the probabilities of a text's alignments are summed, instead of taking the best
        one.
    end_word: whether the end of the audio ends a word without a `|`, as needed by models that were
        not trained to write a final `|`.
    """

    beam: int = 50
    beam_tokens: int | None = None
    beam_threshold: float = 50.0
    lm_weight: float = 2.0
    word_score: float = -1.0
    unknown_score: float = -math.inf
    silence_score: float = 0.0
    log_add: bool = False
    end_word: bool = False
    nbest: int = 1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type == "float":
                infinite = INFINITE.get(field.name, 0.0)
                check_number(f"decoder {field.name}", getattr(self, field.name), infinite)
        for name in ("beam", "nbest", "beam_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"decoder {name}={value} must be at least 1")
        if self.beam > MOST_BEAM:
            raise InputError(
                f"decoder beam={self.beam} takes longer than anybody waits; use at most {MOST_BEAM}"
            )
        if self.nbest > self.beam:
            raise InputError(f"decoder nbest={self.nbest} is more than beam={self.beam} keeps")
        if not self.beam_threshold > 0:
            raise InputError(f"decoder beam_threshold={self.beam_threshold} must be above 0")


def _padded(log_probs: np.ndarray, *, boundary: int, blank: int, end_word: bool) -> np.ndarray:
    """With end_word one more frame, in which only `|` and the blank are possible, at no cost."""
    if not end_word:
        return log_probs
    last = np.full((1, log_probs.shape[1]), -1e9, np.float32)
    last[0, [boundary, blank]] = 0.0
    return np.concatenate([log_probs, last])


def _distinct(hypotheses: Iterable[Hypothesis], count: int) -> list[Hypothesis]:
    """The best hypothesis of each text, at most `count`."""
    distinct: dict[str, Hypothesis] = {}
    for hypothesis in hypotheses:
        distinct.setdefault(hypothesis.text, hypothesis)
        if len(distinct) == count:
            break
    return list(distinct.values())


@dataclasses.dataclass(frozen=True)
class LexiconFreeDecoder:
    """Any sequence of symbols; `lm` is an n-gram model of symbols (letters and `|`), or None."""

    symbols: tuple[str, ...]
    lm: str | None
    options: BeamOptions
    blank: int = 0
    seconds_per_frame: float = SECONDS_PER_FRAME
    units: str = CHARACTERS
    engine: str = engines.AUTO
    writes_words: ClassVar[bool] = False
    lexicon_words: ClassVar[tuple[str, ...]] = ()

    @functools.cached_property
    def _engine(self):
        return engines.ENGINES[engines.resolve(self.engine)]

    @functools.cached_property
    def _model(self):
        return self._engine.language_model(self.lm, self.symbols)

    @functools.cached_property
    def _search(self):
        return self._engine.lexicon_free(
            self.options, self._model, symbols=self.symbols, blank=self.blank
        )

    def __reduce__(self):
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def prepare(self) -> None:
        """Loads the model."""
        self._search  # noqa: B018

    def with_options(self, options: BeamOptions) -> LexiconFreeDecoder:
        """The same decoder with other weights; loaded models are shared."""
        other = dataclasses.replace(self, options=options)
        other.__dict__["_model"] = self._model
        return other

    def _hypothesis(self, result: Result, logits: np.ndarray) -> Hypothesis:
        alignment = align_path(result.tokens, logits, blank=self.blank)
        timed = words(
            alignment, self.symbols, seconds_per_frame=self.seconds_per_frame, units=self.units
        )
        return Hypothesis(
            text=" ".join(word.word for word in timed),
            score=result.score,
            words=timed,
            tokens=result.tokens,
            acoustic_score=result.acoustic_score,
            lm_score=result.lm_score,
        )

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        log_probs = log_softmax(logits)
        results = self._engine.results(self._search, log_probs)
        return _distinct(
            (self._hypothesis(result, log_probs) for result in results), self.options.nbest
        )


@dataclasses.dataclass(frozen=True)
class LexiconDecoder:
    """Words of a lexicon, weighted by an n-gram model of words (`lm`, or None for equal weights).

    units: those of the vocabulary; words of characters end with `|`, others with their last symbol.
    hot_words: (word, bonus) pairs; the bonus is added to the score of each such word. Hot words
    must already be in the lexicon (see `search_words.with_hot_words`).
    """

    symbols: tuple[str, ...]
    lm: str | None
    lexicon: tuple[tuple[str, tuple[str, ...]], ...]
    options: BeamOptions
    hot_words: tuple[tuple[str, float], ...] = ()
    blank: int = 0
    seconds_per_frame: float = SECONDS_PER_FRAME
    units: str = CHARACTERS
    engine: str = engines.AUTO
    writes_words: ClassVar[bool] = True

    @functools.cached_property
    def _engine(self):
        return engines.ENGINES[engines.resolve(self.engine)]

    @functools.cached_property
    def lexicon_words(self) -> list[str]:
        return list(dict.fromkeys(word for word, _ in self.lexicon))

    @functools.cached_property
    def _base(self):
        model = self._engine.language_model(self.lm, [*self.lexicon_words, UNKNOWN])
        engines.check_words(self._engine, self.lm, self.lexicon_words)
        return model

    @functools.cached_property
    def _bonuses(self) -> dict[int, float]:
        """Word index -> bonus in units of the LM's score."""
        numbers = {word: index for index, word in enumerate(self.lexicon_words)}
        weight = self.options.lm_weight
        if self.hot_words and weight <= 0:
            raise InputError(f"hot words need an lm_weight above 0, not {weight}")
        bonuses = {numbers[word]: bonus / weight for word, bonus in self.hot_words}
        for bonus in bonuses.values():
            check_number(f"hot words need a larger lm_weight than {weight}: bonus/lm_weight", bonus)
        return bonuses

    @functools.cached_property
    def _trie(self):
        return self._engine.trie(
            self._base,
            self.lexicon,
            self.lexicon_words,
            symbols=self.symbols,
            bonuses=self._bonuses,
            path=self.lm,
        )

    @functools.cached_property
    def _asked(self):
        # Kept here because flashlight holds only the C++ half of a model written in Python.
        return self._engine.boosted(self._base, self._bonuses) if self._bonuses else self._base

    @functools.cached_property
    def _search(self):
        return self._engine.with_lexicon(
            self.options,
            self._trie,
            self._asked,
            symbols=self.symbols,
            blank=self.blank,
            unknown=len(self.lexicon_words),
        )

    def __reduce__(self):
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def prepare(self) -> None:
        """Loads the model and builds the tree of words."""
        self._search  # noqa: B018

    def with_options(self, options: BeamOptions) -> LexiconDecoder:
        """The same decoder with other weights; loaded models are shared."""
        other = dataclasses.replace(self, options=options)
        shared = ["lexicon_words", "_base", *([] if self.hot_words else ["_bonuses", "_trie"])]
        for name in shared:
            other.__dict__[name] = getattr(self, name)
        return other

    def _hypothesis(self, result: Result, log_probs: np.ndarray, lengths: np.ndarray) -> Hypothesis:
        path = np.repeat(result.tokens[: len(lengths)], lengths)
        emitted = np.flatnonzero(result.words >= 0)  # the run in which each word is complete
        starts = np.append(np.cumsum(lengths) - lengths, len(log_probs))
        timed = self._timed(path, log_probs, starts[emitted], result.words[emitted])
        return Hypothesis(
            text=" ".join(word.word for word in timed),
            score=result.score,
            words=timed,
            tokens=path,
            acoustic_score=result.acoustic_score,
            lm_score=result.lm_score,
        )

    def _timed(self, path, log_probs, emitted, labels) -> list[Word]:
        """Each word from its first to its last letter, without the silence and blanks around it."""
        boundary = self.symbols.index(BOUNDARY)
        spoken = (path != self.blank) & (path != boundary)
        probability = np.exp(log_probs[np.arange(len(path)), path])
        names = [*self.lexicon_words, UNKNOWN]
        runs = np.append(np.flatnonzero(np.diff(path)), len(path) - 1)  # their last frames
        timed, start = [], 0
        for frame, label in zip(emitted, labels, strict=True):
            # A word without `|` is complete where its last symbol begins.
            end = int(runs[np.searchsorted(runs, min(frame, len(path) - 1))]) + 1
            letters = start + np.flatnonzero(spoken[start:end])
            if not len(letters):  # a word that is spelled by `|` alone
                letters = np.array([min(frame, len(path) - 1)])
            timed.append(
                Word(
                    word=normal_form(names[label]),
                    start=float(letters[0] * self.seconds_per_frame),
                    end=float((letters[-1] + 1) * self.seconds_per_frame),
                    confidence=float(probability[letters].mean()),
                )
            )
            start = end
        return timed

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        log_probs = log_softmax(logits)
        lengths, searched = np.ones(len(log_probs), np.int64), log_probs
        if self.units != CHARACTERS:
            lengths = run_lengths(log_probs, blank=self.blank)
            searched = summed(log_probs, lengths)
        padded = _padded(
            searched,
            boundary=self.symbols.index(BOUNDARY),
            blank=self.blank,
            end_word=self.options.end_word,
        )
        results = self._engine.results(self._search, padded)
        return _distinct(
            (self._hypothesis(result, log_probs, lengths) for result in results), self.options.nbest
        )
