"""Counts what happened to everything in a source: used, rejected or passed over, with reasons."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import Any

from w2v2_jax.errors import printable

EXAMPLES = 5
PARTIAL, PIECES = ".partial-", ".pieces-"  # folders in --out while it is written
UNDERSTOOD = (
    "transcripts are read from transcripts.tsv (path<TAB>text), name.txt beside name.wav, "
    "*.trans.txt, metadata.csv or .jsonl, and the sources of w2v2 prepare --help"
)
REMEDIES = {
    "hidden": "their names begin with a dot; rename the recordings among them",
    "folder unreadable": "change its permissions, or run as a user who may read it",
    "folder seen before": "a link to a folder that is also read under another name, or contains it",
    "no line names it": "write a line for it, or prepare only the audio with --as folder",
    "not in --ids": "",
    "transcripts": "files of texts, which are no recordings",
}


@dataclass
class Tally:
    """How often each reason occurred, with the first few cases."""

    counts: collections.Counter = field(default_factory=collections.Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, detail: str, count: int = 1) -> None:
        self.counts[reason] += count
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES and detail:
            shown.append(detail)

    def table(self, most: int | None = None) -> str:
        """Lines "reason  count  first example" of the `most` frequent; empty when there is none."""
        lines = [
            f"  {printable(reason):<20}{count:>9}"
            + (f"  e.g. {printable(self.examples[reason][0])}" if self.examples[reason] else "")
            + (f"; {REMEDIES[reason]}" if REMEDIES.get(reason) else "")
            for reason, count in self.counts.most_common(most)
        ]
        if len(lines) < len(self.counts):
            lines.append(f"  ... and {len(self.counts) - len(lines)} more, in report.json")
        return "\n".join(lines)

    def to_json(self) -> dict[str, dict[str, Any]]:
        return {r: {"count": n, "examples": self.examples[r]} for r, n in self.counts.items()}


@dataclass
class Account:
    """seen: every file, line or row of a source. passed_over: what is not a recording, or was not
    wanted. remarks: notes about transcripts and names. unread: text files in formats that are not
    read. transcribed: utterances with a text. read_as: the kind of the source, and by what it was
    recognised. out: where the corpus is written, which is no part of the source."""

    seen: int = 0
    read_as: tuple[str, str] | None = None
    out: str | None = None
    unread: Tally = field(default_factory=Tally)
    transcribed: int = 0
    passed_over: Tally = field(default_factory=Tally)
    remarks: Tally = field(default_factory=Tally)
    ids: frozenset[str] | None = None  # of --ids
    unmet: set[str] = field(init=False)  # those that no utterance had yet

    def __post_init__(self):
        self.unmet = set(self.ids or ())

    def pass_over(self, reason: str, detail: str) -> None:
        self.seen += 1
        self.passed_over.add(reason, detail)

    def settle(self, *, used: int, rejected: int) -> None:
        """Counts what --ids left out, once everything else is known."""
        left = self.seen - self.passed_over.counts.total() - used - rejected
        if self.ids is not None and left > 0:
            self.passed_over.add("not in --ids", "", left)
        for name in sorted(self.unmet):
            self.remarks.add("--ids: no such utterance", name)

    def balance(self, *, used: int, rejected: int) -> dict[str, Any]:
        """As JSON; the numbers add up."""
        passed = self.passed_over.counts.total()
        if self.seen != used + rejected + passed:
            raise AssertionError(
                f"{self.seen} seen are not {used} used + {rejected} rejected + {passed} passed over"
            )
        return {
            "read_as": self.read_as[0] if self.read_as else None,
            "recognised_by": self.read_as[1] if self.read_as else "",
            "seen": self.seen,
            "used": used,
            "rejected": rejected,
            "passed_over": self.passed_over.to_json(),
            "remarks": self.remarks.to_json(),
            "texts_not_understood": self.unread.to_json(),
        }

    def not_understood(self) -> str:
        """One line about texts that no reader used; "" if there are none."""
        if not self.unread.counts:
            return ""
        shown = ", ".join(
            f"{count} {reason} such as {printable(self.unread.examples[reason][0])}"
            for reason, count in self.unread.counts.most_common(EXAMPLES)
        )
        word = "note" if self.transcribed else "WARNING: no transcripts"
        return f"{word}: texts that were not understood: {shown}; {UNDERSTOOD}"

    def table(self, *, used: int, rejected: int) -> str:
        """The same as lines to print."""
        passed = self.passed_over.counts.total()
        first = f"source: {self.seen} seen: {used} used, {rejected} rejected, {passed} passed over"
        tables = [self.passed_over.table()]
        if self.read_as:
            kind, why = self.read_as
            tables.insert(0, f"  read as {kind}" + (f": {printable(why)}" if why else ""))
        if self.remarks.counts:
            tables += ["remarks on the source:", self.remarks.table()]
        tables.append(self.not_understood())
        return "\n".join([first, *(table for table in tables if table)])
