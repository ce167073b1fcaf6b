"""The normal form of texts and the rules of case.

Every comparison of letters (references, hypotheses, symbols, lexicons, language models' texts)
goes through `normal_form` on both of its sides.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

# Unicode's Default_Ignorable_Code_Point except the joiners, and the control characters except white
# space: a text looks the same without them. Halves of surrogate pairs, which a JSON file can hold,
# are no characters, and no file of UTF-8 can hold them.
_IGNORABLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# U+200C and U+200D select letter shapes, which distinguish words in Persian and in Indic scripts.
# After letters of other scripts, which lie below U+0600, they have no meaning.
_DROPPED = re.compile(f"[{_IGNORABLE}]|(?<![\u0600-\U0010ffff])[\u200c\u200d]+")


def normal_form(text: str) -> str:
    """The text without invisible characters, in Unicode NFC."""
    return unicodedata.normalize("NFC", _DROPPED.sub("", text))


def dropped(text: str) -> str:
    """The characters that `normal_form` removes."""
    return "".join(_DROPPED.findall(text))


def _lower_turkic(text: str) -> str:
    """I is the capital of a dotless i; a separate dot belongs to the I before it."""
    text = text.replace("I\u0307", "i").replace("\u0130", "i").replace("I", "\u0131")
    return text.lower()


def _upper_turkic(text: str) -> str:
    return text.replace("i\u0307", "\u0130").replace("i", "\u0130").upper()


def _lower_lithuanian(text: str) -> str:
    """A lower i or j keeps its dot below an accent (Unicode's SpecialCasing)."""
    apart = re.sub("[\u00cc\u00cd\u0128]", lambda m: unicodedata.normalize("NFD", m[0]), text)
    return re.sub("([IJ\u012e])(?=[\u0300\u0301\u0303])", "\\1\u0307", apart).lower()


def _upper_lithuanian(text: str) -> str:
    return re.sub("([ij\u012f])\u0307", r"\1", text).upper()


def _upper_german(text: str) -> str:
    """Sharp s stays one letter; Unicode would write two capitals."""
    return text.replace("\u00df", "\u1e9e").upper()


# Languages with other rules of case have their code after a colon.
CASES: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "keep": str,
    "upper:tr": _upper_turkic,
    "lower:tr": _lower_turkic,
    "upper:az": _upper_turkic,
    "lower:az": _lower_turkic,
    "upper:lt": _upper_lithuanian,
    "lower:lt": _lower_lithuanian,
    "upper:de": _upper_german,
    "lower:de": str.lower,
}


@functools.cache
def with_case(case: str) -> Callable[[str], str]:
    """The normal form in a case; single spaces between words."""
    change = CASES[case]
    return lambda text: " ".join(normal_form(change(normal_form(text))).split())
