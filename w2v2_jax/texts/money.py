"""Amounts of money as words."""

from __future__ import annotations

import re
from decimal import Decimal

from w2v2_jax.texts.cardinals import (
    UNSAID,
    Said,
    ascii_digits,
    counted,
    fraction_is_sure,
    is_sure,
    library,
    plain_number,
    say,
    value_of,
    whole,
)
from w2v2_jax.texts.currencies import Currency, Name, currencies
from w2v2_jax.texts.fractions import SIGNS
from w2v2_jax.texts.nouns import agreeing, before_noun, form_of
from w2v2_jax.texts.scales import of_unit, scale_of

# A yen sign is read as yen, $ as dollar, in every language.
_CODES = {
    "$": "USD", "us$": "USD", "$us": "USD", "ca$": "USD", "c$": "USD", "a$": "USD", "au$": "USD",
    "nz$": "USD", "hk$": "USD", "r$": "BRL", "mx$": "MXN", "\u20ac": "EUR", "\u00a3": "GBP",
    "\u00a5": "JPY", "\uffe5": "JPY", "cn\u00a5": "CNY", "\u20b9": "INR", "\u20a9": "KRW",
    "\u20bd": "RUB", "\u20b4": "UAH", "\u20ba": "TRY", "\u20aa": "ILS", "z\u0142": "PLN",
    "s$": "USD", "sg$": "USD", "nt$": "USD", "us-$": "USD", "\u20a8": "INR",
    "k\u010d": "CZK", "\u0440\u0443\u0431": "RUB", "\u0433\u0440\u043d": "UAH",
}  # fmt: skip
# What is a currency in these languages alone: TL is a teaspoon in German.
_NATIONAL = {
    "kr": {"da": "DKK", "no": "NOK", "sv": "SEK"}, "rs": {"en": "INR"}, "tl": {"tr": "TRY"}
}  # fmt: skip
_ISO = "EUR|USD|GBP|JPY|CNY|INR|KRW|CHF|PLN|CZK|SEK|NOK|DKK|RUB|UAH|BRL|MXN"
_DOLLARS = "AUD|CAD|NZD|HKD|SGD|TWD"  # whose country may be said or not
_CASED = "Rs|TL"
_MARKS = sorted([*_CODES, "kr"], key=len, reverse=True)
_BEFORE, _AFTER = r"(?<![^\W\d_])", r"(?![^\W\d_])"
SIGN = "|".join(
    [rf"\$US{_AFTER}"]
    + [(_BEFORE if m[0].isalpha() else "") + re.escape(m) for m in _MARKS if not m.isalpha()]
    + [rf"{_BEFORE}{m}\.?{_AFTER}" for m in _MARKS if m.isalpha()]
    + [rf"(?-i:{_BEFORE}(?:{_ISO}|{_DOLLARS}|(?:{_CASED})\.?){_AFTER})"]
)
_AND = {"es": "con", "it": "e", "pt": "e", "sv": "och"}  # between a unit and the small one
_HALF = {"\u00bd": "half a", "\u00bc": "a quarter of a", "\u00be": "three quarters of a"}  # English
_MANY = "5"


def money(language: str, sign: str, number: str, scale: str = "") -> Said:
    """An amount with the words of the currency; if there are none, the sign stays."""
    said = _money(language, sign, number, scale)
    return said._replace(sure=said.sure and sign not in _DOLLARS.split("|"))


def span(
    language: str, sign: str, least: str, link: str, other: str, most: str, scale: str
) -> Said:
    """English "$5 to $10 million", in which both numbers are millions. After "and", or where the
    first is no less than the second, the scale is of the second alone, in doubt."""
    word = link.strip() if link.strip().isalpha() else "to"
    last = money(language, other or sign, most, scale)
    less = Decimal(value_of(language, least)) < Decimal(value_of(language, most))
    if word != "to" or other not in ("", sign) or not less:
        return Said(f"{money(language, sign, least).words} {word} {last.words}", False)
    sure = last.sure and is_sure(language, least) and bool(other or not link.strip().isalpha())
    return Said(f"{say(language, least)} {word} {last.words}", sure)


def _money(language: str, sign: str, number: str, scale: str) -> Said:
    names = currencies(language).get(code := _code(language, sign))
    if names is None:
        said = _by_num2words(language, sign, code, number, scale)
        return said._replace(sure=said.sure and language[:2] != "cy")  # whose nouns mutate
    value, sure = _value(language, number)
    if scale:
        unit = form_of(language, _MANY, names.unit.forms)
        words = scaled(language, number, scale, unit)
        return Said(of_unit(language, words.words, unit), sure and words.sure)
    if number[-1] in SIGNS:
        return _fraction(language, number, names.unit)
    if value is None:
        return Said(f"{say(language, number)} {form_of(language, _MANY, names.unit.forms)}", False)
    return Said(_amount(language, value, names), sure)


