"""The utterances of a prepared corpus that have a transcript, for labelled training, validation and
scoring. Audio without a transcript is used in pretraining only."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.data.corpus import Corpus
from w2v2_jax.data.joined import JoinedCorpus
from w2v2_jax.errors import InputError
from w2v2_jax.vocabulary import FROM_TRANSCRIPTS, Vocabulary
from w2v2_jax.vocabulary.coverage import coverage
from w2v2_jax.vocabulary.units import PHONEMES


@dataclass(frozen=True)
class TranscribedCorpus:
    """The utterances `numbers` [N] of `whole`, in their order; reads like a `Corpus`.

    Its batches are those of a corpus that was prepared from only these utterances.
    """

    whole: Corpus | JoinedCorpus | TranscribedCorpus
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def directory(self) -> Path:
        """The folder of the corpus, for messages."""
        return self.whole.directory

    @property
    def has_text(self) -> bool:
        """Whether any utterance has a transcript."""
        return len(self) > 0

    @functools.cached_property
    def num_samples(self) -> np.ndarray:
        """[N] int64, as in `Corpus`."""
        return self.whole.num_samples[self.numbers]

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """[N] float32, as in `Corpus`."""
        return self.whole.mean[self.numbers]

    @functools.cached_property
    def std(self) -> np.ndarray:
        """[N] float32, as in `Corpus`."""
        return self.whole.std[self.numbers]

    @functools.cached_property
    def speakers(self) -> np.ndarray:
        """[N] uint64, as in `Corpus`."""
        return self.whole.speakers[self.numbers]

    @functools.cached_property
    def audio_sha256(self) -> np.ndarray:
        """[N] uint64, as in `Corpus`."""
        return self.whole.audio_sha256[self.numbers]

    def fingerprint(self) -> str:
        """That of the whole corpus, combined with which of its utterances these are."""
        digest = hashlib.sha256(np.asarray(self.numbers, "<i8").tobytes()).hexdigest()
        return f"{self.whole.fingerprint()}:{digest[:16]}"

    @property
    def text_rules(self) -> dict[str, Any] | None:
        """As in `Corpus`."""
        return self.whole.text_rules

    def id(self, i: int) -> str:
        return self.whole.id(int(self.numbers[i]))

    def text(self, i: int) -> str:
        return self.whole.text(int(self.numbers[i]))

    def speaker(self, i: int) -> str:
        return self.whole.speaker(int(self.numbers[i]))

    def texts(self) -> Iterator[str]:
        """All transcripts in order."""
        return (self.text(i) for i in range(len(self)))

    def read(self, i: int, start: int, length: int) -> np.ndarray:
        """[length] int16 samples of utterance i, as in `Corpus`."""
        return self.whole.read(int(self.numbers[i]), start, length)

    def verify(self, i: int) -> bool:
        """As in `Corpus`."""
        return self.whole.verify(int(self.numbers[i]))


AnyCorpus = Corpus | JoinedCorpus | TranscribedCorpus


def transcribed_numbers(
    corpus: Corpus | JoinedCorpus, is_transcript: Callable[[str], bool]
) -> np.ndarray:
    """[N] int64 numbers of the utterances whose text is a transcript."""
    return np.flatnonzero([bool(is_transcript(text)) for text in corpus.texts()])


def transcribed(
    corpus: Corpus | JoinedCorpus,
    vocabulary: Vocabulary,
    *,
    where: str,
    is_transcript: Callable[[str], bool] | None = None,
) -> AnyCorpus:
    """The corpus without the utterances that have no transcript; unchanged if all have one.

    is_transcript: which texts are transcripts; by default `Vocabulary.has_words`. Raises
    InputError, which begins with `where`, if there is none.
    """
    numbers = transcribed_numbers(corpus, is_transcript or vocabulary.has_words)
    if not len(numbers):
        raise InputError(f"{where}: {why_none(corpus, vocabulary)}")
    return corpus if len(numbers) == len(corpus) else TranscribedCorpus(corpus, numbers)


def left_out(corpus: AnyCorpus) -> int:
    """How many utterances were left out because they have no transcript."""
    return len(corpus.whole) - len(corpus) if isinstance(corpus, TranscribedCorpus) else 0


def all_texts(corpus: AnyCorpus) -> list[str]:
    """The texts of a corpus with those of the utterances that were left out."""
    whole = corpus.whole if isinstance(corpus, TranscribedCorpus) else corpus
    return [text for text in whole.texts() if text.strip()]


def outside_vocabulary(corpus: AnyCorpus) -> int:
    """How many of the left-out utterances have a text, but only of characters that are unknown."""
    if not isinstance(corpus, TranscribedCorpus):
        return 0
    used = set(corpus.numbers.tolist())
    return sum(bool(t.strip()) for i, t in enumerate(corpus.whole.texts()) if i not in used)


def why_none(corpus: Corpus | JoinedCorpus, vocabulary: Vocabulary) -> str:
    """The message for a corpus in which no utterance has a transcript."""
    texts = sum(bool(text.strip()) for text in corpus.texts())
    if texts:
        return f"none of its {texts} transcripts {vocabulary.described()}"
    return none_transcribed(len(corpus))


def none_transcribed(utterances: int) -> str:
    """The message for a corpus without any text."""
    return (
        f"none of its {utterances} utterances has a transcript; name a split that has some, or "
        "add them (transcripts.tsv) and prepare it again"
    )


def check_vocabulary(
    corpus: Corpus | JoinedCorpus, vocabulary: Vocabulary, *, several: bool, where: str
) -> None:
    """Raises InputError if `several` corpora are trained on together and this one has no transcript
    in the vocabulary, or more that is unknown than known. Otherwise the other corpora would
    hide that its rows are missing, or that it teaches <unk>."""
    if not several:
        return
    texts = list(corpus.texts())
    if not any(map(vocabulary.has_words, texts)):
        raise InputError(f"config.data.train: {where}: {why_none(corpus, vocabulary)}")
    covered = coverage(texts, vocabulary)
    if 2 * covered.num_unknown > covered.total:
        made = PHONEMES if vocabulary.units == PHONEMES else FROM_TRANSCRIPTS
        case = "" if vocabulary.pronunciations else f" (case {vocabulary.case})"
        remedy = f"config.vocabulary.name={made}, which has those of all corpora"
        remedy = "a lexicon with those of all corpora" if vocabulary.pronunciations else remedy
        raise InputError(
            f"config.data.train: {where}: {covered.num_unknown} of its {covered.total} "
            f"{covered.units} {covered.lack}{case}: {' '.join(list(covered.unknown)[:10])}; use "
            f"{remedy}"
        )
