"""The numbers for the page about a corpus: those of each utterance, and what several share."""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import QUALITY_ARRAYS, Corpus
from w2v2_jax.prepare.near_duplicates import near_duplicates
from w2v2_jax.prepare.quality import QualityMeter

SAMPLED = 400  # utterances of a split measured where its index has no estimates
SAMPLED_SECONDS = 20


class Figures(NamedTuple):
    """One split. [N] each: seconds, letters a second (not a number without a text), level_db (of
    the deviation, 0 is full scale), and `quality.Quality`'s. measured: utterances that have the
    latter."""

    corpus: Corpus
    texts: list[str]
    speakers: list[str]
    languages: list[str]
    seconds: np.ndarray
    letters_per_second: np.ndarray
    level_db: np.ndarray
    clipped_share: np.ndarray
    snr_db: np.ndarray
    bandwidth_hz: np.ndarray
    measured: int


class Place(NamedTuple):
    """Utterance `number` of split `split` of a list of figures."""

    split: int
    number: int


class Shared(NamedTuple):
    """Utterances with the same text or samples: places, and what they share."""

    places: list[Place]
    what: str


class Alike(NamedTuple):
    """Two utterances whose texts are almost the same."""

    first: Place
    second: Place
    similarity: float


def figures(corpus: Corpus) -> Figures:
    """All figures of a split; estimates of noise, bandwidth and clipping from its index, or, where
    it has none, from SAMPLED of its utterances."""
    numbers = range(len(corpus))
    texts = list(corpus.texts())
    seconds = corpus.num_samples / SAMPLE_RATE
    letters = np.array([len(text) or np.nan for text in texts], np.float64)
    names = ("clipped_share", "snr_db", "bandwidth_hz")
    quality = [corpus.quality(name).astype(np.float64) for name in names]
    if all(np.isnan(values).all() for values in quality):
        quality = list(_sampled(corpus).T)
    return Figures(
        corpus,
        texts,
        [corpus.speaker(i) for i in numbers],
        [corpus.language(i) for i in numbers],
        seconds,
        letters / seconds,
        20 * np.log10(np.maximum(corpus.std, 1e-6)),
        clipped_share=quality[0],
        snr_db=quality[1],
        bandwidth_hz=quality[2],
        measured=int(np.count_nonzero(~np.isnan(quality[0]))),
    )


def _sampled(corpus: Corpus) -> np.ndarray:
    """[N, 3] estimates of some utterances, spread evenly; the others are not numbers."""
    values = np.full((len(corpus), len(QUALITY_ARRAYS) - 1), np.nan)
    chosen = np.unique(np.linspace(0, len(corpus) - 1, min(SAMPLED, len(corpus))).astype(int))
    for i in chosen.tolist():
        meter = QualityMeter()
        length = min(int(corpus.num_samples[i]), SAMPLED_SECONDS * SAMPLE_RATE)
        meter.add(np.asarray(corpus.read(i, 0, length)))
        values[i] = meter.finish()
    return values


def folded(text: str) -> str:
    """A text without case, punctuation and spacing."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


def characters(splits: Sequence[Figures]) -> list[tuple[str, int, Place]]:
    """Each character of the texts with its count and an utterance that has it, the most frequent
    first."""
    counts: collections.Counter[str] = collections.Counter()
    first: dict[str, Place] = {}
    for split, one in enumerate(splits):
        for number, text in enumerate(one.texts):
            for character, count in collections.Counter(text).items():
                counts[character] += count
                first.setdefault(character, Place(split, number))
    counts.pop(" ", None)
    return [(c, count, first[c]) for c, count in counts.most_common()]


def same_audio(splits: Sequence[Figures]) -> list[Shared]:
    """Utterances of the same samples, those in several splits first."""
    return _shared(splits, lambda one: one.corpus.audio_sha256.tolist(), "")


def same_text(splits: Sequence[Figures]) -> list[Shared]:
    """Utterances of the same folded text, those in several splits first."""
    return _shared(splits, lambda one: map(folded, one.texts), None)


def _shared(splits: Sequence[Figures], keys_of, what: str | None) -> list[Shared]:
    places: dict = collections.defaultdict(list)
    for split, one in enumerate(splits):
        for number, key in enumerate(keys_of(one)):
            if key:
                places[key].append(Place(split, number))
    shared = [
        Shared(some, str(key) if what is None else what)
        for key, some in places.items()
        if len(some) > 1
    ]
    return sorted(shared, key=lambda s: (-len({p.split for p in s.places}), -len(s.places)))


def alike_texts(splits: Sequence[Figures]) -> list[Alike]:
    """Pairs of texts that are almost the same, those of different splits first."""
    first: dict[str, Place] = {}
    for split, one in enumerate(splits):
        for number, text in enumerate(one.texts):
            first.setdefault(folded(text), Place(split, number))
    first.pop("", None)
    places = list(first.values())
    pairs = [
        Alike(places[near.first], places[near.second], near.similarity)
        for near in near_duplicates(list(first))
    ]
    return sorted(pairs, key=lambda p: (p.first.split == p.second.split, -p.similarity))


# Kind of odd utterance: the figure, and whether its largest values are meant.
ODD = {
    "longest": ("seconds", True),
    "shortest": ("seconds", False),
    "most letters per second: does the text belong to another recording, or is the audio cut?": (
        "letters_per_second",
        True,
    ),
    "fewest letters per second: does the text leave out words?": ("letters_per_second", False),
    "noisiest (smallest ratio of loud to quiet moments)": ("snr_db", False),
    "most samples at full scale": ("clipped_share", True),
    "narrowest band: a telephone or a codec?": ("bandwidth_hz", False),
    "quietest": ("level_db", False),
}


def odd(splits: Sequence[Figures], kind: str, count: int) -> list[tuple[Place, float]]:
    """The `count` most extreme utterances of a kind over all splits, with their numbers."""
    name, largest = ODD[kind]
    values = np.concatenate([np.asarray(getattr(one, name), np.float64) for one in splits])
    ends = np.cumsum([len(one.texts) for one in splits])
    order = np.argsort(-values if largest else values, kind="stable")[:count]
    if name == "clipped_share":
        order = [n for n in order if values[n] > 0]
    chosen = []
    for n in order:
        if not np.isnan(values[n]):
            split = int(np.searchsorted(ends, n, side="right"))
            place = Place(split, int(n - (ends[split] - len(splits[split].texts))))
            chosen.append((place, float(values[n])))
    return chosen
