"""Several prepared splits, of one folder or of many, as one corpus: "DIR:train+unlabeled"."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError
from w2v2_jax.paths import SPLIT, AnyPath, is_remote, to_path


@dataclass(frozen=True)
class JoinedCorpus:
    """The utterances of `parts`, one split after the other; reads like a `Corpus`.

    If they are splits of several folders, an id begins with its folder, and speakers with the same
    name in two folders count as two.
    """

    parts: tuple[Corpus, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def directory(self) -> Path:
        """Where the parts lie, for messages."""
        first = self.parts[0].directory
        if len(self._folders) > 1:
            return first.with_name(f"{first.name} and {len(self.parts) - 1} more")
        return first.with_name("+".join(part.split for part in self.parts))

    @functools.cached_property
    def _folders(self) -> list[AnyPath]:
        """The folders that the parts are splits of, in order."""
        return list(dict.fromkeys(part.directory.parent for part in self.parts))

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
        numbers = [self._folders.index(part.directory.parent) for part in self.parts]
        apart = np.asarray(numbers, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return np.concatenate(
            [part.speakers + salt for part, salt in zip(self.parts, apart, strict=True)]
        )

    @functools.cached_property
    def audio_sha256(self) -> np.ndarray:
        """[N] uint64, as in `Corpus`."""
        return np.concatenate([part.audio_sha256 for part in self.parts])

    def languages(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """As in `Corpus`."""
        each = [part.languages() for part in self.parts]
        names = list(dict.fromkeys(name for _, some in each for name in some))
        places = [np.array([names.index(name) for name in some]) for _, some in each]
        numbers = [place[n] for place, (n, _) in zip(places, each, strict=True)]
        return np.concatenate(numbers), tuple(names)

    def fingerprint(self) -> str:
        """As in `Corpus`, of all parts."""
        return "+".join(part.fingerprint() for part in self.parts)

    @property
    def text_rules(self) -> dict[str, Any] | None:
        """The text rules of the parts, as in `Corpus`; InputError if parts with texts have
        different rules."""
        ruled = [part for part in self.parts if part.text_rules is not None and part.has_text]
        for part in ruled[1:]:
            if without_name(part.text_rules) != without_name(ruled[0].text_rules):
                raise InputError(
                    f"{ruled[0].directory} was prepared with --text {rules_name(ruled[0])}, "
                    f"{part.directory} with --text {rules_name(part)}; prepare them alike"
                )
        return ruled[0].text_rules if ruled else None

    def id(self, i: int) -> str:
        part, index = self._locate(i)
        folder = f"{part.directory.parent}:" if len(self._folders) > 1 else ""
        return f"{folder}{part.id(index)}"

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


def without_name(rules: dict[str, Any] | None) -> dict[str, Any] | None:
    """Text rules without their name."""
    return rules and {name: value for name, value in rules.items() if name != "name"}


def rules_name(corpus: Any) -> str:
    """The name of the text rules of a corpus."""
    return "none" if corpus.text_rules is None else str(corpus.text_rules.get("name"))


def join_corpora(corpora: Sequence[Corpus | JoinedCorpus]) -> JoinedCorpus:
    """The utterances of all, in order. Raises InputError if a split is named twice, even by
    different names."""
    each = [c.parts if isinstance(c, JoinedCorpus) else (c,) for c in corpora]
    parts = tuple(part for some in each for part in some)
    places = set[AnyPath]()
    for part in parts:
        place = part.directory if is_remote(part.directory) else part.directory.resolve()
        if place in places:
            raise InputError(f"{part.directory} is named twice; name each split once")
        places.add(place)
    return JoinedCorpus(parts)


def open_corpora(named: str | Sequence[str]) -> Corpus | JoinedCorpus:
    """Opens "DIR[:split[+split]]", a list of such names, or a text of them separated by commas;
    raises InputError as `open_corpus` does."""
    texts = [named] if isinstance(named, str) else named
    opened = [open_splits(path) for text in texts for path, _ in each_corpus(text)]
    return opened[0] if len(opened) == 1 else join_corpora(opened)


def each_corpus(text: str) -> list[tuple[str, str]]:
    """The corpora named by a text with commas, as (path, name). A `*` as the last part of a folder
    stands for every matching folder, in order of their names. Others have the name "".

    A folder whose name contains these characters is meant itself. Raises InputError if nothing
    matches.
    """
    if _is_folder(text):
        return [(text, "")]
    places = [place.strip() for place in text.split(",")]
    if not all(places):
        raise InputError(f"{text!r} names a corpus that is empty; use DIR[:split],DIR[:split]")
    return [one for place in places for one in _matching(place)]


def _is_folder(text: str) -> bool:
    if not {",", "*"} & set(text) or to_path(text).exists():
        return True
    directory, colon, last = text.rpartition(":")
    return bool(colon) and not {",", "*", "/"} & set(last) and to_path(directory).is_dir()


def _matching(place: str) -> list[tuple[str, str]]:
    directory, colon, split = place.rpartition(":")
    if not colon or "/" in split:
        directory, colon, split = place, "", ""
    above, slash, pattern = directory.rpartition("/")
    if "*" not in pattern or to_path(directory).exists():
        return [(place, "")]
    matches = to_path(above or slash or ".").glob(pattern)
    names = sorted(p.name for p in matches if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise InputError(f"{directory}: no folder has such a name")
    return [(f"{above}{slash}{name}{colon}{split}", name) for name in names]


def open_splits(where: str) -> Corpus | JoinedCorpus:
    """Opens "DIR[:split[+split...]]"; raises InputError as `open_corpus` does."""
    parts = each_split(where)
    if len(parts) == 1:
        return open_corpus(where)
    return join_corpora([open_corpus(part) for part in parts])


def each_split(where: str) -> list[str]:
    """ "DIR:a+b" -> "DIR:a", "DIR:b"; anything else unchanged, also a folder or split whose name
    looks like this."""
    directory, colon, last = str(where).rpartition(":")
    whole = not colon or "/" in last or to_path(where).exists()
    if whole or (to_path(directory) / last).exists():
        return [str(where)]
    return [f"{directory}:{name}" for name in last.split("+")]


VALIDATION = ("dev", "valid", "validation", "val")


def validation_beside(where: str, usual: str = "") -> str | None:
    """The validation split of the corpus to which "DIR[:split[+split...]]" belongs: `usual` if it
    exists, else the first of VALIDATION, or of the splits whose names begin with one (dev_clean),
    that is not among the named splits."""
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
    """The folder of a corpus, and its named splits."""
    directory, colon, last = where.rpartition(":")
    if not colon or "/" in last:
        directory, last = where, ""
    if directory and (to_path(directory) / SPLIT).is_file():  # a split's own folder
        directory, last = str(to_path(directory).parent), to_path(directory).name
    return directory, last.split("+") if last else []
