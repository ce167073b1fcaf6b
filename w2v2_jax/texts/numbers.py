# ruff: noqa: RUF001  (Cyrillic and Greek letters are meant)
"""Writes the numbers of a text as words: dates, prices, times and other numbers of transcripts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from w2v2_jax.texts.cardinals import (
    MINUS_SIGN,
    VALUE,
    Said,
    ascii_digits,
    fraction_is_sure,
    half_width,
    is_sure,
    joined_groups,
    plain_number,
    say,
    signed,
    value_of,
    whole,
)
from w2v2_jax.texts.clocks import clock, clock_patterns, colons
from w2v2_jax.texts.fractions import SIGNS
from w2v2_jax.texts.money import SIGN, money, scaled, span
from w2v2_jax.texts.nouns import agreeing, before_noun, form_of, has_gender, is_noun
from w2v2_jax.texts.ordinals import DOTTED, ORDINALS, numero, numero_pattern, ordinal
from w2v2_jax.texts.scales import ends_amount, of_unit, scale_of, scale_pattern

# Nouns of years, before which a number is an ordinal: its case is not known.
OF_YEARS = {
    "be": "год годзе года", "pl": "rok roku", "ru": "год году года годом", "uk": "рік року році"
}  # fmt: skip
SPELLED, IN_DOUBT, UNIT = "numbers spelled", "numbers in doubt", "unit stays"
_DASH = r"[-\u2212\u2013]"
# After a number: another one, the rest of the same one, what it is divided by, the end of its case,
# or a currency that was not read.
GOES_ON = re.compile(
    rf"\s\d{{3}}|\s?(?:{_DASH}|/)\s?{_DASH}?(?:['\u2019]|{SIGN})?\d|\s?/\s?\w|'\w|[,:]{_DASH}|\s?(?:{SIGN})",
    re.I,
)
UNITS = (
    "km/h|km|cm|mm|m|kg|mg|g|ml|cl|dl|l|ha|kw|kwh|mw|kb|mb|gb|tb|hz|khz|mhz|ghz|mph|lbs?|oz|ft|"
    "min|h|p|км|см|мм|м|кг|мг|г|мл|л|мин|сек|ч|квт|мб|гб|коп|чел|шт"
)
MORE_UNITS = {"en": "|c", "pt": "|mi|bi"}  # cents or degrees, miles or millions
# The gender and the forms of the word after a number, as in the table of currencies.
PERCENT = {
    "ca": "m per_cent", "cs": "n procento procenta procent procenta", "cy": "- y_cant",
    "da": "c procent", "de": "n Prozent", "en": "- percent", "es": "- por_ciento",
    "fi": "- prosentti prosenttia", "fr": "- pour_cent", "it": "- per_cento", "nl": "- procent",
    "no": "c prosent", "pl": "m procent", "pt": "- por_cento",
    "ru": "m процент процента процентов", "sk": "n percento percentá percent percenta",
    "sv": "c procent", "uk": "m відсоток відсотки відсотків відсотка",
}  # fmt: skip
PERCENT_BEFORE = {"tr": "y\u00fczde"}

Note = Callable[[str, str, str], None]


class Reading(NamedTuple):
    """A pattern without group names, and what its groups say."""

    pattern: str
    words: Callable[..., Said]


@functools.cache
def spelled(language: str, *, hyphens: bool = True) -> Callable[[str, Note], str]:
    """(text, note) -> the text with its numbers as words of a language, spaces around them.

    It reads amounts of money, times of day, percentages, ordinals, English decades, fractions of
    one character, decimals, negative numbers, millions and thousands as the language writes them.
    A number that begins with 0 or is longer than MOST_DIGITS is read digit by digit. Digits may be
    of any script. note(kind, before, after) is called for each: SPELLED, or IN_DOUBT if the
    language does not write numbers like this (a date, 5.5.5), another number follows (5-10), or
    the form of the words depends on what is not known; and UNIT for an abbreviation that stays.
    hyphens: whether num2words' hyphens stay.
    """
    readings = _readings(language, language[:2])
    pattern = re.compile("|".join(f"(?P<{name}>{r.pattern})" for name, r in readings.items()), re.I)
    parts = {name: re.compile(r.pattern, re.I) for name, r in readings.items()}
    silent = str.maketrans({",": " "} if hyphens else {",": " ", "-": " "})

    def change(text: str, note: Note) -> str:
        def read(match: re.Match) -> str:
            name = match.lastgroup or ""
            inner = parts[name].match(match.string, match.start())
            assert inner is not None  # the same pattern matched as a part of the whole
            said = readings[name].words(*inner.groups(""))
            words = " ".join(said.words.translate(silent).split())
            if not words or words == match[0].strip() or any(c.isdecimal() for c in words):
                return match[0]
            goes_on = GOES_ON.match(match.string[match.end() : match.end() + 12])
            note(SPELLED if said.sure and not goes_on else IN_DOUBT, match[0].strip(), words)
            if said.unit:
                note(UNIT, said.unit, said.unit)
            return f" {words} "

        return pattern.sub(read, joined_groups(language, half_width(text)))

    return change


def _readings(language: str, tongue: str) -> dict[str, Reading]:
    """The readings by name, the more specific ones first. Named groups mark the alternatives, so
    `lastgroup` is the one that matched."""
    time = functools.partial(clock, language)
    readings = {name: Reading(pattern, time) for name, pattern in clock_patterns(tongue).items()}
    readings["colons"] = Reading(r"(?<![\d:.,])(\d+(?::\d+)+)", functools.partial(colons, language))
    readings |= _prices(language, tongue) | _counts(language, tongue)
    readings["numero"] = Reading(
        rf"{numero_pattern(tongue)}({VALUE})(?=(\s(?-i:[a-z]))?)",
        functools.partial(numero, language),
    )
    if tongue in ORDINALS:
        readings["ordinal"] = Reading(
            rf"({VALUE})({ORDINALS[tongue]})(?!\w)",
            functools.partial(ordinal, language),
        )
    if tongue == "en":
        readings["decade"] = Reading(r"('?)(\d{1,3}0)('?)s(?!\w)(\s+of\b)?", _decade)
    if tongue in DOTTED:
        readings["dotted"] = Reading(
            rf"({VALUE})\.(\s+)", lambda n, space: Said(f"{say(language, n)}.{space}", False)
        )
    readings["unit"] = Reading(
        rf"{MINUS_SIGN}({VALUE})\s?(?=({UNITS}{MORE_UNITS.get(tongue, '')})(?!\w))",
        lambda sign, n, unit: _number(language, sign, n, unit)._replace(unit=unit),
    )
    if tongue != "en":  # "5-\u0439", "1990er"
        readings["glued"] = Reading(
            rf"{MINUS_SIGN}({VALUE})(-?(?![{SIGNS}])[^\W\d_]+)",
            lambda sign, n, end: signed(language, sign, Said(f"{say(language, n)} {end}", False)),
        )
    readings["number"] = Reading(
        rf"{MINUS_SIGN}({VALUE})(?:(?=\s([^\W\d_]+)))?", functools.partial(_number, language)
    )
    return readings


def _prices(language: str, tongue: str) -> dict[str, Reading]:
    scale_after = scale_pattern(language, gap=r"\s?")

    def price(before: str, sign: str, after: str, number: str, scale: str, word: str) -> Said:
        said = money(language, sign, number, scale)
        known = bool(scale) or ends_amount(language, word)
        return signed(language, before or after, said._replace(sure=said.sure and known))

    def priced(before: str, number: str, scale: str, sign: str) -> Said:
        return signed(language, before, money(language, sign, number, scale))

    of = r"(?:(?<=[^\W\d_])\.)?(?:\s(?:d[ei]\s|d')|[,:][-\u2013]{1,2})?\s?"
    readings = {}
    if tongue == "en":
        readings["span"] = Reading(
            rf"({SIGN})\s?({VALUE})(\s(?:to|or|and)\s|\s?{_DASH}\s?)({SIGN})?\s?({VALUE})"
            rf"({scale_after})",
            functools.partial(span, language),
        )
    readings |= {
        "price": Reading(
            rf"{MINUS_SIGN}({SIGN})\s?([-\u2212\u2013])?({VALUE})({scale_after})?"
            r"(?:(?=(\s?[^\W\d_]+)))?",
            price,
        ),
        "priced": Reading(rf"{MINUS_SIGN}({VALUE})({scale_after})?{of}({SIGN})(?!\d)", priced),
    }
    if tongue == "en":
        readings["cents"] = Reading(
            r"(\d+)\s?\u00a2",
            lambda n: Said(f"{say(language, n)} {'cent' if n == '1' else 'cents'}"),
        )
    return readings


def _counts(language: str, tongue: str) -> dict[str, Reading]:
    """Percentages, and millions with what is counted."""
    readings = {}
    if tongue in PERCENT:
        readings["percent"] = Reading(
            rf"{MINUS_SIGN}({VALUE})\s?%", functools.partial(_percent, language)
        )
    if tongue in PERCENT_BEFORE:
        readings["percentage"] = Reading(
            rf"{MINUS_SIGN}%\s?([-\u2212\u2013])?({VALUE})",
            lambda before, after, n: signed(
                language,
                before or after,
                Said(f"{PERCENT_BEFORE[tongue]} {say(language, n)}", is_sure(language, n)),
            ),
        )
    if tongue == "en":
        readings["degrees"] = Reading(
            rf"{MINUS_SIGN}({VALUE})\s?(?:[\u00b0\u00ba]\s?([CF])?(?!\w)|([\u2103\u2109]))",
            _degrees,
        )
    readings["scaled"] = Reading(
        rf"{MINUS_SIGN}({VALUE})({scale_pattern(language, gap=None)})(?:(?=\s([^\W\d_]+)))?",
        lambda sign, n, *words: signed(language, sign, _scaled(language, n, *words)),
    )
    if tongue == "pt":  # "5 mi" alone may be miles
        readings["scaled_of"] = Reading(
            rf"{MINUS_SIGN}({VALUE})(\s?(?:mi|bi))(?=\sde\s)",
            lambda sign, n, scale: signed(language, sign, scaled(language, n, scale, "")),
        )
    readings["millions"] = Reading(
        rf"({VALUE}(?:(?<=000000)|(?<=000[.,]000)))\s([^\W\d_]+)",
        functools.partial(_millions, language),
    )
    return readings


def _number(language: str, sign: str, number: str, noun: str) -> Said:
    """A number, before a word or an abbreviation of a unit."""
    words, sure, plain = (
        say(language, number),
        is_sure(language, number),
        plain_number(language, number),
    )
    if plain and plain.isdecimal() and (len(plain) == 1 or plain[0] != "0"):
        words, agrees = before_noun(language, words, noun)
        is_year = len(plain) == 4 and noun.lower() in OF_YEARS.get(language[:2], "").split()
        sure = sure and agrees and not is_year
    elif number[-1] in SIGNS and is_noun(language, noun):
        sure = fraction_is_sure(language, number)
    return signed(language, sign, Said(words, sure))


def _scaled(language: str, number: str, scale: str, noun: str) -> Said:
    """A number with a scale, and what is counted: "of" is not written after an abbreviation."""
    said = scaled(language, number, scale, noun)
    if scale_of(language, scale).is_written(scale) or not is_noun(language, noun):
        return said
    linked = of_unit(language, said.words, noun)
    if linked == f"{said.words} {noun}":
        return said
    sure = said.sure and has_gender(language, noun) and linked.endswith(f" {noun}")
    return Said(linked.removesuffix(noun) if sure else said.words, sure)


def _millions(language: str, number: str, noun: str) -> Said:
    """A number that ends in millions, and the word after it."""
    words, agrees = before_noun(language, say(language, number), noun)
    linked = of_unit(language, words, noun) if is_noun(language, noun) else f"{words} {noun}"
    sure = (
        is_sure(language, number)
        and agrees
        and (linked.endswith(f" {noun}") or noun[0] not in "hH")
    )
    return Said(linked, sure)


def _percent(language: str, sign: str, number: str) -> Said:
    gender, *forms = PERCENT[language[:2]].replace("_", "\u00a0").split(" ")
    words = say(language, number)
    if (value := value_of(language, number)).isdecimal():
        words = agreeing(language, words, gender)
    said = Said(f"{words} {form_of(language, value, forms)}", is_sure(language, number))
    return signed(language, sign, said)


def _degrees(sign: str, number: str, letter: str, one_sign: str) -> Said:
    """English "5\u00b0C" and "5\u00b0"."""
    scale = {"c": " Celsius", "\u2103": " Celsius", "f": " Fahrenheit", "\u2109": " Fahrenheit"}
    unit = form_of("en", value_of("en", number), ["degree", "degrees"])
    words = f"{say('en', number)} {unit}{scale.get(letter.lower() or one_sign, '')}"
    return signed("en", sign, Said(words, is_sure("en", number)))


def _decade(before: str, number: str, after: str, of: str) -> Said:
    """English "1990s", "'90s" and "100s of"; "10s" alone are seconds."""
    digits = ascii_digits(number)
    if digits == "10" and not (before or after or of):
        return Said("ten seconds")
    words = whole("en", digits, to="year" if len(digits) == 4 else "cardinal")
    words = words.removeprefix("one ") if not digits.strip("10") else words
    return Said(f"{words[:-1]}ies{of}" if words.endswith("y") else f"{words}s{of}")
