"""The data section of a configuration."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.augment import AugmentConfig
from w2v2_jax.data.mixture import Mixture, Names, read_members
from w2v2_jax.data.pipeline import READERS
from w2v2_jax.data.plan import MODES, EvaluationPlan, Plan, evaluation_plan
from w2v2_jax.data.transcribed import AnyCorpus
from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import check_least, check_positive, check_type
from w2v2_jax.input_scale import EPSILON

# Far above any use; larger ones are slips, for which compilers work long.
MOST = {
    "batch_seconds": 1e7,
    "valid_batch_seconds": 1e7,
    "bucket_seconds": 1e5,
    "valid_bucket_seconds": 1e5,
    "row_multiple": 1 << 20,
}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the audio is and how it is cut into batches.

    train: the prepared corpus to train on, "DIR[:split[+split]]", or several of them, separated by
        commas, as a list, or as a list of dicts with the fields of `data.mixture.Member`.
    valid: the same for validation, without dicts; "" means no validation.
    alpha: power of the hours by which several corpora get their shares (`data.mixture`). 1 uses
        each utterance once per epoch, 0 gives equal shares, and XLSR-53 and XLS-R use .5.
    mode: "crop", "concatenate" (pretraining) or "pad" (CTC); see `data.plan.MODES`.
    bucket_seconds: the row lengths; each that is used is compiled as one shape.
    batch_seconds: the most audio in a global batch (rows x row length).
    valid_bucket_seconds: the row lengths of validation; if empty, those of training.
    valid_batch_seconds: the most audio in a validation batch; 0 means as in training.
    row_multiple: the rows of every batch are a multiple of this number, which is accumulate x
        device rows x diversity group. It is written in the recipe and not derived from the machine,
        so that the order of the data is the same on any number of devices and hosts.
    min_seconds: shorter utterances are dropped and counted. 0 means the shortest bucket in mode
        "crop", whose rows have no padding, and 0.1 s otherwise.
    normalise: whether each file is normalised to zero mean and unit variance, as for the layer-norm
        families.
    normalise_epsilon: number that is added to this variance; None means that of init_from's
        checkpoint (1e-7 if it came from Hugging Face), or else 1e-5.
    verify: whether the checksum of every utterance is checked at its first use; a damaged row gets
        no weight.
    reader: "tfdata", or "threads" if TensorFlow is not installed.
    workers: number of reader threads; 0 means one per core.
    prefetch_mib: most MiB of samples in all batches that this host makes in advance.
    augment: augmentation of training rows; see `data.augment.AugmentConfig`.
    """

    train: Names
    mode: str
    bucket_seconds: tuple[float, ...]
    batch_seconds: float
    row_multiple: int
    alpha: float = 1.0
    valid: str | tuple[str, ...] = ""
    valid_bucket_seconds: tuple[float, ...] = ()
    valid_batch_seconds: float = 0.0
    min_seconds: float = 0.0
    normalise: bool = False
    normalise_epsilon: float | None = None
    verify: bool = True
    reader: str = "tfdata"
    workers: int = 0
    prefetch_mib: int = 2048
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)

    def __post_init__(self):
        for field, known in (("mode", MODES), ("reader", READERS)):
            if getattr(self, field) not in known:
                value = getattr(self, field)
                raise InputError(f"data.{field}={value!r} is unknown; use one of {list(known)}")
        check_type("data", self, "switch", "normalise", "verify")
        check_type("data", self, "whole", "row_multiple", "workers", "prefetch_mib")
        check_type("data", self, "numbers", "bucket_seconds", "valid_bucket_seconds")
        if not isinstance(self.augment, AugmentConfig):
            raise InputError(f"data.augment={self.augment!r} must be an AugmentConfig")
        check_least("data", self, prefetch_mib=1, min_seconds=0, workers=0, valid_batch_seconds=0)
        check_positive("data", self, "batch_seconds")
        for field, most in MOST.items():
            value = getattr(self, field)
            if np.max(value, initial=0) > most:
                shown = value if isinstance(value, tuple) else f"{value:g}"
                raise InputError(f"data.{field}={shown} must be at most {most:g}")
        if not self.train:
            raise InputError("data.train is empty; give a prepared corpus, DIR[:split]")
        read_members(self.train)
        if not 0 <= self.alpha <= 1:
            raise InputError(f"data.alpha={self.alpha:g} must be between 0 and 1")
        if not self.bucket_seconds or min(self.bucket_seconds) <= 0 or self.row_multiple < 1:
            raise InputError(
                f"data.bucket_seconds={self.bucket_seconds} and data.row_multiple="
                f"{self.row_multiple} must be positive"
            )
        if self.normalise and any(self.augment.gain_db) and not self.augment.telephone_probability:
            raise InputError(
                "data.augment.gain_db changes nothing because data.normalise=True brings every row "
                "to one level; leave it out"
            )
        if not 0 < self.epsilon < 1:
            raise InputError(
                f"data.normalise_epsilon={self.normalise_epsilon} must be between 0 and 1, as 1e-5"
            )

    def least_seconds(self) -> float:
        """The length of the shortest utterance that is used."""
        least = min(self.bucket_seconds) if self.mode == "crop" else 0.1
        return self.min_seconds or least

    @property
    def epsilon(self) -> float:
        """The number that normalisation adds to the variance."""
        return EPSILON if self.normalise_epsilon is None else self.normalise_epsilon

    def threads(self) -> int:
        """Reader threads."""
        return self.workers or os.cpu_count() or 1

    def train_plan(self, corpus: AnyCorpus, *, seed: int, mixture: Mixture | None = None) -> Plan:
        """The endless order of training batches; mixture: of the corpus's utterances.

        Raises InputError if `min_seconds` asks for utterances that no bucket can take.
        """
        seconds, shortest = corpus.num_samples / SAMPLE_RATE, min(self.bucket_seconds)
        lost = int(((seconds >= self.least_seconds()) & (seconds < shortest)).sum())
        if self.mode == "crop" and lost:
            raise InputError(
                f"data.min_seconds={self.min_seconds:g}, but {lost} of {len(seconds)} utterances "
                f"from there on do not fill the shortest of data.bucket_seconds, {shortest:g} s, "
                f"and rows of mode 'crop' have no padding: add a bucket of {self.min_seconds:g} s, "
                f"or set data.min_seconds={shortest:g}"
            )
        return Plan(
            corpus.num_samples,
            seed=seed,
            mode=self.mode,
            bucket_samples=_samples(self.bucket_seconds),
            batch_samples=round(self.batch_seconds * SAMPLE_RATE),
            row_multiple=self.row_multiple,
            min_samples=round(self.least_seconds() * SAMPLE_RATE),
            speakers=corpus.speakers if self.mode == "concatenate" else None,
            mixture=mixture,
        )

    def valid_plan(self, corpus: AnyCorpus) -> EvaluationPlan:
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
