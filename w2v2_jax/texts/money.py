"""Amounts of money as words."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from w2v2_jax.texts.cardinals import UNSAID, library, plain_number, say, whole

CURRENCIES = {
    "R$": "BRL",
    "US$": "USD",
    "$": "USD",
    "\u20ac": "EUR",
    "\u00a3": "GBP",
    "\u00a5": "JPY",
    "\u20b9": "INR",
}
SIGN = r"(?<![^\W\d_])(?:R|US)\$|[$\u20ac\u00a3\u00a5\u20b9]"
SHORT_SCALES = {  # of English
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "tn": "trillion",
    "trn": "trillion",
}
SCALES = {
    "en": r"\s(?:hundred|thousand|million|billion|trillion)\b|\s?(?:mn|bn|tn|trn)\b|[kmb]\b",
    "es": r"\s(?:mil|mill[oó]n|millones|bill[oó]n|billones)\b",
    "fr": r"\s(?:mille|millions?|milliards?)\b",
    "it": r"\s(?:mila|milion[ei]|miliard[oi])\b",
    "pt": r"\s(?:mil|milh[ãa]o|milh[õo]es|bilh[ãa]o|bilh[õo]es)\b",
}
OF = {"es": "de", "fr": "de", "it": "di", "pt": "de"}  # between a million and its unit
THOUSANDS = ("mil", "mila", "mille")  # which go without


class Unit(NamedTuple):
    """Names of a currency, of one and of more; and what stands before the small one."""

    one: str
    more: str
    small: str
    smalls: str
    and_: str


UNITS = {("pt", "BRL"): Unit("real", "reais", "centavo", "centavos", "e")}  # num2words has none


def is_amount(language: str, number: str) -> bool:
    """Whether the meaning of a number beside a currency sign is known."""
    return _value(language, number) is not None


def _value(language: str, number: str) -> str | None:
    """The value of an amount. Cents may follow either sign, as 5,50 in English is unambiguous."""
    plain = plain_number(language, number)
    if plain is None and (match := re.fullmatch(r"(\d+)[.,](\d\d?)", number)):
        return f"{match[1]}.{match[2]}"
    return plain


def money(language: str, sign: str, number: str, scale: str = "") -> str:
    """An amount with the words of the currency; if num2words has none, the sign stays."""
    scale = SHORT_SCALES.get(scale.strip().lower(), scale.strip())
    try:
        return _amount(language, CURRENCIES[sign.upper()], number, scale)
    except UNSAID:
        return f"{say(language, number)} {scale} {sign[-1]}"


def _amount(language: str, currency: str, number: str, scale: str) -> str:
    value = _value(language, number)
    if value is not None and not scale:
        units, _, cents = value.partition(".")
        if not cents.strip("0"):
            return _named(language, currency, f"{units}.00")[0]
        if len(cents) == 2:
            first, second = _named(language, currency, f"{units or 0}.{cents}")
            return f"{first} {second}" if units.strip("0") else second.removeprefix("e ")
    unit = _named(language, currency, "5.00")[0].removeprefix(whole(language, "5")).strip()
    written = number if value is None else _as_written(language, value)
    link = "" if scale.lower() in THOUSANDS or not scale else OF.get(language[:2], "")
    if link == "de" and language[:2] == "fr" and unit[:1] in "aeiouy":
        link, unit = "", f"d'{unit}"
    return " ".join(f"{say(language, written)} {scale} {link} {unit}".split())


def _as_written(language: str, value: str) -> str:
    """A plain number with the sign that the language writes before decimals."""
    return value if plain_number(language, "1.5") else value.replace(".", ",")


def _named(language: str, currency: str, value: str) -> tuple[str, str]:
    """Units and cents of "5.50" with their names."""
    if unit := UNITS.get((language[:2], currency)):
        units, cents = (str(int(part)) for part in value.split("."))
        names = (
            unit.one if units == "1" else unit.more,
            unit.small if cents == "1" else unit.smalls,
        )
        first, second = whole(language, units), whole(language, cents)
        return f"{first} {names[0]}", f"{unit.and_} {second} {names[1]}"
    words = library().num2words(
        Decimal(value), lang=language, to="currency", currency=currency, separator="|"
    )
    first, _, second = words.replace(" sterling", "").partition("|")
    return first.strip(), second.strip()
