"""Ordinals as words, and the sign before the number of a thing: "3rd", "No. 3"."""

from __future__ import annotations

import re

from w2v2_jax.texts.cardinals import Said, is_sure, plain_number, say

# Languages that write an ordinal with a dot. Its form goes with its noun, so no rule can say it.
DOTTED = frozenset(
    ["cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "no", "pl", "sk", "sl", "sr", "tr"]
)
ORDINALS = {
    "cy": "af|il|ydd|fed|ed|eg|ain",
    "en": "st|nd|rd|th",
    "es": r"\.?º|\.?ª|\.?er",
    "fr": "(?:er|re|ère|e|ème|eme|nde?)s?",
    "it": "º|ª",
    "nl": "e|de|ste",
    "pt": r"\.?º|\.?ª",
    "sv": ":[ae]",
}
_FEMININE = ("ª", "re", "ère")
# What num2words gets wrong: (pattern, words).
_CORRECTIONS = {
    "es": [("décimoprimer", "undécim"), ("décimosegund", "duodécim")],
    "fr": [
        (r"(vingt|cent|million|milliard)sième$", r"\1ième"),
        (r"(cent|vingt)s(?=.milli(?:on|ard)ième$)", r"\1"),
        (r"^un (?=milli(?:on|ard)ième$)", ""),
    ],
}
_SECOND = {"nd": "second", "nde": "seconde"}  # French
# How a language writes "number" before a number, where that is no word of its own, and the word.
_NUMERO = {
    "cs": (r"č\.", "číslo"),
    "da": (r"nr\.", "nummer"),
    "de": (r"nr\.", "Nummer"),
    "en": (r"(?-i:No\.)|no\.(?=\d)", "number"),
    "es": (r"n\.?[º°]|n[úu]m\.", "número"),
    "fr": (r"n[º°]|(?-i:N)o\.", "numéro"),
    "it": (r"n\.?[º°]", "numero"),
    "nl": (r"nr\.", "nummer"),
    "no": (r"nr\.", "nummer"),
    "pl": (r"nr\.?", "numer"),
    "pt": (r"n\.?[º°]", "número"),
    "ru": (r"№", "номер"),
    "sv": (r"nr\.?", "nummer"),
    "uk": (r"№", "номер"),
}
# What may mean it: these letters are words too.
_PERHAPS = {"en": r"nos?\.|(?-i:N)o(?=\s)", "es": r"(?-i:N)o\.?", "fr": r"no\.|(?-i:N)o(?=\s)"}


def ordinal(language: str, number: str, end: str) -> Said:
    """A number with the letters or the sign that make it an ordinal."""
    plain = plain_number(language, number) or ""
    words, end = say(language, number, to="ordinal"), end.lstrip(".").lower()
    for pattern, right in _CORRECTIONS.get(language[:2], ()):
        words = re.sub(pattern, right, words)
    many = "s" if language[:2] == "fr" and end.endswith("s") else ""
    words = _of_gender(language[:2], words, end.removesuffix("s") if many else end)
    return Said(f"{words}{many}", plain.isdecimal() and is_sure(language, number))


def _of_gender(tongue: str, words: str, end: str) -> str:
    if tongue == "fr" and words == "deuxième":
        return _SECOND.get(end, words)
    if end == "er" and tongue == "es":
        return re.sub(r"(primer|tercer)o$", r"\1", words)
    if end not in _FEMININE:
        return words
    if tongue == "fr":
        return re.sub(r"premier\b", "première", words)
    return re.sub(r"o\b", "a", words)


def numero_pattern(tongue: str) -> str:
    """What stands for "number" before a number, and what may; matches nothing without a row."""
    sign, perhaps = _NUMERO.get(tongue, ("(?!)", ""))[0], _PERHAPS.get(tongue, "(?!)")
    return rf"(?<!\w)(?:({sign}{'|№' if tongue in _NUMERO else ''})|({perhaps}))\s?"


def numero(language: str, sign: str, perhaps: str, number: str, word: str) -> Said:
    """A number after what stands for "number"; what only may stand for it stays, in doubt.
    word: a small letter after it, as in "No. 5 people came", which may be an answer."""
    words = say(language, number)
    if not sign:
        return Said(f"{perhaps} {words}", False)
    answer = word and language[:2] in _PERHAPS and sign.lower() == "no."
    return Said(f"{_NUMERO[language[:2]][1]} {words}", is_sure(language, number) and not answer)
