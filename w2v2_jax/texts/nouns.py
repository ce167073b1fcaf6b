# ruff: noqa: RUF001  (Cyrillic letters are meant)
"""How number words change with the noun that they count, and the noun with the number.

num2words gives the counting form. Where the gender of a noun is not known, number words are
masculine (common in Scandinavian languages).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from w2v2_jax.texts.currencies import currencies
from w2v2_jax.texts.scales import scales

# What the end of a counting form becomes before a noun of a gender: (pattern, words).
_AGREEMENT = r"""
    de m eins$ ein
    de n eins$ ein
    de f eins$ eine
    cy m pump$ pum
    cy m chwech$ chwe
    cy f dau$ dwy
    cy f tri$ tair
    cy f pedwar$ pedair
    fr f \bun$ une
    es m veintiuno$ veintiún
    es m \buno$ un
    es f uno$ una
    es f (ci|ni)entos\b(?!.*[mb]ill) \1entas
    es f \bun(?=\smil$) una
    es f veintiún(?=\smil$) veintiuna
    it m ^uno$ un
    it f ^uno$ una
    pt f \bum$ uma
    pt f \bdois(?=\smil\b|$)(?!.*milh) duas
    pt f entos\b(?!.*milh) entas
    cs m ^jedna$ jeden
    cs n ^jedna$ jedno
    cs n ^dva$ dvě
    cs f ^dva$ dvě
    sk f ^jeden$ jedna
    sk f ^dva$ dve
    pl n ^jeden$ jedno
    pl f ^jeden$ jedna
    pl f \bdwa$ dwie
    sv c ett$ en
    da c ^et$ en
    no n \ben$ ett
    ru n \bодин$ одно
    ru f \bодин$ одна
    ru f \bдва$ две
    uk n \bодин$ одне
    uk f \bодин$ одна
    uk f \bдва$ дві"""
_UNKNOWN_GENDER = {"de": "m", "es": "m", "it": "m", "cs": "m", "sv": "c", "da": "c", "cy": "m"}
# Nouns that are often counted, beside currencies and millions.
_NOUNS = {
    "de": """
        m km kg cm tag monat meter kilometer liter uhr n jahr kilo gramm prozent f stunde minute
        sekunde woche person seite frau""",
    "fr": """
        f heure heures minute minutes seconde secondes semaine semaines fois personne
        personnes année années page pages m jour jours mois an ans kilomètre kilomètres
        mètre mètres kilo kilos""",
    "es": """
        f hora horas semana semanas persona personas vez veces página páginas mujer mujeres
        m km kg cm año años día días mes meses minuto minutos segundo segundos kilómetro kilómetros
        metro metros kilo kilos hombre hombres""",
    "it": """
        f settimana volta persona pagina m km kg cm anno giorno mese minuto secondo chilometro metro
        chilo""",
    "pt": """
        f hora horas semana semanas pessoa pessoas vez vezes página páginas mulher mulheres
        m ano anos dia dias mês meses minuto minutos segundo segundos metro metros quilo
        quilos homem homens""",
    "cs": """
        f hodina hodiny minuta minuty sekunda sekundy m km kg cm den dny měsíc měsíce rok roky metr
        metry kilometr kilometry n kilo kila procento procenta""",
    "pl": "f godzina godziny minuta minuty sekunda sekundy m dzień rok metr kilometr n kilo",
    "sv": """
        c timme minut sekund dag vecka månad gång person sida meter kilometer procent n år
        kilo barn""",
    "da": """
        c time dag uge måned gang person side meter kilometer procent n år minut sekund kilo
        barn""",
    "no": """
        c time dag uke måned gang person side meter kilometer prosent n år minutt sekund
        kilo barn""",
    "ru": """
        f минута минуты секунда секунды неделя недели тонна тонны m год года час часа день
        дня месяц месяца метр метра километр километра процент процента""",
    "uk": """
        f хвилина хвилини секунда секунди година години гривня гривні копійка копійки
        m рік роки день дні місяць відсоток""",
}
# After these a word is no noun that is counted: "1 de enero".
_NO_NOUN = {
    "cs": "a i nebo až je v z s",
    "es": "de del y o u a al en es con por que se ha",
    "fr": "de du et ou à au en est que avec pour",
    "it": "di del e o a al in è che con per si ha",
    "pt": "de do da e ou a ao em no na é que com por",
    "ru": "и или до в на с это",
}
_WITHOUT_ENDS = {"cs", "sk"}  # 21 and 22 are many; in other Slavic languages their ends decide
_LAST = 18  # digits that decide; Python reads no more than 4300 as a number
_BELOW_TWO = {"fr": 0, "pt": 1}  # languages in which 1.5 is singular, and the least such number


def agreeing(language: str, words: str, gender: str) -> str:
    """Number words as they are before a noun of a gender."""
    for pattern, changed in _agreement(language[:2]).get(gender, ()):
        words = re.sub(pattern, changed, words)
    return words


@functools.cache
def _agreement(tongue: str) -> dict[str, list[tuple[str, str]]]:
    """(pattern, words) by gender."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in _AGREEMENT.strip().splitlines():
        language, gender, pattern, changed = row.split()
        if language == tongue:
            found.setdefault(gender, []).append((pattern, changed))
    return found


def before_noun(language: str, words: str, noun: str) -> tuple[str, bool]:
    """Number words before a word, and whether its gender is known or does not matter."""
    tongue = language[:2]
    if gender := _genders(language).get(noun.lower()):
        return agreeing(language, words, gender), True
    if not is_noun(language, noun):
        return words, True
    matters = any(agreeing(language, words, g) != words for g in _agreement(tongue))
    return agreeing(language, words, _UNKNOWN_GENDER.get(tongue, "")), not matters


def is_noun(language: str, word: str) -> bool:
    """Whether a word after a number may be what is counted."""
    if not word or word.lower() in _NO_NOUN.get(language[:2], "").split():
        return False
    return language[:2] != "de" or word[0].isupper()


def has_gender(language: str, noun: str) -> bool:
    """Whether a noun is in the tables."""
    return noun.lower() in _genders(language)


def form_of(language: str, value: str, forms: Sequence[str]) -> str:
    """The form of a noun that goes with a plain number."""
    return forms[_place(language[:2], value, len(forms))] if len(forms) > 1 else forms[0]


def _place(tongue: str, value: str, count: int) -> int:
    whole, point, _ = value.partition(".")
    number = int(whole[-_LAST:] or 0) + (len(whole) > _LAST) * 10**_LAST
    if count == 2:
        if tongue in _BELOW_TWO:
            return int(not _BELOW_TWO[tongue] <= number < 2)
        return int(bool(point) or number != 1)
    if point:
        return 3 if count == 4 else 1
    end = number
    if tongue not in _WITHOUT_ENDS:
        end = 5 if number % 100 in range(11, 15) else number % 10
    if tongue == "pl" and end == 1 != number:
        end = 5
    return 0 if end == 1 else 1 if end in (2, 3, 4) else 2


@functools.cache
def _genders(language: str) -> dict[str, str]:
    """The gender of nouns in lower case."""
    found: dict[str, str] = {}
    gender = ""
    for word in _NOUNS.get(language[:2], "").split():
        if len(word) == 1:
            gender = word
        found[word] = gender
    names = [name for pair in currencies(language).values() for name in pair]
    for name in [*names, *(scale.name for scale in scales(language))]:
        found |= {form.lower(): name.gender for form in name.forms}
    return found
