"""Single numbers as words, by num2words. It is optional, loaded on use."""

from __future__ import annotations

import functools
import re
import unicodedata
from decimal import Decimal
from typing import NamedTuple

from w2v2_jax.errors import InputError, lacking
from w2v2_jax.texts.fractions import SIGNS, with_fraction
from w2v2_jax.texts.nouns import agreeing, form_of

INSTALL = "pip install num2words"
MOST_DIGITS = 12  # a longer number is read digit by digit
# In Amharic num2words fails at four digits, and never ends at seven; in Welsh its word for two
# billion is that for two million.
FEWER_DIGITS = {"am": 3, "cy": 9}
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
VALUE = rf"(?:(?:{NUMBER}\s?)?[{SIGNS}]|{NUMBER}|(?<![\w.,])[.,]\d+)"  # also 2\u00bd and .5
# Within a number, and beside it: the full-width . , : / and % $ + - \u00a2 \u00a3 \u20a9.
FULL_WIDTH = re.compile(
    "(?<=\\d)[\uff0e\uff0c\uff1a\uff0f](?=\\d)|[\uff05\uff04\uff0b\uff0d\uffe0\uffe1\uffe6]"
)
# A hyphen or dash before a number is a minus unless something stands before it, as in 3\u20135.
MINUS_SIGN = r"((?<![^\s(\[{\"'\u00ab\u201c\u201e<>=\u2264\u2265\u2248~;|])[-\u2212\u2013])?"
# The word where num2words has none, or joins it to the number.
MINUS = {"bn": "মাইনাস", "ce": "минус", "cs": "minus", "ja": "マイナス", "kn": "ಮೈನಸ್", "pl": "minus",
         "sk": "mínus", "te": "మైనస్", "th": "ลบ", "tr": "eksi", "vi": "âm"}  # fmt: skip
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
POINTS = {
    "ar": "فاصلة", "ca": "coma", "da": "komma", "es": "coma", "fa": "ممیز", "fr": "virgule",
    "it": "virgola", "no": "komma", "pt": "vírgula", "sv": "komma", "tr": "virgül", "vi": "phẩy",
}  # fmt: skip
DIGITS_AS_ONE = 3  # a longer second part is read digit by digit in languages that have POINTS
SURE_IN_WELSH = frozenset(map(str, range(11)))  # two ways of counting differ above
YEARS = range(1100, 2000)  # read by hundreds, as years and as amounts, in these languages:
HUNDREDS = {"de": "hundert", "nl": "honderd", "sv": "hundra"}
# Czech and Slovak count wholes: their word in the forms of one, a few, many.
WHOLES = {"cs": ("celá", "celé", "celých"), "sk": ("celá", "celé", "celých")}
# What num2words gets wrong: (pattern, words).
CORRECTIONS = {
    "cs": [
        ("dvěstě", "dvě stě"),
        ("(tři|čtyři)sta", r"\1 sta"),
        (r"\b(pět|šest|sedm|osm|devět)set", r"\1 set"),
        ("dva miliardy", "dvě miliardy"),
    ],
    "da": [(r"\ben (million|milliard)er", r"en \1")],
    "es": [(r"veintiuno(?= mil)", "veintiún"), (r"\buno(?= mil)", "un")],
    "fr": [("quatre-vingt$", "quatre-vingts")],
    "no": [("millard", "milliard"), (r"(?<!\ben )\b(million|milliard)\b", r"\1er")],
    "sv": [
        ("ttt", "tt"),
        ("(miljon|miljard)(er)?(?!er)(?=[a-zåäö])", r"\1\2 "),
        (r"ett(?= miljon| miljard)", "en"),
    ],
}


class Said(NamedTuple):
    """The words of what was written. sure: whether its meaning, and the form of its words, is
    certain. unit: an abbreviation after it that stays as it is."""

    words: str
    sure: bool = True
    unit: str = ""


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
        needed = f"{where}: digits as words need num2words"
        raise InputError(lacking(error, needed, INSTALL)) from error
    return num2words


