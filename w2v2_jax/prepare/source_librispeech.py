"""LibriSpeech and corpora of the same layout: a folder per subset, a `*.trans.txt` per chapter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import folder, walk
from w2v2_jax.prepare.utterance import SourceOptions, Utterance

SUBSET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")
LOOKED_AT = 64  # folders, until a chapter is met
DEPTH = 2  # folders above a subset, the one that is named among them


def recognise(place: Path) -> str:
    """The evidence for LibriSpeech; "" if there is none."""
    named = [s for s in subsets(place, SUBSET) if has_file(s, ".trans.txt")]
    return f"chapters in {', '.join(s.name for s in named)}" if named else ""


def librispeech(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Recordings under the folders of subsets; each subset becomes a split of the same name.

    Recordings outside the subsets go to the split of --split, or else `train`, with a remark.
    Raises InputError without such a folder; otherwise as `source_folder.folder`.
    """
    if not subsets(Path(place), SUBSET):
        raise InputError(f"{place}: no folder of a subset such as train-clean-100 or dev-clean")
    return by_subset(place, SUBSET, account=account, options=options)


def by_subset(
    place: str, names: re.Pattern[str], *, account: Account, options: SourceOptions
) -> Iterator[Utterance]:
    """The utterances of a folder; the nearest folder whose name matches `names` is the split."""
    above = Path(os.path.abspath(place)).name
    utterances = folder(place, account=account, options=options)
    return _named(utterances, names, above, account)


def _named(
    utterances: Iterable[Utterance], names: re.Pattern[str], above: str, account: Account
) -> Iterator[Utterance]:
    for utterance in utterances:
        parts = [above, *utterance.id.split("/")[:-1]]
        split = next((part for part in reversed(parts) if names.fullmatch(part)), None)
        if split is None and utterance.split is None:
            account.remarks.add("in no subset's folder", utterance.id)
        yield utterance._replace(split=utterance.split or split)


def subsets(place: Path, names: re.Pattern[str]) -> list[Path]:
    """The folder itself, or those up to DEPTH levels below it, that have a subset's name."""
    if not place.is_dir():
        return []
    if names.fullmatch(Path(os.path.abspath(place)).name):
        return [place]
    level = [place]
    for _ in range(DEPTH):
        # glob passes over a folder that cannot be read; reading the source counts it.
        level = [p for above in level for p in sorted(above.glob("*")) if os.path.isdir(p)]
        if fitting := [p for p in level if names.fullmatch(p.name)]:
            return fitting
        level = level[:LOOKED_AT]
    return []


def has_file(place: Path, suffix: str) -> bool:
    """Whether one of the first folders below `place` has a file with the suffix."""
    for count, (_, _, files) in enumerate(walk(place)):
        if any(file.endswith(suffix) for file in files):
            return True
        if count == LOOKED_AT:
            break
    return False
