"""Which split an utterance goes to, which are rejected, and which repeat an earlier one."""

from __future__ import annotations

import collections
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, Entry, open_corpus
from w2v2_jax.data.writer import Layout
from w2v2_jax.errors import InputError
from w2v2_jax.paths import SPLIT, AnyPath, is_empty_folder, is_remote
from w2v2_jax.prepare.account import Account, Tally
from w2v2_jax.prepare.holdout import Holdout
from w2v2_jax.prepare.measure import IntakeResult, Measures
from w2v2_jax.prepare.spoken import Transcripts, note_changes
from w2v2_jax.prepare.utterance import DEFAULT_SPLIT
from w2v2_jax.prepare.work_units import ends_of
from w2v2_jax.texts import dropped

FAINT = 1 / 256  # of full scale, -48 dB: the samples that are stored have 8 bits
OTHER_TEXT = "duplicate with another text"


class Sorter:
    """Routes outcomes to the writers of their splits."""

    def __init__(
        self,
        directory: AnyPath,
        *,
        out: AnyPath,
        split: str | None,
        holdout: Holdout,
        overwrite: bool,
        writer: Callable[[AnyPath], Layout],
        add: Callable[[Layout, Entry, Measures], None],
        account: Account,
        transcripts: Transcripts,
    ):
        """directory: where the splits are written. out: where they are moved in the end. writer:
        makes the writer of a split. add: gives an utterance to it. transcripts: rules of --text."""
        self.directory, self.out, self.overwrite = directory, out, overwrite
        self.split, self.holdout = split, holdout
        self.rejects: dict[str, Tally] = collections.defaultdict(Tally)
        self.remarks: dict[str, Tally] = collections.defaultdict(Tally)
        self.changes: dict[str, Tally] = collections.defaultdict(Tally)
        self.account, self.used, self.transcripts = account, 0, transcripts
        self.writers: dict[str, Layout] = {}
        self._make_writer, self._append = writer, add
        # By split and hash of the audio: the first utterance's id and the hash of its text.
        self._seen: dict[str, dict[int, tuple[str, int]]] = collections.defaultdict(dict)
        self._renamed: collections.Counter[str] = collections.Counter()
        self._cut_up = ("", 0)  # the recording whose parts come now, and its first part's hash

    def add_all(self, outcomes: Iterable[IntakeResult]) -> None:
        for outcome in outcomes:
            self._add(outcome)

    def _add(self, outcome: IntakeResult) -> None:
        utterance, measures = outcome.utterance, outcome.measures
        self.account.seen += outcome.further
        self.account.unmet.difference_update(ends_of(outcome.recording or utterance.id))
        split = self.split or utterance.split or DEFAULT_SPLIT
        if utterance.split not in (None, split):
            self._renamed[utterance.split] += 1
        if measures is None:
            self.rejects[split].add(outcome.reason or "", outcome.detail)
            return
        text, changes = self.transcripts.spoken(utterance.text)
        if self.transcripts.required and not text:
            self.rejects[split].add("transcript missing", utterance.id)
            return
        seen = self._seen[split]
        if measures.audio_sha256 in seen:
            first, known = seen[measures.audio_sha256]
            detail = f"{utterance.id}: same audio as {first}"
            if not text or known == hash(text):
                self.rejects[split].add("duplicate", detail)
            else:
                self.rejects[split].add(OTHER_TEXT, f"{detail}, whose text stays, not {text!r}")
            return
        seen[measures.audio_sha256] = utterance.id, hash(text)
        names = (sys.intern(name or "") for name in (utterance.speaker, utterance.language))
        speaker, language = names
        rate = len(text) * SAMPLE_RATE / measures.num_samples if text else math.nan
        entry = Entry(utterance.id, text, speaker, *measures[:5], language, *measures.quality, rate)
        named = utterance.split is not None
        whole = self._of_recording(outcome, measures.audio_sha256)
        split = self.holdout.split_of(entry._replace(audio_sha256=whole), split, named=named)
        self._append(self._writer(split), entry, measures)
        self.used += 1
        note_changes(changes, utterance.id, self.changes[split])
        self.account.transcribed += bool(text)
        for remark in outcome.remarks:
            self.remarks[split].add(remark, utterance.id)
        for character in dropped(utterance.text or ""):
            half = unicodedata.category(character) == "Cs"
            other = "half of a surrogate pair" if half else "a control character"
            name = unicodedata.name(character, other)
            reason = f"U+{ord(character):04X} dropped"
            self.remarks[split].add(reason, f"{utterance.id}: {name}")
        if measures.peak < FAINT:
            detail = f"{utterance.id}: peak {measures.peak:.4f}; is it scaled as its width says?"
            self.remarks[split].add("faint, few of 16 bits are used", detail)
        if measures.clipped:
            detail = f"{utterance.id}: {measures.clipped} samples, peak {measures.peak:.4g}"
            self.remarks[split].add("clipped", detail)

    def _of_recording(self, outcome: IntakeResult, audio_sha256: int) -> int:
        """The hash that --holdout decides by. It is that of a recording's first part, so that all
        its parts, which have the same voices, stay on one side."""
        if not outcome.recording:
            return audio_sha256
        name, first = self._cut_up
        if name != outcome.recording:
            first = audio_sha256
            self._cut_up = (outcome.recording, first)
        return first

    @property
    def tallies(self) -> dict[str, dict[str, Tally]]:
        return {"rejects": self.rejects, "remarks": self.remarks, "changes": self.changes}

    @property
    def rejected(self) -> int:
        return sum(tally.counts.total() for tally in self.rejects.values())

    def _writer(self, split: str) -> Layout:
        if split not in self.writers:
            check_split(self.out, split, self.overwrite)
            self.writers[split] = self._make_writer(self.directory / split)
        return self.writers[split]

    def close(self, source: str) -> list[Corpus]:
        self.account.settle(used=self.used, rejected=self.rejected)
        if not self.writers:
            tables = [f"split {s}:\n{r.table()}" for s, r in sorted(self.rejects.items())]
            tables.append(self.account.table(used=0, rejected=self.rejected))
            raise InputError(
                f"{source}: no usable utterance, nothing is written. Rejected: " + "\n".join(tables)
            )
        for split, writer in self.writers.items():
            rules = self.transcripts.rules
            writer.close(
                split=split, source=source, text=rules.to_json() if rules is not None else None
            )
        self._tell()
        for split in sorted({*self.holdout.shares, *self.rejects} - {*self.writers}):
            print(f"split {split}: no usable utterance, not written\n{self.rejects[split].table()}")
        return [open_corpus(self.directory / split) for split in sorted(self.writers)]

    def _tell(self) -> None:
        """Prints what --holdout took, and which of the source's splits --split replaced."""
        for line in self.holdout.told():
            print(line)
        if self._renamed:
            splits = ", ".join(f"{name} {count}" for name, count in self._renamed.items())
            print(
                f"--split {self.split}: has utterances that the source puts into others: {splits}"
            )


def check_split(out: AnyPath, split: str, overwrite: bool) -> None:
    """Raises InputError for a name that cannot name a folder, or a split that must be kept."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", split):
        raise InputError(
            f"split {split!r}: use letters, digits, '_', '-', '+' and '.'; see --split"
        )
    place = out / split
    if is_remote(out):  # no renaming there: what is half written is written on
        if (place / SPLIT).exists():
            raise InputError(f"{place} exists already; delete it or use another --split")
    elif os.path.islink(place) and not _on_one_disk(place, out):
        raise InputError(
            f"{place} leads to {os.path.realpath(place)}, and a split is renamed, which is not "
            "possible from one disk to another; remove the link or use another --out"
        )
    elif place.exists() and not overwrite:
        raise InputError(f"{place} exists already; use --overwrite or another --split")
    elif place.exists() and not (place / SPLIT).exists() and not is_empty_folder(place):
        raise InputError(
            f"{place} is no prepared split, and --overwrite would remove it; use another --out"
        )


def _on_one_disk(place: AnyPath, out: AnyPath) -> bool:
    above = os.path.dirname(os.path.realpath(place))
    return os.path.isdir(above) and os.stat(above).st_dev == os.stat(out).st_dev
