"""Digits as words, by num2words: the only file that touches it. It is optional, loaded on use."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from decimal import Decimal

from w2v2_jax.errors import InputError

INSTALL = "pip install num2words"
MOST_DIGITS = 12  # a longer number is read digit by digit
FEWER_DIGITS = {"am": 3}  # num2words fails at four in Amharic, and never ends at seven
# What a language of num2words raises of a number that it cannot say.
UNSAID = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
NUMBER = r"\d+(?:[.,\u066b\u066c]\d+)*"
CURRENCIES = {"$": "USD", "\u20ac": "EUR", "\u00a3": "GBP", "\u00a5": "JPY", "\u20b9": "INR"}
# Languages that write 1.000,5; the others write 1,000.5. By the first two letters of the code.
DECIMAL_COMMA = frozenset(
    ("az", "be", "ca", "ce", "cs", "da", "de", "eo", "es", "fi", "fr", "hu", "id", "is", "it", "kz",
     "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "tg", "tr", "uk", "vi")
)  # fmt: skip
ORDINALS = {
    "en": "st|nd|rd|th",
    "fr": "er|re|\u00e8re|e|\u00e8me|eme",
    "nl": "e|de|ste",
    "es": "\u00ba|\u00aa",
    "it": "\u00ba|\u00aa",
    "pt": "\u00ba|\u00aa",
}
PERCENT = {
    "ca": "per cent", "cs": "procent", "da": "procent", "de": "Prozent", "en": "percent",
    "es": "por ciento", "fi": "prosenttia", "fr": "pour cent", "it": "per cento", "nl": "procent",
    "no": "prosent", "pl": "procent", "pt": "por cento", "ru": "процентов", "sv": "procent",
    "uk": "відсотків",
}  # fmt: skip
POINTS = {"ar": "فاصلة", "tr": "virgül"}  # where num2words has no word between the parts
MINUS = {"cs": "minus", "pl": "minus", "sk": "m\u00ednus"}  # where it does not know it
PERCENT_BEFORE = {"tr": "y\u00fczde"}
SCALES = "hundred|thousand|million|billion|trillion"
FRACTIONS = {"\u00bd": "a half", "\u00bc": "a quarter", "\u00be": "three quarters"}  # English
YEARS = range(1100, 2000)  # read by hundreds in English, as years and as amounts


def check_language(language: str, *, where: str) -> None:
    """InputError, which begins with `where`, where num2words is absent or lacks a language."""
    known = _library(where).CONVERTER_CLASSES
    if language not in known:
        raise InputError(
            f"{where}: num2words has no numbers in {language!r}; known: "
            f"{', '.join(sorted(known))}; --text unicode leaves digits as they are"
        )


def _library(where: str = "numbers"):
    try:
        import num2words
    except ImportError as error:
        raise InputError(f"{where}: digits as words need num2words: {INSTALL}") from error
    return num2words


@functools.cache
def spelled(language: str) -> Callable[[str, Callable[[str, str], None]], str]:
    """(text, note) -> the text with its numbers as words of a language, spaces around them.

    Read are amounts of money, times of day, percentages, ordinals (English, French, Dutch, Spanish,
    Italian, Portuguese), English decades and fractions, decimals, negative numbers and thousands as
    the language writes them; a number that begins with 0 or is longer than MOST_DIGITS goes digit
    by digit. Digits may be of any script. note(before, after) is told of each.
    """
    tongue = language[:2]
    readings = _readings(language, tongue)
    pattern = re.compile("|".join(f"(?P<{name}>{p})" for name, (p, _) in readings.items()), re.I)
    parts = {name: re.compile(p, re.I) for name, (p, _) in readings.items()}

    def change(text: str, note: Callable[[str, str], None]) -> str:
        def read(match: re.Match) -> str:
            name = match.lastgroup or ""
            inner = parts[name].fullmatch(match[0])
            assert inner is not None  # the same pattern matched as a part of the whole
            words = " ".join(readings[name][1](*inner.groups("")).replace(",", " ").split())
            if not words or any(c.isdecimal() for c in words):
                return match[0]
            note(match[0].strip(), words)
            return f" {words} "

        return pattern.sub(read, text)

    return change


def _readings(language: str, tongue: str) -> dict[str, tuple[str, Callable[..., str]]]:
    """Name -> (pattern, what its groups are read as), the more special ones first. Named groups
    mark the alternatives, so `lastgroup` is the one that matched: inner groups have no names."""
    say = functools.partial(_say, language)
    money = f"[{''.join(CURRENCIES)}]"
    readings: dict[str, tuple[str, Callable[..., str]]] = {
        "clock": (
            r"(?<![\d:.,])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])",
            lambda hour, minute: _clock(say, tongue, hour, minute),
        ),
        "price": (
            rf"({money})\s?({NUMBER})(?:\s({SCALES})\b)?",
            lambda sign, number, scale: _money(language, sign, number, scale),
        ),
        "priced": (
            rf"({NUMBER})\s?({money})(?!\d)",
            lambda number, sign: _money(language, sign, number, ""),
        ),
    }
    if tongue in PERCENT:
        readings["percent"] = (rf"({NUMBER})\s?%", lambda n: f"{say(n)} {PERCENT[tongue]}")
    if tongue in PERCENT_BEFORE:
        readings["percentage"] = (
            rf"%\s?({NUMBER})",
            lambda n: f"{PERCENT_BEFORE[tongue]} {say(n)}",
        )
    if tongue in ORDINALS:
        readings["ordinal"] = (
            rf"({NUMBER})(?:{ORDINALS[tongue]})(?!\w)",
            lambda n: _say(language, n, to="ordinal"),
        )
    if tongue == "en":
        halves = "".join(FRACTIONS)
        readings["fraction"] = (rf"(\d*)\s?([{halves}])", lambda n, part: _fraction(say, n, part))
        readings["decade"] = (r"(\d{1,3}0)'?s(?!\w)", lambda n: _plural(say(n)))
    readings["below"] = (rf"(?<!\S)[-\u2212]({NUMBER})", lambda n: _negative(say, n, language))
    readings["number"] = (rf"({NUMBER})", say)
    return readings


def ascii_digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9, and the Arabic separators as . and ,."""
    digits = (str(int(c)) if c.isdecimal() else c for c in text)
    return "".join(digits).replace("\u066b", ".").replace("\u066c", ",")


