"""Libri-Light: its limited splits with transcripts, and its books without any."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_librispeech import by_subset, has_file, subsets
from w2v2_jax.prepare.utterance import SourceOptions, Utterance

LIMITED = re.compile(r"10min|10h|1h|9h")
BOOKS = re.compile(r"(unlab[-_])?(small|medium|large|duplicate)")
EITHER = re.compile(f"{LIMITED.pattern}|{BOOKS.pattern}")


def recognise(place: Path) -> str:
    """The evidence for Libri-Light; "" if there is none."""
    limited = [s for s in subsets(place, LIMITED) if has_file(s, ".trans.txt")]
    books = [s for s in subsets(place, BOOKS) if has_file(s, ".flac") and has_file(s, ".json")]
    shown = ", ".join(s.name for s in limited or books)
    return f"the folder{'s' * (len(limited or books) > 1)} {shown}" if shown else ""


def libri_light(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Recordings under `10min`, `1h`, `9h`, `10h` (transcripts as in LibriSpeech) or under `small`,
    `medium`, `large` (SPEAKER/BOOK/...), each a split of its folder's name.

    The published archive has `1h`, of six folders of 10 minutes each, and `9h`; 10 h are both
    (`data/ll:1h+9h`), and 10 minutes are prepared from `1h/0`. Raises InputError without such a
    folder; otherwise as `source_folder.folder`.
    """
    if not subsets(Path(place), EITHER):
        raise InputError(f"{place}: no folder 10min, 1h, 9h, 10h, small, medium or large")
    utterances = by_subset(place, EITHER, account=account, options=options)
    return (_with_speaker(utterance) for utterance in utterances)


def _with_speaker(utterance: Utterance) -> Utterance:
    """Adds a book's speaker: the name of the folder below the subset's."""
    if utterance.speaker or utterance.split is None or not BOOKS.fullmatch(utterance.split):
        return utterance
    parts = utterance.id.split("/")
    after = parts.index(utterance.split) + 1 if utterance.split in parts else 0
    return utterance._replace(speaker=parts[after]) if after < len(parts) - 1 else utterance
