"""Finds clips that are in two corpora, or twice in one, by the hashes of their samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from w2v2_jax.data.joined import JoinedCorpus
from w2v2_jax.data.transcribed import AnyCorpus, TranscribedCorpus


def shared_clips(corpus: AnyCorpus, other: AnyCorpus) -> int:
    """How many clips of the second corpus are in the first as well, sample by sample."""
    hashes = np.sort(other.audio_sha256)
    if not len(hashes):
        return 0
    theirs = corpus.audio_sha256
    places = np.minimum(np.searchsorted(hashes, theirs), len(hashes) - 1)
    both = theirs[hashes[places] == theirs]
    return int(np.isin(hashes, both).sum())


def warnings(train: AnyCorpus, valid: AnyCorpus | None) -> Iterator[str]:
    """One line about clips that several training corpora share, and one about clips that training
    and validation share. (`prepare` reports those within one corpus.)"""
    whole = train.whole if isinstance(train, TranscribedCorpus) else train
    if isinstance(whole, JoinedCorpus) and (count := _repeated(train.audio_sha256)):
        yield (
            f"warning: clips of the training corpora {whole.directory} that another clip repeats: "
            f"{count} of {len(train)}; name each recording's corpus once in config.data.train"
        )
    count = 0 if valid is None else shared_clips(train, valid)
    if valid is None or not count:
        return
    yield (
        f"warning: clips of the validation corpus {valid.directory} that are trained on as well: "
        f"{count} of {len(valid)}; its figures will be better than those of speech that is new. "
        "Name a split that is apart in config.data.valid, as prepare --holdout dev=0.05 makes one"
    )


def _repeated(hashes: np.ndarray) -> int:
    ordered = np.sort(hashes)
    return int((ordered[1:] == ordered[:-1]).sum())
