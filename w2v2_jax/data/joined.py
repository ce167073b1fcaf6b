"""Several prepared splits as one corpus: "DIR:train+unlabeled"."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2v2_jax.data.corpus import Corpus, list_splits, open_corpus
from w2v2_jax.paths import to_path


@dataclass(frozen=True)
class JoinedCorpus:
    """The utterances of `parts`, one split after the other; reads like a `Corpus`."""

    parts: tuple[Corpus, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def directory(self) -> Path:
        """Where the parts lie, for messages."""
        return self.parts[0].directory.with_name("+".join(part.split for part in self.parts))

    @property
    def has_text(self) -> bool:
        """Whether any utterance has a transcript."""
        return any(part.has_text for part in self.parts)

    @functools.cached_property
    def num_samples(self) -> np.ndarray:
        """[N] int64, as in `Corpus`."""
        return np.concatenate([part.num_samples for part in self.parts])

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """[N] float32, as in `Corpus`."""
        return np.concatenate([part.mean for part in self.parts])

    @functools.cached_property
    def std(self) -> np.ndarray:
        """[N] float32, as in `Corpus`."""
        return np.concatenate([part.std for part in self.parts])

    @functools.cached_property
    def speakers(self) -> np.ndarray:
        """[N] uint64, as in `Corpus`."""
        return np.concatenate([part.speakers for part in self.parts])

    def fingerprint(self) -> str:
        """As in `Corpus`, of all parts."""
        return "+".join(part.fingerprint() for part in self.parts)

    def id(self, i: int) -> str:
        part, index = self._locate(i)
        return part.id(index)

    def text(self, i: int) -> str:
        part, index = self._locate(i)
        return part.text(index)

    def speaker(self, i: int) -> str:
        part, index = self._locate(i)
        return part.speaker(index)

    def texts(self) -> Iterator[str]:
        """All transcripts in order."""
        return (text for part in self.parts for text in part.texts())

    def read(self, i: int, start: int, length: int) -> np.ndarray:
        """[length] int16 samples of utterance i, as in `Corpus`."""
        part, index = self._locate(i)
        return part.read(index, start, length)

    def verify(self, i: int) -> bool:
        """As in `Corpus`."""
        part, index = self._locate(i)
        return part.verify(index)

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part) for part in self.parts])

    def _locate(self, i: int) -> tuple[Corpus, int]:
        place = int(np.searchsorted(self._ends, i, side="right"))
        return self.parts[place], i - (int(self._ends[place - 1]) if place else 0)


def open_splits(where: str) -> Corpus | JoinedCorpus:
    """Opens "DIR[:split[+split...]]"; raises InputError as `open_corpus` does."""
    parts = each_split(where)
    if len(parts) == 1:
        return open_corpus(where)
    return JoinedCorpus(tuple(map(open_corpus, parts)))


def each_split(where: str) -> list[str]:
    """ "DIR:a+b" -> "DIR:a", "DIR:b"; anything else, also a folder or split of such a name, as it
    is."""
    directory, colon, last = str(where).rpartition(":")
    whole = not colon or "/" in last or to_path(where).exists()
    if whole or (to_path(directory) / last).exists():
        return [str(where)]
    return [f"{directory}:{name}" for name in last.split("+")]


VALIDATION = ("dev", "valid", "validation", "val")


def validation_beside(where: str, usual: str = "") -> str | None:
    """The validation split of the corpus that "DIR[:split[+split...]]" is of: `usual` where that is
    one, else the first of VALIDATION, or of the splits whose names begin so (dev_clean), that is
    not among those named."""
    directory, named = _place(where)
    splits = list_splits(directory)
    other, wanted = _place(usual)
    if usual and to_path(other) == to_path(directory) and set(wanted) <= set(splits):
        return usual
    for name in VALIDATION:
        for split in (name, *splits):
            matches = split == name or re.match(rf"{name}[_.-]", split)
            if matches and split in splits and split not in named:
                return f"{directory}:{split}"
    return None


def _place(where: str) -> tuple[str, list[str]]:
    """The folder of a corpus and the splits of it that are named."""
    directory, colon, last = where.rpartition(":")
    if not colon or "/" in last:
        directory, last = where, ""
    if directory and (to_path(directory) / "corpus.json").is_file():  # a split's own folder
        directory, last = str(to_path(directory).parent), to_path(directory).name
    return directory, last.split("+") if last else []