def scaled(language: str, number: str, scale: str, noun: str) -> Said:
    """A number and its scale before a noun: the word as it is written, or that of an
    abbreviation. Thousands are read as one number."""
    found, value = scale_of(language, scale), value_of(language, number)
    if "k" in found.tight and number.isdecimal():
        words, agrees = before_noun(language, whole(language, f"{value}000"), noun)
        return Said(words, agrees and is_sure(language, number))
    written = found.is_written(scale)
    word = scale.strip(" -\u2013") if written else form_of(language, value, found.name.forms)
    words = counted(language, number, found.name.gender)
    return Said(f"{words} {word}", is_sure(language, number))


def _code(language: str, sign: str) -> str:
    mark = "$" if sign in _DOLLARS.split("|") else sign.lower().rstrip(".")
    return (_NATIONAL.get(mark) or {language[:2]: _CODES.get(mark, mark.upper())}).get(
        language[:2], ""
    )


def _value(language: str, number: str) -> tuple[str | None, bool]:
    """The value of an amount, and whether it is certain. Cents may follow either sign, as 5,50 in
    English is clear; so are both signs together, or one of them twice."""
    text = ascii_digits(number)
    if (plain := plain_number(language, number)) is not None:
        if re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", text) and "." in plain:
            return (re.sub("[.,]", "", text) if text.endswith("000") else plain), False
        return plain, True
    if re.fullmatch(r"\d{1,3}([.,])\d{3}(?:\1\d{3})+", text):
        return re.sub("[.,]", "", text), True
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:,\d{3})+\.\d+|\d+[.,]\d\d?", text):
        *units, cents = re.split("[.,]", text)
        return f"{''.join(units)}.{cents}", True
    return None, False


def _amount(language: str, value: str, names: Currency) -> str:
    units, _, cents = value.partition(".")
    if cents.strip("0") and (len(cents) != 2 or not names.small.forms):
        words = say(language, _as_written(language, value))
        return f"{words} {form_of(language, value, names.unit.forms)}"
    first = of_unit(language, *_parts(language, units or "0", names.unit))
    if not cents.strip("0"):
        return first
    second = " ".join(_parts(language, str(int(cents)), names.small))
    return f"{first} {_AND.get(language[:2], '')} {second}" if units.strip("0") else second


def _parts(language: str, digits: str, name: Name) -> tuple[str, str]:
    words = agreeing(language, whole(language, digits), name.gender)
    return words, form_of(language, digits, name.forms)


def _as_written(language: str, value: str) -> str:
    """A plain number with the sign that the language writes before decimals."""
    return value if plain_number(language, "1.5") else value.replace(".", ",")


def _fraction(language: str, number: str, unit: Name) -> Said:
    if len(number) == 1 and language[:2] == "en" and number in _HALF:
        return Said(f"{_HALF[number]} {unit.forms[0]}")
    form = form_of(language, value_of(language, number), unit.forms)
    return Said(f"{say(language, number)} {form}", fraction_is_sure(language, number))


def _by_num2words(language: str, sign: str, code: str, number: str, scale: str) -> Said:
    """In languages without a table; its names are those of another currency in Arabic."""
    value, sure = _value(language, number)
    words = scaled(language, number, scale, "") if scale else Said(say(language, number), sure)
    try:
        if value is None or number[-1] in SIGNS or language[:2] == "ar" or currencies(language):
            raise KeyError(code)
        units, _, cents = value.partition(".")
        decimals = bool(cents.strip("0")) and len(cents) != 2
        if scale or decimals:
            unit = _named(language, code, "5.00")[0].removeprefix(whole(language, "5")).strip()
            return Said(of_unit(language, words.words, unit), words.sure and not decimals)
        first, second = _named(language, code, f"{units or 0}.{cents or '00'}")
        if first.startswith(f"{(count := whole(language, units or '0'))} "):
            first = of_unit(language, count, first.removeprefix(count).strip())
    except UNSAID:
        return Said(f"{words.words} {sign}", False)
    said = first if not cents.strip("0") else f"{first} {second}" if units.strip("0") else second
    return Said(said, sure)


def _named(language: str, code: str, value: str) -> tuple[str, str]:
    """Units and cents of "5.50" with num2words' names."""
    words = library().num2words(
        Decimal(value), lang=language, to="currency", currency=code, separator="|"
    )
    first, _, second = words.replace(" sterling", "").partition("|")
    return first.strip(), second.strip()
