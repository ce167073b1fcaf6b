"""Several corpora as the training data of one run: how they are named, and the share of each.

Source: Conneau et al. 2020 (XLSR-53, arXiv 2006.13979): a batch's language l is drawn with
probability p_l proportional to (n_l / N) ** alpha, n_l being its hours. Babu et al. 2021 (XLS-R,
arXiv 2111.09296) do so twice: over the languages of each corpus, then over the corpora, "treating
each corpus as a different language"; alpha is 0.5 in both papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.corpus import Corpus
from w2v2_jax.data.joined import JoinedCorpus, each_corpus, join_corpora, open_splits
from w2v2_jax.errors import InputError, listed

Names = str | tuple[str | dict[str, str | float], ...]  # what data.train may be


class Member(NamedTuple):
    """One entry of `data.train`.

    path: "DIR[:split[+split]]"; a `*` as the last part of DIR stands for every matching folder.
    corpus: entries with the same name form one corpus; languages are balanced within each corpus
        before the corpora are balanced.
    language: entries with the same corpus and language have one share together; by default each
        utterance has the language that `prepare` found.
    weight: factor of that share.
    """

    path: str
    corpus: str = ""
    language: str = ""
    weight: float = 1.0


class Mixture(NamedTuple):
    """The shares of the audio. A cell is one language of one corpus.

    cells: [N] int32 cell of each utterance. names, corpora, weights: [C] for each cell, its name in
    messages, the number of its corpus, and the factor of its share.
    """

    cells: np.ndarray
    names: tuple[str, ...]
    corpora: tuple[int, ...]
    weights: tuple[float, ...]
    alpha: float

    def shares(self, amounts: np.ndarray) -> np.ndarray:
        """[C] shares of the cells, which sum to 1; amounts: [C] the audio of each cell.

        The share of a corpus is (N_c / N) ** alpha, and that of a language within it is
        (n_l / N_c) ** alpha, both divided by their sums. Raises InputError that names a cell
        without audio.
        """
        if not np.all(amounts > 0):
            name = self.names[int(np.argmin(amounts > 0))]
            raise InputError(
                f"config.data.train: {name} has no utterance that data.bucket_seconds and "
                "data.min_seconds allow; leave it out, or change them"
            )
        corpora = np.asarray(self.corpora)
        whole = np.bincount(corpora, amounts)  # [corpora]
        inside = (amounts / whole[corpora]) ** self.alpha
        inside /= np.bincount(corpora, inside)[corpora]
        among = (whole / whole.sum()) ** self.alpha
        shares = (among / among.sum())[corpora] * inside * np.asarray(self.weights)
        return shares / shares.sum()


class Members(NamedTuple):
    """The opened corpora of `data.train`, in its order."""

    members: tuple[Member, ...]
    corpora: tuple[Corpus | JoinedCorpus, ...]
    names: tuple[str, ...]  # the language of each, if neither the entry nor its corpus names one

    @property
    def corpus(self) -> Corpus | JoinedCorpus:
        """All of them, one after the other."""
        return self.corpora[0] if len(self.corpora) == 1 else join_corpora(self.corpora)

    def mixture(self, alpha: float) -> Mixture | None:
        """The shares; None if each share is that of the audio, so that every epoch has each
        utterance once."""
        if alpha == 1 and len({member.weight for member in self.members}) == 1:
            return None
        weights: dict[tuple[str, str], float] = {}
        numbers = []
        for member, corpus, name in zip(self.members, self.corpora, self.names, strict=True):
            places, languages = _languages(member, corpus, name)
            cells = [(member.corpus, language) for language in languages]
            for cell in cells:
                if weights.setdefault(cell, member.weight) != member.weight:
                    raise InputError(
                        f"config.data.train: {member.path} and another entry of its corpus and "
                        f"language have different weights, {member.weight:g} and "
                        f"{weights[cell]:g}"
                    )
            known = list(weights)
            numbers.append(np.array([known.index(cell) for cell in cells], np.int32)[places])
        if len(weights) == 1:
            return None
        names = list(dict.fromkeys(corpus for corpus, _ in weights))
        return Mixture(
            np.concatenate(numbers),
            tuple(": ".join(filter(None, cell)) for cell in weights),
            tuple(names.index(corpus) for corpus, _ in weights),
            tuple(weights.values()),
            alpha,
        )


def _languages(
    member: Member, corpus: Corpus | JoinedCorpus, name: str
) -> tuple[np.ndarray, list[str]]:
    """[N] the number of each utterance's language, and the languages: that of the entry, else those
    of the corpus, else `name`."""
    if member.language:
        return np.zeros(len(corpus), np.int64), [member.language]
    numbers, known = corpus.languages()
    return numbers, [language or name for language in known]


def read_members(train: Names) -> tuple[Member, ...]:
    """The entries of `data.train`. Raises InputError with the position of a wrong entry; no file
    is read."""
    if isinstance(train, str):
        return (Member(train),)
    members = tuple(_member(f"data.train[{k}]", entry) for k, entry in enumerate(train))
    for k, member in enumerate(members):
        if bool(member.corpus) != bool(members[0].corpus):
            raise InputError(
                f"data.train[{k}]: name the corpus of every entry, as in "
                "dict(path='data/mls/*:train', corpus='mls'), or of none"
            )
    return members


def _member(place: str, entry: str | Mapping[str, str | float]) -> Member:
    if not isinstance(entry, (str, Mapping)):
        raise InputError(f"{place}={entry!r} must be text, or a table with a path")
    values: dict[str, Any] = {"path": entry} if isinstance(entry, str) else dict(entry)
    for name, value in values.items():
        if name not in Member._fields:
            known = listed(name, Member._fields)
            raise InputError(f"{place}.{name} is not a setting; {known}")
        if isinstance(value, str) == (name == "weight"):
            kind = "a number" if name == "weight" else "text"
            raise InputError(f"{place}.{name}={value!r} must be {kind}")
    member = Member(**{"path": "", **values})
    if not member.path:
        raise InputError(f"{place} has no path; give a prepared corpus, DIR[:split]")
    if not member.weight > 0:
        raise InputError(f"{place}.weight={member.weight:g} must be above 0; leave the entry out")
    return member


def open_members(train: Names) -> Members:
    """Opens every corpus of `data.train`; for a `*` each matching folder, which is one language if
    the corpus itself names none.

    Raises InputError as `open_splits` does, and if a path is named twice.
    """
    members, names = [], []
    for member in read_members(train):
        for path, name in each_corpus(member.path):
            members.append(member._replace(path=path))
            names.append(name or path)
    paths = [member.path for member in members]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"config.data.train names {path} twice; give it a weight instead")
    return Members(tuple(members), tuple(map(open_splits, paths)), tuple(names))


def paths_of(train: Names) -> list[str]:
    """The corpora that `data.train` names, without opening them."""
    return [path for member in read_members(train) for path, _ in each_corpus(member.path)]


def spelled(train: Names) -> str:
    """`data.train` as one text, for messages."""
    return train if isinstance(train, str) else ",".join(m.path for m in read_members(train))
