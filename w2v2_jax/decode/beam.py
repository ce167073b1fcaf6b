"""Beam search with an n-gram language model, by flashlight-text and KenLM.

`LexiconDecoder` writes words of a lexicon and asks a word model; `LexiconFreeDecoder` writes any
letters and asks a model of letters. Scores add the natural log probability of the alignment,
lm_weight times the LM's log10 probability and word_score a word, as in wav2letter, fairseq and the
paper's tables; weights tuned with another logarithm do not carry over (docs/traps.md#t52).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np

from w2v2_jax.decode import flashlight
from w2v2_jax.decode.alignment import SECONDS_PER_FRAME, Word, align_path, words
from w2v2_jax.decode.hypothesis import Hypothesis, log_softmax
from w2v2_jax.decode.lexicon import BOUNDARY, Entries
from w2v2_jax.decode.runs import run_lengths, summed
from w2v2_jax.errors import InputError
from w2v2_jax.texts import normal_form
from w2v2_jax.vocabulary.units import CHARACTERS

MOST_BEAM = 10_000  # the paper's widest is 1500
INFINITE = {"unknown_score": -math.inf, "beam_threshold": math.inf}  # "none" and "all of them"


def check_number(name: str, value: object, infinite: float | None = None) -> None:
    """Raises InputError for a float that is NaN or infinite, unless it is the infinity given."""
    if isinstance(value, float) and not math.isfinite(value) and value != infinite:
        raise InputError(f"{name}={value} must be a finite number")


@dataclasses.dataclass(frozen=True)
class BeamOptions:
    """fairseq's defaults; the presets of the paper's splits change the two weights.

    beam: hypotheses kept a frame. beam_tokens: symbols tried a frame, the likeliest (None: all).
    beam_threshold: how far below the best score a hypothesis may fall. unknown_score: added for a
    word outside the lexicon (-inf: there are none). silence_score: added for each frame of `|`.
    log_add: sum the probabilities of a text's alignments instead of taking the best one.
    end_word: the end of the audio ends a word without a `|`, which models that were not trained
    to write a last `|` need.
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
            check_number(
                f"decoder {field.name}", getattr(self, field.name), INFINITE.get(field.name)
            )
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
    """With end_word one more frame, in which `|` and the blank are free and nothing else is."""
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
    """Any sequence of symbols; `lm` is a KenLM model of symbols (letters and `|`), or None."""

    symbols: tuple[str, ...]
    lm: str | None
    options: BeamOptions
    blank: int = 0
    seconds_per_frame: float = SECONDS_PER_FRAME
    units: str = CHARACTERS

    @functools.cached_property
    def _model(self):
        return flashlight.language_model(self.lm, self.symbols)

    @functools.cached_property
    def _search(self):
        return flashlight.lexicon_free(
            self.options, self._model, symbols=self.symbols, blank=self.blank
        )

    def __reduce__(self):
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def prepare(self) -> None:
        """Loads the model."""
        self._search  # noqa: B018

    def with_options(self, options: BeamOptions) -> LexiconFreeDecoder:
        """The same decoder at other weights; what is loaded is shared."""
        other = dataclasses.replace(self, options=options)
        other.__dict__["_model"] = self._model
        return other

    def _hypothesis(self, result, logits: np.ndarray) -> Hypothesis:
        path = np.array(result.tokens[1 : len(logits) + 1], np.int64)
        alignment = align_path(path, logits, blank=self.blank)
        timed = words(
            alignment, self.symbols, seconds_per_frame=self.seconds_per_frame, units=self.units
        )
        return Hypothesis(
            text=" ".join(word.word for word in timed),
            score=result.score,
            words=timed,
            tokens=path,
            acoustic_score=result.emittingModelScore,
            lm_score=result.lmScore,
        )

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        log_probs = log_softmax(logits)
        results = flashlight.decode(self._search, log_probs)
        return _distinct(
            (self._hypothesis(result, log_probs) for result in results), self.options.nbest
        )


