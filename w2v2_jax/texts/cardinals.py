"""Single numbers as words, by num2words. It is optional, loaded on use."""

from __future__ import annotations

import functools
import re
from decimal import Decimal

from w2v2_jax.errors import InputError

INSTALL = "pip install num2words"
MOST_DIGITS = 12  # a longer number is read digit by digit
FEWER_DIGITS = {"am": 3}  # in Amharic num2words fails at four digits, and never ends at seven
# Exceptions of num2words for numbers that a language of it cannot say.
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
# Languages that write 1.000,5; the others write 1,000.5. By the first two letters of the code.
DECIMAL_COMMA = frozenset(
    ("az", "be", "ca", "ce", "cs", "da", "de", "eo", "es", "fi", "fr", "hu", "id", "is", "it", "kz",
     "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "tg", "tr", "uk", "vi")
)  # fmt: skip
# Languages that write 1 000 with a plain space. A no-break space is read like this in every
# language, and so is a plain space before 000.
SPACED = frozenset(
    ("az", "be", "ce", "cs", "es", "fi", "fr", "hu", "kz", "lt", "lv", "no", "pl", "pt", "ru", "sk",
     "sv", "tg", "uk")
)  # fmt: skip
FIXED_SPACES = "\u00a0\u2009\u202f"
# The word between the parts of a decimal number whose second part is read as a number, for
# languages in which num2words says nothing, another word, or a rounded number.
POINTS = {"ar": "فاصلة", "ca": "coma", "es": "coma", "fa": "ممیز", "tr": "virgül", "vi": "phẩy"}
YEARS = range(1100, 2000)  # read by hundreds in English, as years and as amounts


def check_language(language: str, *, where: str) -> None:
    """InputError, which begins with `where`, if num2words is absent or lacks a language."""
    known = library(where).CONVERTER_CLASSES
    if language not in known:
        raise InputError(
            f"{where}: num2words has no numbers in {language!r}; known: "
            f"{', '.join(sorted(known))}; --text unicode leaves digits as they are"
        )


def library(where: str = "numbers"):
    """The module num2words; InputError, which begins with `where`, if it is absent."""
    try:
        import num2words
    except ImportError as error:
        raise InputError(f"{where}: digits as words need num2words: {INSTALL}") from error
    return num2words


def ascii_digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9, and the Arabic separators as . and ,."""
    digits = (str(int(c)) if c.isdecimal() else c for c in text)
    return "".join(digits).replace("\u066b", ".").replace("\u066c", ",")


def joined_groups(language: str, text: str) -> str:
    """The text with the language's sign instead of a space between the thousands of numbers."""
    if not re.search(r"\d\s\d{3}", text):
        return text
    sign = _signs(language, "")[1]
    digits = r"\d{3}" if language[:2] in SPACED else "000"
    for space, group in ((f"[{FIXED_SPACES}]", r"\d{3}"), (r"\s", digits)):
        grouped = rf"(?<![\d.,])(?<!\d\s)[1-9]\d{{0,2}}(?:{space}{group})+(?!\s?\d)"
        text = re.sub(grouped, lambda match: re.sub(r"\s", sign, match[0]), text)
    return text


def plain_number(language: str, number: str) -> str | None:
    """A number as a language writes it -> digits and at most one point; None if it is no number."""
    point, group = _signs(language, number)
    text = ascii_digits(number)
    grouped = rf"(?:\d{{1,3}}(?:\{group}\d{{3}})+|\d{{1,2}}(?:\{group}\d\d)+\{group}\d{{3}}|\d*)"
    if not re.fullmatch(rf"{grouped}(?:\{point}\d+)?", text):
        return None
    return text.replace(group, "").replace(point, ".")


def _signs(language: str, number: str) -> tuple[str, str]:
    """The signs before decimals and between thousands."""
    native = any(c in "\u066b\u066c" for c in number)
    return (",", ".") if language[:2] in DECIMAL_COMMA and not native else (".", ",")


def say(language: str, number: str, *, to: str = "cardinal") -> str:
    """A number as it is written in a language -> its words. If it is not a single number (a date, a
    version), its parts are read one by one."""
    plain = plain_number(language, number)
    if plain is None:
        parts = [part for part in re.split(r"[.,]", ascii_digits(number)) if part]
        return " ".join(whole(language, part, to=to) for part in parts)
    integer, point, fraction = plain.partition(".")
    if point:
        return decimal(language, integer, fraction)
    year = language[:2] == "en" and to == "cardinal" and number.isdecimal()
    return whole(language, plain, to="year" if year and int(plain) in YEARS else to)


def whole(language: str, digits: str, *, to: str = "cardinal") -> str:
    """The words of a whole number; digit by digit if it begins with 0 or exceeds MOST_DIGITS."""
    most = FEWER_DIGITS.get(language[:2], MOST_DIGITS)
    if len(digits) > most or (len(digits) > 1 and digits[0] == "0"):
        return _one_by_one(language, digits)
    try:
        return library().num2words(int(digits), lang=language, to=to)
    except UNSAID:
        return _one_by_one(language, digits)


def _one_by_one(language: str, digits: str) -> str:
    return " ".join(library().num2words(int(d), lang=language) for d in digits)


def decimal(language: str, integer: str, fraction: str) -> str:
    """The words of a number with digits after its point; for ".5" English says no zero."""
    first = whole(language, integer or "0") if integer or language[:2] != "en" else ""
    if point := POINTS.get(language[:2]):
        return f"{first} {point} {whole(language, fraction)}"
    if point := _point(language):
        return f"{first} {point} {_one_by_one(language, fraction)}"
    for kind in (Decimal, float):
        try:
            words = library().num2words(kind(f"{integer or 0}.{fraction}"), lang=language)
        except UNSAID:
            continue
        if words.strip():
            return words
    return f"{first} {whole(language, fraction)}"


@functools.cache
def _point(language: str) -> str:
    """num2words' word between the parts, in languages whose decimals it reads one by one; there
    it loses zeros at their end, and some at their beginning. "" for another language."""
    for kind in (Decimal, float):
        try:
            words = library().num2words(kind("3.14"), lang=language).split()
        except UNSAID:
            continue
        first, rest = whole(language, "3").split(), _one_by_one(language, "14").split()
        if words[: len(first)] == first and words[-len(rest) :] == rest:
            return " ".join(words[len(first) : -len(rest)])
    return ""