def _say(language: str, number: str, *, to: str = "cardinal") -> str:
    """A number as it is written in a language -> its words."""
    native = any(c in "\u066b\u066c" for c in number)
    text = ascii_digits(number)
    point, group = (",", ".") if language[:2] in DECIMAL_COMMA and not native else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:\{group}\d{{3}})+(?:\{point}\d+)?", text):
        text = text.replace(group, "")
    elif language[:2] == "en" and to == "cardinal" and text.isdigit() and int(text) in YEARS:
        to = "year"
    if re.fullmatch(rf"\d+\{point}\d+", text):
        return _decimal(language, *text.split(point))
    parts = re.split(r"[.,]", text)  # a date, a version
    return " ".join(_whole(language, part, to=to) for part in parts)


def _whole(language: str, digits: str, *, to: str = "cardinal") -> str:
    number2words = _library().num2words
    most = FEWER_DIGITS.get(language[:2], MOST_DIGITS)
    if len(digits) > most or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(number2words(int(d), lang=language) for d in digits)
    number = int(digits)
    try:
        return number2words(number, lang=language, to=to)
    except UNSAID:
        return " ".join(number2words(int(d), lang=language) for d in digits)


def _decimal(language: str, whole: str, fraction: str) -> str:
    """Not every language of num2words reads decimals of both types."""
    if point := POINTS.get(language[:2]):
        return f"{_whole(language, whole)} {point} {_whole(language, fraction)}"
    for kind in (Decimal, float):
        try:
            words = _library().num2words(kind(f"{whole}.{fraction}"), lang=language)
        except UNSAID:
            continue
        if words.strip():
            return words
    return f"{_whole(language, whole)} {_whole(language, fraction)}"


def _negative(say: Callable[[str], str], number: str, language: str) -> str:
    """num2words' word for minus before the number's own words; without one the sign stays, and is
    told as punctuation."""
    if word := MINUS.get(language[:2]):
        return f"{word} {say(number)}"
    try:
        minus = _library().num2words(-1, lang=language).split()
    except UNSAID:
        return f"-{say(number)}"
    one = _library().num2words(1, lang=language).split()
    return " ".join([*minus[: len(minus) - len(one)], say(number)])


def _clock(say: Callable[[str], str], tongue: str, hour: str, minute: str) -> str:
    hour, minute = ascii_digits(hour), ascii_digits(minute)
    first = say(hour.lstrip("0") or "0")
    if tongue == "en" and minute[0] == "0":
        return f"{first} oh {say(minute[1])}" if int(minute) else f"{first} o'clock"
    return first if minute == "00" else f"{first} {say(minute.lstrip('0'))}"


def _fraction(say: Callable[[str], str], number: str, part: str) -> str:
    return f"{say(number)} and {FRACTIONS[part]}" if number else FRACTIONS[part]


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _money(language: str, sign: str, number: str, scale: str) -> str:
    """An amount with the currency's words; where num2words has none, the sign stays behind it."""
    try:
        return _amount(language, CURRENCIES[sign], number, scale)
    except UNSAID:
        return f"{_say(language, number)} {scale} {sign}"


def _amount(language: str, currency: str, number: str, scale: str) -> str:
    def read(value: str) -> list[str]:
        words = _library().num2words(
            Decimal(value), lang=language, to="currency", currency=currency, separator="|"
        )
        return [part.strip() for part in words.split("|")]

    comma = language[:2] in DECIMAL_COMMA
    plain = ascii_digits(number)
    plain = plain.replace(".", "").replace(",", ".") if comma else plain.replace(",", "")
    if not scale and re.fullmatch(r"\d+\.\d\d", plain) and not plain.endswith(".00"):
        return " ".join(read(plain))
    if not scale and re.fullmatch(r"\d+(\.00)?", plain):
        return read(f"{plain.partition('.')[0]}.00")[0]
    unit = read("5.00")[0].removeprefix(_whole(language, "5")).strip()
    return " ".join(f"{_say(language, number)} {scale} {unit}".split())
