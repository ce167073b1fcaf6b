"""Writes the numbers of a text as words: dates, prices, times and other numbers of transcripts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from w2v2_jax.texts.cardinals import (
    NUMBER,
    UNSAID,
    ascii_digits,
    joined_groups,
    library,
    plain_number,
    say,
    whole,
)
from w2v2_jax.texts.money import SCALES, SIGN, is_amount, money

# Languages that write an ordinal with a dot. Its form goes with its noun, so no rule can say it.
DOTTED = frozenset(
    ["cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "no", "pl", "sk", "sl", "sr", "tr"]
)
UNSURE = {"dotted", "glued"}
SPELLED, IN_PARTS = "numbers spelled", "numbers read in parts"
VALUE = rf"(?:{NUMBER}|(?<![\w.,])[.,]\d+)"  # also .5
GOES_ON = re.compile(
    r"\s\d{3}(?!\d)|[-\u2013]\d"
)  # another number follows, or the same one goes on
ORDINALS = {
    "en": "st|nd|rd|th",
    "fr": "er|re|\u00e8re|e|\u00e8me|eme",
    "nl": "e|de|ste",
    "es": r"\.?\u00ba|\.?\u00aa",
    "it": "\u00ba|\u00aa",
    "pt": r"\.?\u00ba|\.?\u00aa",
}
FEMININE = ("\u00aa", "re", "\u00e8re")
PERCENT = {
    "ca": "per cent", "da": "procent", "de": "Prozent", "en": "percent",
    "es": "por ciento", "fi": "prosenttia", "fr": "pour cent", "it": "per cento", "nl": "procent",
    "no": "prosent", "pl": "procent", "pt": "por cento", "sv": "procent",
}  # fmt: skip
PERCENTS = {  # of one, of a few, of many, of a part
    "cs": ("procento", "procenta", "procent", "procenta"),
    "ru": ("процент", "процента", "процентов", "процента"),
    "uk": ("відсоток", "відсотки", "відсотків", "відсотка"),
}
MINUS = {"cs": "minus", "pl": "minus", "sk": "m\u00ednus"}  # where num2words does not know it
PERCENT_BEFORE = {"tr": "y\u00fczde"}
FRACTIONS = {"\u00bd": "a half", "\u00bc": "a quarter", "\u00be": "three quarters"}  # English

Note = Callable[[str, str, str], None]


class Reading(NamedTuple):
    """A pattern without group names, the words for its groups, and whether the meaning of its
    number is known."""

    pattern: str
    words: Callable[..., str]
    is_known: Callable[[str], bool]


@functools.cache
def spelled(language: str, *, hyphens: bool = True) -> Callable[[str, Note], str]:
    """(text, note) -> the text with its numbers as words of a language, spaces around them.

    It reads amounts of money, times of day, percentages, ordinals (English, French, Dutch, Spanish,
    Italian, Portuguese), English decades and fractions, decimals, negative numbers and thousands as
    the language writes them. A number that begins with 0 or is longer than MOST_DIGITS is read
    digit by digit. Digits may be of any script. note(kind, before, after) is called for each:
    SPELLED, or IN_PARTS if the language does not write numbers like this (a date, 5,50 in English)
    or another number follows (5-10). hyphens: whether num2words' hyphens stay.
    """
    readings = _readings(language, language[:2])
    pattern = re.compile("|".join(f"(?P<{name}>{r.pattern})" for name, r in readings.items()), re.I)
    parts = {name: re.compile(r.pattern, re.I) for name, r in readings.items()}
    silent = str.maketrans({",": " "} if hyphens else {",": " ", "-": " "})

    def change(text: str, note: Note) -> str:
        def read(match: re.Match) -> str:
            name = match.lastgroup or ""
            inner = parts[name].fullmatch(match[0])
            assert inner is not None  # the same pattern matched as a part of the whole
            words = readings[name].words(*inner.groups("")).translate(silent)
            words = " ".join(words.split())
            if not words or any(c.isdecimal() for c in words):
                return match[0]
            rest = match.string[match.end() : match.end() + 5]
            known = all(map(readings[name].is_known, re.findall(VALUE, match[0])))
            known = known and not GOES_ON.match(rest)
            note(SPELLED if known else IN_PARTS, match[0].strip(), words)
            return f" {words} "

        return pattern.sub(read, joined_groups(language, text))

    return change


def _readings(language: str, tongue: str) -> dict[str, Reading]:
    """The readings by name, the more specific ones first. Named groups mark the alternatives, so
    `lastgroup` is the one that matched."""
    cardinal = functools.partial(say, language)
    known = lambda number: plain_number(language, number) is not None  # noqa: E731
    readings = _clocks(tongue, cardinal) | _prices(language, tongue)
    rest: dict[str, tuple[str, Callable[..., str]]] = {}
    if tongue in PERCENT or tongue in PERCENTS:
        rest["percent"] = (
            rf"((?<!\S)[-\u2212])?({VALUE})\s?%",
            lambda sign, n: f"{_signed(language, sign, cardinal(n))} {_percent(language, n)}",
        )
    if tongue in PERCENT_BEFORE:
        rest["percentage"] = (
            rf"%\s?({VALUE})",
            lambda n: f"{PERCENT_BEFORE[tongue]} {cardinal(n)}",
        )
    if tongue in ORDINALS:
        rest["ordinal"] = (
            rf"({NUMBER})({ORDINALS[tongue]})(?!\w)",
            lambda n, end: _ordinal(language, n, end),
        )
    if tongue == "en":
        halves = "".join(FRACTIONS)
        rest["fraction"] = (rf"(\d*)\s?([{halves}])", lambda n, p: _fraction(cardinal, n, p))
        rest["decade"] = (r"('?)(\d{1,3}0)('?)s(?!\w)(\s+of\b)?", _decade)
    if tongue in DOTTED:
        rest["dotted"] = (rf"({NUMBER})\.(\s+)", lambda n, space: f"{cardinal(n)}.{space}")
    if tongue != "en":
        rest["glued"] = (rf"({VALUE})(-?[^\W\d_]+)", lambda n, end: f"{cardinal(n)} {end}")
    rest["below"] = (
        rf"(?<!\S)([-\u2212])({VALUE})",
        lambda sign, n: _signed(language, sign, cardinal(n)),
    )
    rest["number"] = (rf"({VALUE})", cardinal)
    told = readings | {name: Reading(*pair, known) for name, pair in rest.items()}
    # An ordinal ("3. Mai") or an ending ("5-\u0439") is read as the plain number: that is told.
    unsure = {name: told[name]._replace(is_known=lambda _: False) for name in UNSURE & told.keys()}
    return told | unsure


def _clocks(tongue: str, cardinal: Callable[[str], str]) -> dict[str, Reading]:
    def clock(hour: str, minute: str, half: str = "") -> str:
        hour, minute = ascii_digits(hour), ascii_digits(minute)
        first = cardinal(hour.lstrip("0") or "0")
        if minute == "00":
            return f"{first} o'clock" if tongue == "en" and not half else f"{first} {half}"
        middle = "oh " if tongue == "en" and minute[0] == "0" else ""
        return f"{first} {middle}{cardinal(minute.lstrip('0'))} {half}"

    yes, no = lambda _: True, lambda _: False
    half = r"(\s?[ap]\.?m\b\.?)"
    readings = {
        "half": Reading(rf"(?<![\d:.,])(0?\d|1[0-2])[.:]([0-5]\d){half}", clock, yes),
        "clock": Reading(r"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])", clock, yes),
        "colons": Reading(
            r"(?<![\d:.,])(\d+(?::\d+)+)", lambda t: " ".join(map(cardinal, t.split(":"))), no
        ),
    }
    if tongue != "en":
        del readings["half"]
    return readings


def _prices(language: str, tongue: str) -> dict[str, Reading]:
    scale = SCALES.get(tongue, "(?!)")
    known = functools.partial(is_amount, language)

    def price(before: str, sign: str, after: str, number: str, scale: str) -> str:
        return _signed(language, before or after, money(language, sign, number, scale))

    readings = {
        "price": Reading(
            rf"((?<!\S)[-\u2212])?({SIGN})\s?([-\u2212])?({VALUE})({scale})?",
            price,
            known,
        ),
        "priced": Reading(
            rf"({VALUE})\s?({SIGN})(?!\d)",
            lambda number, sign: money(language, sign, number),
            known,
        ),
    }
    if tongue == "en":
        readings["cents"] = Reading(
            r"(\d+)\s?\u00a2",
            lambda n: f"{say(language, n)} {'cent' if n == '1' else 'cents'}",
            known,
        )
    return readings


def _signed(language: str, sign: str, words: str) -> str:
    """num2words' word for minus before a number's own words; without one the sign stays, and is
    told as punctuation."""
    if not sign:
        return words
    if minus := MINUS.get(language[:2]):
        return f"{minus} {words}"
    try:
        below = library().num2words(-1, lang=language).split()
    except UNSAID:
        return f"-{words}"
    one = library().num2words(1, lang=language).split()
    return " ".join([*below[: len(below) - len(one)], words])


def _percent(language: str, number: str) -> str:
    """The word in the form that goes with a number."""
    if language[:2] in PERCENT:
        return PERCENT[language[:2]]
    one, few, many, part = PERCENTS[language[:2]]
    plain = plain_number(language, number) or "0"
    if "." in plain:
        return part
    value = int(plain)
    if language[:2] != "cs":  # 21 is as 1, but 11 to 14 are many
        value = 5 if value % 100 in range(11, 15) else value % 10
    return one if value == 1 else few if value in (2, 3, 4) else many


def _ordinal(language: str, number: str, end: str) -> str:
    words = say(language, number, to="ordinal")
    if end.lstrip(".").lower() not in FEMININE:
        return words
    if language[:2] == "fr":
        return re.sub(r"premier\b", "premi\u00e8re", words)
    return re.sub(r"o\b", "a", words)


def _fraction(cardinal: Callable[[str], str], number: str, part: str) -> str:
    return f"{cardinal(number)} and {FRACTIONS[part]}" if number else FRACTIONS[part]


def _decade(before: str, number: str, after: str, of: str) -> str:
    """English "1990s", "'90s" and "100s of"; "10s" alone are seconds."""
    digits = ascii_digits(number)
    if digits == "10" and not (before or after or of):
        return "ten seconds"
    words = whole("en", digits, to="year" if len(digits) == 4 else "cardinal")
    words = words.removeprefix("one ") if not digits.strip("10") else words
    return f"{words[:-1]}ies{of}" if words.endswith("y") else f"{words}s{of}"
