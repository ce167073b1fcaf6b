"""Rules that turn written text into spoken words. They are chosen once for a corpus, and applied to
every text that is compared with its texts: training targets, references, hypotheses, texts of
language models, lines to align, hot words.

The rules are applied until nothing changes any more, so that applying them again changes nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.texts.cardinals import check_language
from w2v2_jax.texts.forms import CASES, normal_form, with_case
from w2v2_jax.texts.fractions import SIGNS, with_fraction
from w2v2_jax.texts.numbers import IN_DOUBT, spelled

ROUNDS = 8
FORMS = ("NFC", "NFKC")
APOSTROPHES = dict.fromkeys(
    map(ord, "\u2018\u2019\u201b\u02bc\uff07`\u00b4\u2032\u05f3\u055a\ua78c"), "'"
) | {0x149: "'n"}
SILENT = {ord("\u0640"): None}  # the Arabic tatweel only stretches a word
ACCENTS = re.compile("[\u0300-\u036f]")
# Letters that Unicode does not take apart.
PLAIN = {
    "\u00df": "ss",
    "\u00e6": "ae",
    "\u0153": "oe",
    "\u00f8": "o",
    "\u0142": "l",
    "\u0111": "d",
    "\u00f0": "d",
    "\u00fe": "th",
    "\u0131": "i",
    "\u0127": "h",
    "\u0167": "t",
}
PLAIN |= {letter.upper(): plain.upper() for letter, plain in PLAIN.items() if len(letter) == 1}
NUMERALS = re.compile(rf"[\d{SIGNS}]")
LOOSE = re.compile(r"(?<![^\W\d_])'|'(?![^\W\d_])")  # an apostrophe that is not between letters
SPOKEN = "%\u2030&@#\u00a7\u2033^"  # punctuation to Unicode, words to a reader
DIGITS, OUTSIDE = "digits stay", "outside the characters"
ROMAN = "roman numerals stay"
_ROMAN = re.compile(
    r"\b(?=[IVX]{2,}(?:e|er|\u00e8me|th)?\b)X{0,3}(?:IX|IV|V?I{0,3})(?![IVX])"
)  # a single letter is a word


class Change(NamedTuple):
    """A change that the rules made to a text, or something that is left for the user to check."""

    kind: str
    before: str
    after: str


Note = Callable[[str, str, str], None]
Steps = list[tuple[str, Callable[[str], str]]]


@dataclasses.dataclass(frozen=True)
class TextRules:
    """The changes to a text, in this order; the defaults are what is done to every text anyway.

    name: the name of the rules. apostrophes: typographic ones become '. numbers: a language of
    num2words, which writes digits as words; "" leaves them. replace: (from, to) pairs. form: NFC or
    NFKC. case: one of CASES. accents: "drop" removes them from letters that are not among
    `characters`. punctuation: "space" replaces everything that is not a letter, mark or digit,
    except `inside` between two of these. characters: the letters of the language; others stay in
    the text, are counted, and become no symbols. "" knows no others.
    """

    name: str = dataclasses.field(default="", compare=False)
    apostrophes: bool = False
    numbers: str = ""
    replace: tuple[tuple[str, str], ...] = ()
    form: str = "NFC"
    case: str = "keep"
    accents: str = "keep"
    punctuation: str = "keep"
    inside: str = "'"
    characters: str = ""

    def __post_init__(self):
        known = {
            "form": FORMS,
            "case": tuple(CASES),
            "accents": ("keep", "drop"),
            "punctuation": ("keep", "space"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise InputError(f"{name}={getattr(self, name)!r}; use one of {', '.join(values)}")
        if any(not source for source, _ in self.replace):
            raise InputError("replace '': nothing is no text to replace; name one")
        if endless := self._endless():
            raise InputError(f"replace {endless!r}: what it becomes holds a text to replace again")

    def _endless(self) -> str | None:
        fold = lambda text: with_case(self.case)(text).strip() or text  # noqa: E731
        sources = [fold(source) for source, _ in self.replace]
        for source, target in self.replace:
            if any(other in fold(target) for other in sources):
                return source
        return None

    def check(self, *, where: str) -> None:
        """InputError, which begins with `where`, if a package or its language is missing."""
        if self.numbers:
            check_language(self.numbers, where=where)

    def normalise(self, text: str) -> str:
        """The text by these rules, with single spaces between words; InputError for rules that
        never end."""
        return self._settled(text, None)

    def explain(self, text: str) -> tuple[str, list[Change]]:
        """`normalise`, and what it did or left."""
        changes: list[Change] = []
        settled = self._settled(text, lambda *change: changes.append(Change(*change)))
        if self.numbers:
            changes += [Change(ROMAN, numeral, numeral) for numeral in _ROMAN.findall(text)]
            changes += [Change(IN_DOUBT, c, c) for c in text if self._becomes_digits(c)]
        for character in settled:
            if unicodedata.category(character)[0] == "N":
                changes.append(Change(DIGITS, character, character))
            elif self.is_outside(character):
                changes.append(Change(OUTSIDE, character, character))
        return settled, changes

    def _becomes_digits(self, character: str) -> bool:
        """Whether NFKC makes plain digits of a character, as of the 2 in m\u00b2, which the words
        then do not tell apart."""
        if self.form != "NFKC" or character.isascii() or character.isdecimal():
            return False
        if character in SIGNS and with_fraction(self.numbers, "", character) != character:
            return False
        return any(c.isdecimal() for c in unicodedata.normalize("NFKC", character))

    def is_outside(self, character: str) -> bool:
        """Whether a character is not one of the language, so that it becomes no symbol."""
        allowed = self._allowed
        return bool(allowed) and not character.isspace() and character not in allowed

    @functools.cached_property
    def _allowed(self) -> frozenset[str]:
        """The characters in the case of the texts, and those inside words; empty without a set."""
        letters = with_case(self.case)(self.characters)
        return frozenset(f"{letters}{self.inside}") if self.characters else frozenset()

    def _settled(self, text: str, note: Note | None) -> str:
        for _ in range(ROUNDS):
            before, text = text, self._once(text, note)
            if text == before:
                return text
        raise InputError(f"text rules {self.name}: {before[:60]!r} becomes {text[:60]!r} and so on")

    def _once(self, text: str, note: Note | None) -> str:
        text = _stepped(text, self._steps, note)
        if self.numbers and NUMERALS.search(text):
            hyphens = "-" in self.inside or self.punctuation == "keep"
            text = spelled(self.numbers, hyphens=hyphens)(text, note or (lambda *_: None))
        text = _stepped(text, self._later_steps, note)
        if self.punctuation == "space":
            text = _spaced(text, self.inside, self._allowed, note)
        return " ".join(text.split())

    @functools.cached_property
    def _steps(self) -> Steps:
        """The steps before the numbers are read."""
        steps: Steps = [("hidden or composed", normal_form)]
        if self.apostrophes:
            steps.append(("apostrophes", lambda text: text.translate(APOSTROPHES)))
        return steps

    @functools.cached_property
    def _later_steps(self) -> Steps:
        steps: Steps = []
        if self.replace:
            steps.append(("replaced", self._replaced))
        if self.form == "NFKC":
            compatible = lambda text: normal_form(unicodedata.normalize("NFKC", text))  # noqa: E731
            steps.append(("hidden or composed", compatible))
        if self.case != "keep":
            steps.append(("case", lambda text: normal_form(CASES[self.case](text))))
        if self.accents == "drop":
            steps.append(("accents", self._without_accents))
        if self.punctuation == "space":
            steps.append(("stretched", lambda text: text.translate(SILENT)))
        return steps

    def _replaced(self, text: str) -> str:
        for source, target in self.replace:
            text = text.replace(source, target)
        return text

    def _without_accents(self, text: str) -> str:
        return text if text.isascii() else "".join(map(self._unaccented, text))

    def _unaccented(self, character: str) -> str:
        if character.isascii() or character in self._allowed:
            return character
        plain = ACCENTS.sub("", unicodedata.normalize("NFD", PLAIN.get(character, character)))
        if self._allowed and not self._allowed.issuperset(plain):
            return character
        return plain

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"replace": dict(self.replace)}

    @staticmethod
    def from_json(content: Mapping[str, Any], *, where: str) -> TextRules:
        """What `to_json` made, or a part of it; InputError, which begins with `where`, for another
        setting or a value of another type."""
        if not isinstance(content, Mapping):
            raise InputError(f"{where}: text rules are one JSON object")
        values = dict(content)
        for field in dataclasses.fields(TextRules):
            kind = {"replace": Mapping, "apostrophes": bool}.get(field.name, str)
            if field.name in values and not isinstance(values[field.name], kind):
                raise InputError(
                    f"{where}: {field.name}={values[field.name]!r} must be a "
                    f"{ {Mapping: 'object', bool: 'boolean', str: 'text'}[kind] }"
                )
        names = [field.name for field in dataclasses.fields(TextRules)]
        if unknown := [name for name in values if name not in names]:
            raise InputError(f"{where}: {unknown[0]!r} is no text rule; known: {', '.join(names)}")
        pairs = values.get("replace", {}).items()
        if not all(isinstance(target, str) for _, target in pairs):
            raise InputError(f"{where}: replace maps texts to texts")
        try:
            return TextRules(**(values | {"replace": tuple(pairs)}))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _stepped(text: str, steps: Steps, note: Note | None) -> str:
    for kind, step in steps:
        changed = step(text)
        if note is not None and changed != text:
            note(kind, *_difference(text, changed))
        text = changed
    return text


def _difference(before: str, after: str) -> tuple[str, str]:
    """The first pair of words that differ, before and after; if none do, the beginnings."""
    old, new = before.split(), after.split()
    for one, other in zip(old, new, strict=False):
        if one != other:
            return one, other
    return before[:40], after[:40]


@functools.lru_cache(maxsize=1 << 16)
def _kind(character: str) -> str:
    """ "letter" (with marks, digits and joiners), "punctuation", "symbol" or "space"."""
    if character.isspace():
        return "space"
    category = unicodedata.category(character)
    if category[0] in "LMN" or character in "\u200c\u200d":
        return "letter"
    silent = (category[0] == "P" or category == "Sk") and character not in SPOKEN
    return "punctuation" if silent else "symbol"


def _spaced(text: str, inside: str, allowed: frozenset[str], note: Note | None) -> str:
    """Spaces for all but letters, and `inside` between two of them."""
    letters = text.replace(" ", "")
    if "'" in inside and not LOOSE.search(text):
        letters = letters.replace("'", "")
    if letters.isalpha():
        return text  # most texts, once they were prepared
    kinds = ["space", *map(_kind, text), "space"]
    characters = []
    for place, character in enumerate(text, 1):
        between = kinds[place - 1] == kinds[place + 1] == "letter"
        stays = kinds[place] == "letter" or (
            between if character in inside else character in allowed
        )
        characters.append(character if stays else " ")
        if note is not None and not stays and kinds[place] != "space":
            note(kinds[place], character, "")
    return "".join(characters)
