"""Which utterances `--holdout` moves to another split, by a hash of their content, and which stay.

A split that the source gives an utterance is kept. If the source has transcripts, only utterances
with one are held out, because a test split needs references.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import NamedTuple

from w2v2_jax.data.corpus import Entry
from w2v2_jax.prepare.report import transcript_key
from w2v2_jax.prepare.source_tfds import tfds_facts
from w2v2_jax.prepare.sources import Resolved, open_source, resolve
from w2v2_jax.prepare.work_units import picked


class Holdable(NamedTuple):
    """named: whether utterances with a split by the source may be held out. mute: whether those
    without a transcript may be held out."""

    named: bool
    mute: bool


def holdable(
    source: str | Resolved,
    *,
    split: str | None,
    tfds_data_dir: str | None,
    ids: frozenset[str] | None,
    phones: str = "61",
) -> Holdable:
    """Which utterances of a source may be held out.

    A folder's transcripts.tsv names splits for single utterances, and a corpus with several splits
    has them by design. These are kept, unless --split puts everything into one. Shares are taken
    from a source with a single split, such as a manifest or one split of TFDS. Audio without
    transcripts is held out if the source has no transcripts at all.
    """
    source = source if isinstance(source, Resolved) else resolve(source)
    if source.kind == "tfds":
        facts = tfds_facts(source.place, tfds_data_dir=tfds_data_dir)
        return Holdable(bool(split) or len(facts.splits) == 1, facts.text is None)
    opened = open_source(source, tfds_data_dir=tfds_data_dir, phones=phones)
    texts, splits = False, set()
    for utterance in picked(opened, ids):
        texts = texts or bool(transcript_key(utterance.text or ""))
        splits.add(utterance.split)
    alone = source.kind != "folder" and len(splits) < 2
    return Holdable(bool(split) or alone, not texts)


class Holdout:
    """Moves shares of the utterances to other splits, and counts what it does."""

    def __init__(self, shares: dict[str, float], allowed: Holdable):
        self.shares, self._allowed = shares, allowed
        self._taken = collections.Counter(dict.fromkeys(shares, 0))
        self._asked = self._named = self._mute = 0

    def split_of(self, entry: Entry, split: str, *, named: bool) -> str:
        """The split of an utterance; named: whether the source says that it belongs to `split`."""
        if split in self.shares:
            return split
        if named and not self._allowed.named:
            self._named += 1
            return split
        if not self._allowed.mute and not transcript_key(entry.text):
            self._mute += 1
            return split
        self._asked += 1
        chosen = held_out_split(split, entry, self.shares)
        self._taken.update([chosen] if chosen != split else [])
        return chosen

    def told(self) -> Iterable[str]:
        """One line about what was held out; none without shares."""
        if not self.shares:
            return []
        what = "utterances" if self._allowed.mute else "utterances with a transcript"
        line = ", ".join(f"{name} {count}" for name, count in self._taken.items())
        line = f"held out: {line} of {self._asked} {what}"
        if self._mute:
            line += f"; {self._mute} without a transcript stay"
        if self._named:
            line += f"; {self._named} stay in the split that the source names (see --split)"
        return [line]


def held_out_split(split: str, entry: Entry, holdout: dict[str, float]) -> str:
    """The split an utterance goes to, by the hash of its transcript, or else of its audio."""
    if split in holdout:
        return split
    place, end = (transcript_key(entry.text) or entry.audio_sha256) / 2**64, 0.0
    for name, share in holdout.items():
        end += share
        if place < end:
            return name
    return split
