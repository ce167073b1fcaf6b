"""Which utterances `--holdout` moves to another split, by a hash of what --holdout-by names, and
which stay.

A split that the source gives an utterance is kept. If the source has transcripts, only utterances
with one are held out, because a test split needs references.
"""

from __future__ import annotations

import collections
import hashlib
import math
from collections.abc import Iterable
from typing import NamedTuple

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Entry
from w2v2_jax.errors import InputError, counted
from w2v2_jax.prepare.report import transcript_key
from w2v2_jax.prepare.source_tfds import tfds_facts
from w2v2_jax.prepare.sources import Resolved, open_source, resolve
from w2v2_jax.prepare.work_units import picked

BY = {  # --holdout-by: what stays on one side, in a sentence
    "text": "equal texts stay on one side",
    "speaker": "a speaker's clips stay on one side",
    "clip": "",
}
MOST_GROUPS = 10_000  # that are counted: more are not few
FEW, SHORT = 10, 30.0  # utterances and seconds of a split below which a rate says next to nothing


def check_by(by: str, shares: dict[str, float]) -> None:
    """Raises InputError for what is not in BY, and for another than "text" without shares."""
    if by not in BY:
        raise InputError(f"--holdout-by {by!r}: use {', '.join(BY)}")
    if by != "text" and not shares:
        raise InputError(f"--holdout-by {by} changes nothing without --holdout NAME=SHARE")


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

    def __init__(self, shares: dict[str, float], allowed: Holdable, by: str = "text"):
        """by: of BY, what has no clips on two sides."""
        self.shares, self._allowed, self._by = shares, allowed, by
        self._taken = collections.Counter(dict.fromkeys(shares, 0))
        self._has = {name: [0, 0] for name in shares}  # utterances and samples, all of a split
        self._groups: set[int] = set()
        self._asked = self._named = self._mute = self._unspoken = 0

    def split_of(self, entry: Entry, split: str, *, named: bool) -> str:
        """The split of an utterance; named: whether the source says that it belongs to `split`."""
        chosen = self._chosen(entry, split, named=named)
        if chosen in self._has:
            self._has[chosen][0] += 1
            self._has[chosen][1] += entry.num_samples
        return chosen

    def _chosen(self, entry: Entry, split: str, *, named: bool) -> str:
        if split in self.shares:
            return split
        if named and not self._allowed.named:
            self._named += 1
            return split
        text = transcript_key(entry.text)
        if not self._allowed.mute and not text:
            self._mute += 1
            return split
        self._asked += 1
        self._unspoken += self._by == "speaker" and not entry.speaker
        group = _group(entry, self._by, text)
        if len(self._groups) < MOST_GROUPS:
            self._groups.add(group)
        chosen = held_out_split(split, group, self.shares)
        self._taken.update([chosen] if chosen != split else [])
        return chosen

    def told(self) -> Iterable[str]:
        """One line about what was held out, and one for each split that got another share than was
        asked for, or so little that a rate on it means little; none without shares."""
        if not self.shares:
            return []
        what = "utterances" if self._allowed.mute else "utterances with a transcript"
        line = ", ".join(f"{name} {count}" for name, count in self._taken.items())
        line = f"held out: {line} of {self._asked} {what}"
        if self._mute:
            line += f"; {self._mute} without a transcript stay"
        if self._unspoken:
            line += f"; {self._unspoken} without a speaker go by their audio"
        if self._named:
            line += f"; {self._named} stay in the split that the source names (see --split)"
        doubts = (
            self._got(name) if self._is_off(name, share) else self._little(name)
            for name, share in self.shares.items()
        )
        return [line, *(f"WARNING: {doubt}" for doubt in doubts if doubt)]

    def _is_off(self, name: str, share: float) -> bool:
        """Whether a split got nothing, or a share that is not near and that no chance explains."""
        taken, wanted = self._taken[name], share * self._asked
        if not self._asked or not taken:
            return self._asked > 0
        chance = 4 * math.sqrt(wanted * (1 - share))
        return abs(taken - wanted) > max(chance, min(wanted, self._asked - wanted) / 2)

    def _little(self, name: str) -> str:
        """ "" for a split of a size from which a rate can be told, or with nothing at all."""
        count, samples = self._has[name]
        seconds = samples / SAMPLE_RATE
        if not count or (count >= FEW and seconds >= SHORT):
            return ""
        return (
            f"{name} has only {counted(count, 'utterance')}, {seconds:.1f} s: a rate or loss on "
            "it means little; give it a larger share"
        )

    def _got(self, name: str) -> str:
        line = (
            f"{name} got {self._taken[name]} of {self._asked} where {100 * self.shares[name]:g} % "
            "was asked for"
        )
        groups = len(self._groups)
        if self._by == "clip" or not groups < min(MOST_GROUPS, self._asked / 2):
            return f"{line}; give it a larger share" if not self._taken[name] else line
        return (
            f"{line}: {BY[self._by]}, and there are only {groups} different ones; --holdout-by "
            "clip divides them"
        )


def _group(entry: Entry, by: str, text: int) -> int:
    """64-bit hash of what stays on one side: the transcript (text: its `transcript_key`) or the
    speaker, else the audio."""
    if by == "text":
        return text or entry.audio_sha256
    if by == "speaker" and entry.speaker:
        return int.from_bytes(hashlib.sha256(entry.speaker.encode()).digest()[:8], "big")
    return entry.audio_sha256


def held_out_split(split: str, group: int, holdout: dict[str, float]) -> str:
    """The split that utterances of a group go to: the same share of the 64-bit hashes each time."""
    if split in holdout:
        return split
    place, end = group / 2**64, 0.0
    for name, share in holdout.items():
        end += share
        if place < end:
            return name
    return split
