"""What becomes of a transcript: its text by the rules chosen, and what these did to it."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.prepare.account import Tally
from w2v2_jax.texts import normal_form
from w2v2_jax.texts.rules import DIGITS, OUTSIDE, Change, TextRules

EACH = ("symbol", OUTSIDE, DIGITS)  # told character by character: these may be spoken
EMPTIED = "nothing left of the transcript"


class Transcripts(NamedTuple):
    """rules: of `--text`, None for texts as they are. required: what has none is rejected. chosen:
    whether somebody gave `--text`."""

    rules: TextRules | None
    required: bool
    chosen: bool = True

    def spoken(self, text: str | None) -> tuple[str, list[Change]]:
        """The text that a corpus keeps, and what was done to it."""
        plain = " ".join(normal_form(text or "").split())
        if self.rules is None or not plain:
            return plain, []
        spoken, changes = self.rules.explain(text or "")
        if not spoken:
            changes.append(Change(EMPTIED, plain, ""))
        return spoken, changes


def note_changes(changes: list[Change], name: str, tally: Tally) -> None:
    """Counts what was done to the text of the utterance `name`."""
    for kind, before, after in changes:
        reason = f"{kind}: {before}" if kind in EACH else kind
        tally.add(reason, f"{name}: {before}" + (f" -> {after}" if after != before else ""))
