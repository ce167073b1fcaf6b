"""Millions and the like as they are written after a number: "5 Mio.", "$5bn", "2 millones"."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from w2v2_jax.texts.currencies import Name

# Each row: abbreviations after any number / those beside a currency alone / how the word is
# written out / its gender and forms, as in the table of currencies.
_ROWS = {
    "en": r"""
        / k / thousand / - thousand thousand
        / m mm mn mio mil mill / million / - million million
        bn / b / billion / - billion billion
        tn trn / t / trillion / - trillion trillion
        // hundred / - hundred hundred
        / cr / crores? / - crore crore
        // lakhs?|lacs? / - lakh lakh""",
    "de": r"""
        Tsd. Tsd / T k / tausend / n tausend tausend
        Mio. Mio / M / million(?:en)? / f Million Millionen
        Mrd. Mrd // milliarden? / f Milliarde Milliarden
        Bio. // billion(?:en)? / f Billion Billionen""",
    "tr": r"""
        // bin / - bin bin
        mn // milyon / - milyon milyon
        mr mlr // milyar / - milyar milyar""",
    "fr": r"""
        / k / mille / m mille mille
        Mio / M / millions? / m million millions
        Mds Md Mrd / MM G / milliards? / m milliard milliards""",
    "es": r"""
        // mil\smillones / m millardo millardos
        / k / mil / m mil mil
        mill. / M MM / mill[oó]n|millones / m millón millones
        // bill[oó]n|billones / m billón billones""",
    "it": r"""
        / k / mila / m mila mila
        mln mio / M / milion[ei] / m milione milioni
        mld mrd // miliard[oi] / m miliardo miliardi""",
    "pt": r"""
        / k / mil / m mil mil
        / mi M / milh[ãa]o|milh[õo]es / m milhão milhões
        / bi / bi(?:lh|li)[ãa]o|bi(?:lh|li)[õo]es / m bilhão bilhões""",
    "cs": r"""
        tis. / k / tisíce? / m tisíc tisíce tisíc tisíce
        mil. mio. mio / mil M / milion\w* / m milion miliony milionů milionu
        mld. mld // miliard\w* / f miliarda miliardy miliard miliardy""",
    "pl": r"""
        tys. tys / k / tysi\w+ / m tysiąc tysiące tysięcy tysiąca
        mln / M / milion\w* / m milion miliony milionów miliona
        mld // miliard\w* / m miliard miliardy miliardów miliarda""",
    "sv": r"""
        / k / tusen / n tusen tusen
        mn milj. / M / miljon(?:er)? / c miljon miljoner
        mdr md // miljard(?:er)? / c miljard miljarder""",
    "da": r"""
        mio. mio / M / million(?:er)? / c million millioner
        mia. mia mrd. // milliard(?:er)? / c milliard milliarder""",
    "no": r"""
        mill. mill / M / million(?:er)? / c million millioner
        mrd. mrd // milliard(?:er)? / c milliard milliarder""",
    "ru": r"""
        тыс. тыс // тысяч\w* / f тысяча тысячи тысяч
        млн. млн // миллион\w* / m миллион миллиона миллионов
        млрд. млрд // миллиард\w* / m миллиард миллиарда миллиардов
        трлн. трлн // триллион\w* / m триллион триллиона триллионов""",
    "ca": r"""
        / k / mil / m mil mil
        / M / milió|milions / m milió milions""",
    "nl": r"""
        / k / duizend / - duizend duizend
        mln. mln / M / miljoen / - miljoen miljoen
        mld. mld // miljard / - miljard miljard""",
    "fi": r"""
        milj. / M / miljoona\w* / - miljoona miljoonaa
        mrd. // miljardi\w* / - miljardi miljardia""",
    "uk": r"""
        тис. тис // тисяч\w* / f тисяча тисячі тисяч
        млн. млн // мільйон\w* / m мільйон мільйони мільйонів мільйона
        млрд. млрд // мільярд\w* / m мільярд мільярди мільярдів мільярда""",
    "cy": r"// miliwn|biliwn|mil / - miliwn miliwn",
}
# Between millions and their noun: words that ask for it, and whether it loses its vowel.
_OF = {
    "fr": (r"\b(?:million|milliard)s?$", "de", "aeiouéh"),
    "ca": (r"\b(?:milió|milions|bilió|bilions)$", "de", "aeiouh"),
    "es": (r"\b(?:mill|bill)(?:ón|ones)$", "de", ""),
    "it": (r"\b(?:milion|miliard|bilion)[eoi]$", "di", ""),
    "pt": (r"(?:lh|li)(?:ão|ões)$", "de", ""),
}


class Scale(NamedTuple):
    """loose, tight: abbreviations after any number, and beside a currency alone. written: a
    pattern of the word itself."""

    loose: list[str]
    tight: list[str]
    written: str
    name: Name

    def is_written(self, text: str) -> bool:
        return bool(re.fullmatch(self.written, text.strip(" -\u2013"), re.I))


@functools.cache
def scales(language: str) -> tuple[Scale, ...]:
    """The words for thousands and more, as the language abbreviates them; () for others."""
    found = []
    for row in _ROWS.get(language[:2], "").strip().splitlines():
        loose, tight, written, name = (part.strip() for part in row.split("/"))
        gender, *forms = name.split()
        found.append(Scale(loose.split(), tight.split(), written, Name(gender, forms)))
    return tuple(found)


@functools.cache
def scale_pattern(language: str, *, gap: str | None) -> str:
    """What may stand after a number as its scale. gap: the space before one letter that means a
    scale beside a currency; None without a currency."""
    found = []
    space = r"[\s\u2013-]" if language[:2] == "en" and gap is not None else r"\s"  # "$5-million"
    for scale in scales(language):
        found += [rf"\s?{re.escape(mark)}" for mark in scale.loose]
        found.append(rf"{space}(?:{scale.written})")
        if gap is not None:
            found += [rf"{gap if len(mark) == 1 else ''}{mark}" for mark in scale.tight]
            found += [rf"\s{mark}" for mark in scale.tight if len(mark) > 1]
    return rf"(?:{'|'.join(found)})(?![^\W_])" if found else "(?!)"


def scale_of(language: str, text: str) -> Scale:
    """The scale that a text names, which matched `scale_pattern`."""
    mark = text.strip(" -\u2013").lower()
    abbreviations = lambda scale: [m.lower() for m in (*scale.loose, *scale.tight)]  # noqa: E731
    return next(s for s in scales(language) if s.is_written(mark) or mark in abbreviations(s))


def ends_amount(language: str, word: str) -> bool:
    """Whether what follows an amount, with the space before it, is surely no unknown scale of it.
    In "$5 q" or "$5mo" it may be one."""
    if not word:
        return True
    if not word[0].isspace():
        return not scales(language) and not word.isascii()  # Japanese has no spaces
    return bool(scales(language)) and (
        language[:2] != "en" or len(word) > 2 or word.strip() in ("a", "A", "I")
    )


def of_unit(language: str, words: str, unit: str) -> str:
    """Number words and their unit, with "of" between where a million needs it."""
    ends, link, vowels = _OF.get(language[:2], ("(?!)", "", ""))
    if not re.search(ends, words):
        return f"{words} {unit}"
    return f"{words} d'{unit}" if unit[0] in vowels else f"{words} {link} {unit}"