def ascii_digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9, and the Arabic separators as . and ,."""
    digits = (str(int(c)) if c.isdecimal() else c for c in text)
    return "".join(digits).replace("\u066b", ".").replace("\u066c", ",")


def half_width(text: str) -> str:
    """The text with the full-width signs of numbers, as in Japanese, in their usual width."""
    return FULL_WIDTH.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)


def joined_groups(language: str, text: str) -> str:
    """The text with the language's sign between thousands instead of a space or apostrophe."""
    if not re.search(r"\d[\s']\d{3}", text):
        return text
    sign = _signs(language, "")[1]
    digits = r"\d{3}" if language[:2] in SPACED else "000"
    for space, group in ((f"[{FIXED_SPACES}]|'", r"\d{3}"), (r"\s", digits)):
        grouped = rf"(?<![\d.,])(?<!\d\s)[1-9]\d{{0,2}}(?:(?:{space}){group})+(?!\s?\d)"
        text = re.sub(grouped, lambda match: re.sub(r"[\s']", sign, match[0]), text)
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
    if number[-1] in SIGNS:
        before = number[:-1].strip()
        return with_fraction(language, counted(language, before, "m") if before else "", number[-1])
    plain = plain_number(language, number)
    if plain is None:
        parts = [part for part in re.split(r"[.,]", ascii_digits(number)) if part]
        return " ".join(whole(language, part, to=to) for part in parts)
    integer, point, fraction = plain.partition(".")
    if point:
        return decimal(language, integer, fraction)
    if to == "cardinal" and number.isdecimal() and len(plain) == 4 and int(plain) in YEARS:
        return _year(language, plain)
    return whole(language, plain, to=to)


def counted(language: str, number: str, gender: str) -> str:
    """`say`, in the form before a noun of a gender."""
    plain, words = plain_number(language, number), say(language, number)
    return agreeing(language, words, gender) if plain and plain.isdecimal() else words


def value_of(language: str, number: str) -> str:
    """A plain number that takes the same form of a noun."""
    if number[-1] in SIGNS:
        return f"{plain_number(language, number[:-1].strip()) or 0}.5"
    return plain_number(language, number) or "0"


def is_sure(language: str, number: str) -> bool:
    """Whether a language writes a number like this. Decimals of 000 are probably thousands."""
    if number[-1] in SIGNS:
        return number[-1] != say(language, number)[-1]
    plain = plain_number(language, number)
    if plain is None or re.fullmatch(r"[1-9]\d{0,2}\.000", plain):
        return False
    return language[:2] != "cy" or plain in SURE_IN_WELSH or not plain.isdecimal()


def fraction_is_sure(language: str, number: str) -> bool:
    """Whether words of a fraction may stand before a noun; elsewhere they follow it, or take its
    gender."""
    whole_before = {"cs", "de", "en", "ru", "sv"} if len(number) > 1 else {"cs", "en"}
    return language[:2] in whole_before and is_sure(language, number)


def signed(language: str, sign: str, said: Said) -> Said:
    """With the word for minus in front; without one the sign stays."""
    if not sign:
        return said
    minus = MINUS.get(language[:2], "")
    if not minus:
        try:
            below = library().num2words(-1, lang=language).split()
        except UNSAID:
            return said._replace(words=f"-{said.words}", sure=False)
        one = library().num2words(1, lang=language).split()
        minus = " ".join(below[: len(below) - len(one)])
    return said._replace(words=f"{minus} {said.words}")


def whole(language: str, digits: str, *, to: str = "cardinal") -> str:
    """The words of a whole number; digit by digit if it begins with 0 or exceeds MOST_DIGITS."""
    most = FEWER_DIGITS.get(language[:2], MOST_DIGITS)
    if len(digits) > most or (len(digits) > 1 and digits[0] == "0"):
        return _one_by_one(language, digits)
    try:
        words = library().num2words(int(digits), lang=language, to=to)
    except UNSAID:
        return _one_by_one(language, digits)
    for pattern, right in CORRECTIONS.get(language[:2], ()):
        words = re.sub(pattern, right, words)
    return words


def _year(language: str, digits: str) -> str:
    if hundred := HUNDREDS.get(language[:2]):
        rest = whole(language, str(int(digits[2:]))) if int(digits[2:]) else ""
        return f"{whole(language, digits[:2])}{hundred}{rest}"
    return whole(language, digits, to="year" if language[:2] == "en" else "cardinal")


def _one_by_one(language: str, digits: str) -> str:
    words = {digit: library().num2words(int(digit), lang=language) for digit in set(digits)}
    return " ".join(words[digit] for digit in digits)


def decimal(language: str, integer: str, fraction: str) -> str:
    """The words of a number with digits after its point; for ".5" English says no zero."""
    first = whole(language, integer or "0") if integer or language[:2] != "en" else ""
    if forms := WHOLES.get(language[:2]):
        wholes = form_of(language, integer if integer.strip("0") else "1", forms)
        return f"{agreeing(language, first, 'f')} {wholes} {whole(language, fraction)}"
    if point := POINTS.get(language[:2]):
        as_one = len(fraction) <= DIGITS_AS_ONE
        return f"{first} {point} {(whole if as_one else _one_by_one)(language, fraction)}"
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
