"""The data section of a configuration -> batches for training and validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

from w2v2_jax.batch import Batch
from w2v2_jax.data.augment import Augmentation, open_augmentation
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.corpus import Corpus
from w2v2_jax.data.damage import Damage
from w2v2_jax.data.joined import JoinedCorpus, open_corpora, open_splits
from w2v2_jax.data.mixture import Mixture, Names, open_members, paths_of, spelled
from w2v2_jax.data.pipeline import batches, label_widths
from w2v2_jax.data.plan import EvaluationPlan, Plan
from w2v2_jax.data.transcribed import (
    AnyCorpus,
    TranscribedCorpus,
    check_vocabulary,
    left_out,
    outside_vocabulary,
    transcribed,
)
from w2v2_jax.errors import InputError, counted
from w2v2_jax.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Feed:
    """A corpus, its plan and its vocabulary: everything that decides a stream of batches.

    With a vocabulary the corpus has only utterances with a transcript.
    """

    config: DataConfig
    corpus: AnyCorpus
    plan: Plan | EvaluationPlan
    vocabulary: Vocabulary | None
    widths: dict[int, int] | None
    damage: Damage | None = None
    mixture: Mixture | None = None
    augmentation: Augmentation | None = None

    @property
    def symbols(self) -> Vocabulary:
        """The vocabulary of a feed with labels."""
        if self.vocabulary is None:
            raise ValueError(f"{self.corpus.directory} is read without a vocabulary")
        return self.vocabulary

    @property
    def without_transcript(self) -> int:
        """Utterances that are left out because they have no transcript."""
        return left_out(self.corpus)

    @property
    def utterances(self) -> int:
        """How many utterances the plan uses."""
        return sum(len(bucket.utterances) for bucket in self.plan.buckets)

    def shares(self) -> dict[str, tuple[float, float]]:
        """For each part of a mixture its share of the audio, and how often an epoch has each of its
        utterances; nothing if there is no mixture."""
        repeats = self.plan.repeats if isinstance(self.plan, Plan) else None
        if self.mixture is None or repeats is None:
            return {}
        pairs = zip(repeats.shares.tolist(), repeats.repeats.tolist(), strict=True)
        return dict(zip(self.mixture.names, pairs, strict=True))

    def used(self) -> str:
        """ "3 utterances used, 9 without a transcript left out", and how many of these have a text
        of which the vocabulary knows nothing."""
        said = f"{counted(self.utterances, 'utterance')} used"
        if self.vocabulary is None:
            return said
        unknown = outside_vocabulary(self.corpus)
        why = f" ({unknown} of them with a text that the vocabulary lacks)" if unknown else ""
        return f"{said}, {self.without_transcript} without a transcript left out{why}"

    def batches(
        self,
        first_step: int,
        num_steps: int | None,
        *,
        parts: tuple[int, ...] = (0,),
        num_parts: int = 1,
    ) -> Generator[Batch]:
        """This host's parts of the rows of batch first_step, first_step + 1, ..."""
        return batches(
            self.corpus,
            self.plan,
            first_step=first_step,
            num_steps=num_steps,
            normalise=self.config.normalise,
            epsilon=self.config.epsilon,
            workers=self.config.threads(),
            parts=parts,
            num_parts=num_parts,
            vocabulary=self.vocabulary,
            max_labels=self.widths,
            reader=self.config.reader,
            prefetch_bytes=self.config.prefetch_mib << 20,
            damage=self.damage,
            augmentation=self.augmentation,
        )

    def row_sources(self, step: int) -> list[list[dict[str, Any]]]:
        """The sources of each row with weight in the global batch of update `step` (from 1)."""
        batch = self.plan.batch(step - 1)
        return [
            [{"id": self.corpus.id(u), "start": start, "samples": n} for u, start, n in row]
            for row, weight in zip(batch.rows, batch.weights, strict=True)
            if weight
        ]


def check_corpora(config: DataConfig) -> None:
    """Raises InputError with the option that names another corpus if one of data.train or
    data.valid is not there. Reads no index."""
    valid = (config.valid,) if isinstance(config.valid, str) else config.valid
    places = {"train": config.train, "valid": tuple(filter(None, valid))}
    for setting, named in places.items():
        try:
            for path in paths_of(named) if named else ():
                open_splits(path)
        except InputError as error:
            remedy = f"--config.data.{setting}=DIR:SPLIT names another corpus"
            remedy += ", --config.data.valid= none" if setting == "valid" else ""
            raise InputError(f"{error}; {remedy}") from error


def train_feed(config: DataConfig, vocabulary: Vocabulary | None, *, seed: int) -> Feed:
    """The training stream; raises InputError that names the corpus if something does not fit."""
    opened = open_members(config.train)
    corpus: AnyCorpus = opened.corpus
    mixture = opened.mixture(config.alpha)
    if vocabulary is not None:
        for member, one in zip(opened.members, opened.corpora, strict=True):
            check_vocabulary(one, vocabulary, several=len(opened.members) > 1, where=member.path)
        corpus = _transcribed(opened.corpus, vocabulary, "train", config.train)
    if mixture is not None and isinstance(corpus, TranscribedCorpus):
        mixture = mixture._replace(cells=mixture.cells[corpus.numbers])
    plan = config.train_plan(corpus, seed=seed, mixture=mixture)
    widths = label_widths(corpus, plan, vocabulary) if vocabulary else None
    damage = Damage(corpus) if config.verify else None
    whole = config.mode == "pad"
    augmentation = open_augmentation(config.augment, seed=seed, whole=whole)
    return Feed(config, corpus, plan, vocabulary, widths, damage, mixture, augmentation)


def valid_feed(config: DataConfig, vocabulary: Vocabulary | None) -> Feed | None:
    """One pass over the validation corpus, or None if the configuration names none."""
    if not config.valid:
        return None
    whole = open_corpora(config.valid)
    corpus: AnyCorpus = whole
    if vocabulary is not None:
        corpus = _transcribed(whole, vocabulary, "valid", config.valid)
    plan = config.valid_plan(corpus)
    widths = label_widths(corpus, plan, vocabulary) if vocabulary else None
    damage = Damage(corpus) if config.verify else None
    return Feed(config, corpus, plan, vocabulary, widths, damage)


def _transcribed(
    corpus: Corpus | JoinedCorpus, vocabulary: Vocabulary, name: str, value: Names
) -> AnyCorpus:
    """The utterances with a transcript of the corpus of config.data.<name>."""
    return transcribed(corpus, vocabulary, where=f"config.data.{name}={spelled(value)}")
