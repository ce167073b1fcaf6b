"""What stands in a word's place in the files of aligners and scorers, and is no word of a text."""

from __future__ import annotations

import re
from collections.abc import Callable

from w2v2_jax.decode.spelling import STAR_WORD

Remark = Callable[[str, str], object]  # takes what was found, and where
# A pause, a sound or a hesitation: <eps>, <p:>, [noise], {laugh}, (uh), %hes, !SIL, h#.
MARK = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|\([^()]+\)|%\w+|!sil|h?#")
PAUSES = ("sil", "sp", '""')
NAMES = "unk|oov|spn|spoken[_ ]?noise|star"
UNKNOWN = re.compile(rf"<(?:{NAMES})>|\[(?:{NAMES})\]|\((?:{NAMES})\)|spn")
# Within a text brackets are ordinary signs, except these.
WITHIN = re.compile(r"<[^<>\s]*>|\[[^\[\]]*\]")
NO_WORDS = "marks of pauses, sounds and hesitations, left out"


def ignore(what: str, where: str) -> None:
    """A Remark that is told to nobody."""


def said(label: str, place: str, remark: Remark) -> str:
    """The word of a label: itself, "" for a mark of a pause or a sound, which is remarked, and
    `<star>` for a word that its writer did not know."""
    folded = label.strip().casefold()
    if UNKNOWN.fullmatch(folded):
        return STAR_WORD
    if folded in PAUSES or MARK.fullmatch(folded):
        remark(NO_WORDS, f"{place}: {label.strip()}")
        return ""
    return label.strip()


def said_in(text: str, place: str, remark: Remark) -> str:
    """The same of a label or a whole text, in which marks stand between the words."""
    whole = said(" ".join(text.split()), place, remark)
    return " ".join(WITHIN.sub(lambda mark: f" {said(mark[0], place, remark)} ", whole).split())


def starred(text: str) -> str:
    """A text with `<star>` for marks of unknown words in angle or square brackets."""
    return WITHIN.sub(
        lambda mark: f" {STAR_WORD} " if UNKNOWN.fullmatch(mark[0].casefold()) else mark[0], text
    )
