"""Times of day as words."""

from __future__ import annotations

import re

from w2v2_jax.texts.cardinals import Said, ascii_digits, whole
from w2v2_jax.texts.nouns import agreeing, form_of

HOURS = r"(?<![\d:.,])([01]?\d|2[0-4])"
MINUTES = r"([0-5]\d)"
HALF_DAY = r"(\s?[ap]\.?m\b\.?)"
# The noun of the hour where it is always said, and how a time is written with it.
NOUN = {
    "de": (["Uhr", "Uhr"], rf"{HOURS}:{MINUTES}(?![\d:])(?:\s?Uhr\b)?|{HOURS}\.{MINUTES}\s?Uhr\b"),
    "fr": (
        ["heure", "heures"],
        rf"{HOURS}:{MINUTES}(?![\d:])(?:\s?h(?:eures?)?\b)?|{HOURS}\s?h(?:\s?{MINUTES})?(?!\w)",
    ),
}
ORDINAL_HOURS = ("be", "pl", "uk")  # these say "the tenth", so the hour is in doubt
BARE_HOURS = ("da", "no", "sv")  # whole hours without a noun, beside those with a gender
GENDER = {"cs": "f", "de": "m", "es": "f", "fr": "f", "it": "f", "pt": "f"}


def clock(language: str, *groups: str) -> Said:
    """An hour, minutes and, in English, the half of the day."""
    hour, minute, half = (*(ascii_digits(group) for group in groups if group), "", "")[:3]
    tongue, hour = language[:2], str(int(hour))
    words = agreeing(language, whole(language, hour), GENDER.get(tongue, ""))
    if tongue in NOUN:
        words = f"{words} {form_of(language, hour, NOUN[tongue][0])}"
        return Said(
            f"{words} {whole(language, minute.lstrip('0'))}" if minute.strip("0") else words
        )
    if not minute.strip("0"):
        if tongue == "en":
            return Said(f"{words} {half}" if half else f"{words} o'clock")
        return Said(words, tongue in GENDER or tongue in BARE_HOURS)
    if tongue == "en":
        oh = "oh " if minute[0] == "0" else ""
        return Said(f"{words} {oh}{whole(language, str(int(minute)))} {half}")
    return Said(f"{words} {whole(language, minute)}", tongue not in ORDINAL_HOURS)


def clock_patterns(tongue: str) -> dict[str, str]:
    """Kind of time -> regular expression of how it is written; tongue: of two letters."""
    plain = rf"{HOURS}:{MINUTES}(?![\d:])"
    if tongue == "en":
        return {"half": rf"(?<![\d:.,])(0?\d|1[0-2])[.:]{MINUTES}{HALF_DAY}", "clock": plain}
    return {"clock": NOUN[tongue][1] if tongue in NOUN else rf"{plain}(?:\s?h\b)?"}


def colons(language: str, text: str) -> Said:
    """Numbers between colons that are no time of day, one after the other."""
    return Said(
        " ".join(whole(language, part) for part in re.split(":", ascii_digits(text))), False
    )
