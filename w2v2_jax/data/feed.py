"""The data section of a configuration -> batches for training and validation."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from w2v2_jax.batch import Batch
from w2v2_jax.data.damage import Damage
from w2v2_jax.data.joined import JoinedCorpus, open_splits
from w2v2_jax.data.pipeline import READERS, batches, label_widths
from w2v2_jax.data.plan import MODES, SAMPLE_RATE, EvaluationPlan, Plan, evaluation_plan
from w2v2_jax.data.store import Corpus
from w2v2_jax.data.vocabulary import Vocabulary
from w2v2_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the audio is and how it is cut into batches.

    train, valid: prepared corpora, "DIR[:split[+split]]"; valid "" means none.
    mode: "crop", "concatenate" (pretraining) or "pad" (CTC); see `data.plan.MODES`.
    bucket_seconds: row lengths; each non-empty one is one compiled shape.
    batch_seconds: audio a global batch holds at most (rows x row length).
    row_multiple: every batch's rows are a multiple of this: accumulate x device rows x diversity
        group. It is written in the recipe, not derived from the machine, so that the order of the
        data is the same on any number of devices and hosts.
    normalise: whole-file zero mean and unit variance, for the layer-norm families.
    verify: checks every utterance's checksum at its first use; a damaged row gets no weight.
    reader: "tfdata", or "threads" where TensorFlow is not installed. workers 0: all cores.
    """

    train: str
    mode: str
    bucket_seconds: tuple[float, ...]
    batch_seconds: float
    row_multiple: int
    valid: str = ""
    valid_bucket_seconds: tuple[float, ...] = ()
    valid_batch_seconds: float = 0.0
    min_seconds: float = 0.1
    normalise: bool = False
    verify: bool = True
    reader: str = "tfdata"
    workers: int = 0

    def __post_init__(self):
        for field, known in (("mode", MODES), ("reader", READERS)):
            if getattr(self, field) not in known:
                value = getattr(self, field)
                raise InputError(f"data.{field}={value!r} is unknown; use one of {list(known)}")
        if not self.train:
            raise InputError("data.train is empty; give a prepared corpus, DIR[:split]")
        if not self.bucket_seconds or min(self.bucket_seconds) <= 0 or self.row_multiple < 1:
            raise InputError(
                f"data.bucket_seconds={self.bucket_seconds} and data.row_multiple="
                f"{self.row_multiple} must be positive"
            )

    def threads(self) -> int:
        """Reader threads."""
        return self.workers or os.cpu_count() or 1

    def train_plan(self, corpus: Corpus, *, seed: int) -> Plan:
        """The endless order of training batches."""
        return Plan(
            corpus.num_samples,
            seed=seed,
            mode=self.mode,
            bucket_samples=_samples(self.bucket_seconds),
            batch_samples=round(self.batch_seconds * SAMPLE_RATE),
            row_multiple=self.row_multiple,
            min_samples=round(self.min_seconds * SAMPLE_RATE),
            speakers=corpus.speakers if self.mode == "concatenate" else None,
        )

    def valid_plan(self, corpus: Corpus) -> EvaluationPlan:
        """One pass over the validation corpus; pretraining takes the head of each clip."""
        return evaluation_plan(
            corpus.num_samples,
            bucket_samples=_samples(self.valid_bucket_seconds or self.bucket_seconds),
            batch_samples=round((self.valid_batch_seconds or self.batch_seconds) * SAMPLE_RATE),
            row_multiple=self.row_multiple,
            mode="pad" if self.mode == "pad" else "crop",
        )


def _samples(seconds: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(round(s * SAMPLE_RATE) for s in seconds)


@dataclasses.dataclass(frozen=True)
class Feed:
    """A corpus, its plan and its vocabulary: everything a stream of batches follows from."""

    config: DataConfig
    corpus: Corpus | JoinedCorpus
    plan: Plan | EvaluationPlan
    vocabulary: Vocabulary | None
    widths: dict[int, int] | None
    damage: Damage | None = None

    def batches(
        self,
        first_step: int,
        num_steps: int | None,
        *,
        parts: tuple[int, ...] = (0,),
        num_parts: int = 1,
    ) -> Iterator[Batch]:
        """This host's parts of the rows of batch first_step, first_step + 1, ..."""
        return batches(
            self.corpus,
            self.plan,
            first_step=first_step,
            num_steps=num_steps,
            normalise=self.config.normalise,
            workers=self.config.threads(),
            parts=parts,
            num_parts=num_parts,
            vocabulary=self.vocabulary,
            max_labels=self.widths,
            reader=self.config.reader,
            damage=self.damage,
        )

    def rows(self, step: int) -> list[list[dict[str, Any]]]:
        """What stands in each row of the global batch of update `step` (from 1 on)."""
        return [
            [{"id": self.corpus.id(u), "start": start, "samples": n} for u, start, n in row]
            for row in self.plan.batch(step - 1).rows
        ]


def train_feed(config: DataConfig, vocabulary: Vocabulary | None, *, seed: int) -> Feed:
    """The training stream; raises InputError naming the corpus where something does not fit."""
    corpus = open_splits(config.train)
    plan = config.train_plan(corpus, seed=seed)
    widths = label_widths(corpus, plan, vocabulary) if vocabulary else None
    damage = Damage(corpus) if config.verify else None
    return Feed(config, corpus, plan, vocabulary, widths, damage)


def valid_feed(config: DataConfig, vocabulary: Vocabulary | None) -> Feed | None:
    """One pass over the validation corpus, or None where the configuration names none."""
    if not config.valid:
        return None
    corpus = open_splits(config.valid)
    plan = config.valid_plan(corpus)
    widths = label_widths(corpus, plan, vocabulary) if vocabulary else None
    damage = Damage(corpus) if config.verify else None
    return Feed(config, corpus, plan, vocabulary, widths, damage)