@dataclasses.dataclass(frozen=True)
class LexiconDecoder:
    """Words of a lexicon, weighed by a KenLM model of words (`lm`, or None for all alike).

    units: of the vocabulary; words of characters end with `|`, others with their last symbol.
    hot_words: (word, bonus) pairs; a bonus is added to the score of each such word. Words that
    the lexicon lacks must be in it already (see `make.with_hot_words`).
    """

    symbols: tuple[str, ...]
    lm: str | None
    lexicon: tuple[tuple[str, tuple[str, ...]], ...]
    options: BeamOptions
    hot_words: tuple[tuple[str, float], ...] = ()
    blank: int = 0
    seconds_per_frame: float = SECONDS_PER_FRAME
    units: str = CHARACTERS

    @functools.cached_property
    def _words(self) -> list[str]:
        return list(dict.fromkeys(word for word, _ in self.lexicon))

    @functools.cached_property
    def _base(self):
        model = flashlight.language_model(self.lm, [*self._words, flashlight.UNKNOWN])
        flashlight.check_words(self.lm, self._words)
        return model

    @functools.cached_property
    def _bonuses(self) -> dict[int, float]:
        """Word index -> bonus in units of the LM's score."""
        numbers = {word: index for index, word in enumerate(self._words)}
        weight = self.options.lm_weight
        if self.hot_words and weight <= 0:
            raise InputError(f"hot words need an lm_weight above 0, not {weight}")
        return {numbers[word]: bonus / weight for word, bonus in self.hot_words}

    @functools.cached_property
    def _trie(self):
        return flashlight.trie(
            self._base,
            self.lexicon,
            self._words,
            symbols=self.symbols,
            bonuses=self._bonuses,
            path=self.lm,
        )

    @functools.cached_property
    def _asked(self):
        # Kept here because the search holds only the C++ half of a model written in Python.
        return flashlight.boosted(self._base, self._bonuses) if self._bonuses else self._base

    @functools.cached_property
    def _search(self):
        return flashlight.with_lexicon(
            self.options,
            self._trie,
            self._asked,
            symbols=self.symbols,
            blank=self.blank,
            unknown=len(self._words),
        )

    def __reduce__(self):
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def prepare(self) -> None:
        """Loads the model and builds the tree of words."""
        self._search  # noqa: B018

    def with_options(self, options: BeamOptions) -> LexiconDecoder:
        """The same decoder at other weights; what is loaded is shared."""
        other = dataclasses.replace(self, options=options)
        shared = ["_words", "_base"] if self.hot_words else ["_words", "_base", "_bonuses", "_trie"]
        for name in shared:
            other.__dict__[name] = getattr(self, name)
        return other

    def _hypothesis(self, result, log_probs: np.ndarray, lengths: np.ndarray) -> Hypothesis:
        path = np.repeat(np.array(result.tokens[1 : len(lengths) + 1], np.int64), lengths)
        labels = np.array(result.words[1:], np.int64)
        emitted = np.flatnonzero(labels >= 0)  # the run in which each word is complete
        starts = np.append(np.cumsum(lengths) - lengths, len(log_probs))
        timed = self._timed(path, log_probs, starts[emitted], labels[emitted])
        return Hypothesis(
            text=" ".join(word.word for word in timed),
            score=result.score,
            words=timed,
            tokens=path,
            acoustic_score=result.emittingModelScore,
            lm_score=result.lmScore,
        )

    def _timed(self, path, log_probs, emitted, labels) -> list[Word]:
        """Each word from its first to its last letter; silence and blanks around it left out."""
        boundary = self.symbols.index(BOUNDARY)
        spoken = (path != self.blank) & (path != boundary)
        probability = np.exp(log_probs[np.arange(len(path)), path])
        names = [*self._words, flashlight.UNKNOWN]
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
        results = flashlight.decode(self._search, padded)
        return _distinct(
            (self._hypothesis(result, log_probs, lengths) for result in results), self.options.nbest
        )


def as_lexicon(entries: Entries) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Hashable form of a lexicon."""
    return tuple((word, tuple(spelling)) for word, spelling in entries)
