"""How a transcript becomes the corpus's text under the chosen rules, and what they changed."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.prepare.account import Tally
from w2v2_jax.texts import normal_form
from w2v2_jax.texts.numbers import UNIT
from w2v2_jax.texts.rules import DIGITS, OUTSIDE, Change, TextRules

EACH = ("symbol", OUTSIDE, DIGITS, UNIT)  # told one by one: these may be spoken
EMPTIED = "nothing left of the transcript"


class Transcripts(NamedTuple):
    """rules: those of `--text`, None to keep texts as they are. required: whether utterances
    without a text are rejected. chosen: whether the user gave `--text`."""

    rules: TextRules | None
    required: bool
    chosen: bool = True

    def spoken(self, text: str | None) -> tuple[str, list[Change]]:
        """The text that the corpus stores, and what was changed in it."""
        plain = " ".join(normal_form(text or "").split())
        if self.rules is None or not plain:
            return plain, []
        spoken, changes = self.rules.explain(text or "")
        if not spoken:
            changes.append(Change(EMPTIED, plain, ""))
        return spoken, changes


def note_changes(changes: list[Change], name: str, tally: Tally) -> None:
    """Counts the changes made to the text of the utterance `name`."""
    for kind, before, after in changes:
        reason = f"{kind}: {before}" if kind in EACH else kind
        tally.add(reason, f"{name}: {before}" + (f" -> {after}" if after != before else ""))
