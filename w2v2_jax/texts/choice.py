"""Text rules by name, as `--text` gives them."""

from __future__ import annotations

import json
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.texts.alphabets import ALPHABETS
from w2v2_jax.texts.forms import CASES
from w2v2_jax.texts.reading import text_lines
from w2v2_jax.texts.rules import TextRules

NONE = "none"
CHOICES = "english, unicode[:LANGUAGE], none or FILE.json"
# Signs that English speakers read aloud.
ENGLISH_SIGNS = (
    ("&", " and "),
    ("%", " percent "),
    ("@", " at "),
    ("+", " plus "),
    ("=", " equals "),
    ("\u00b0", " degrees "),
)


def english() -> TextRules:
    """Lower case, a to z and the apostrophe, digits and signs in words, accents off."""
    return TextRules(
        "english",
        apostrophes=True,
        numbers="en",
        replace=ENGLISH_SIGNS,
        form="NFKC",
        case="lower",
        accents="drop",
        punctuation="space",
        characters=ALPHABETS["en"],
    )


def unicode(language: str = "") -> TextRules:
    """Lower case, letters of any script and the apostrophe. A language adds its case rules, its
    number words and, if ALPHABETS has them, its letters; other letters lose their accents."""
    tongue = language[:2]
    case = f"lower:{tongue}" if f"lower:{tongue}" in CASES else "lower"
    letters = ALPHABETS.get(tongue, "")
    return TextRules(
        f"unicode:{language}" if language else "unicode",
        apostrophes=True,
        numbers=language,
        case=case,
        accents="drop" if letters else "keep",
        punctuation="space",
        characters=letters,
    )


def read_choice(choice: str | None) -> TextRules | None:
    """The rules of `--text`; None without any (docs/texts.md).

    Raises InputError for an unknown name, a file without rules, or a missing package.
    """
    if choice is None or choice == NONE:
        return None
    name, _, language = choice.partition(":")
    where = f"--text {choice}"
    if choice == "english":
        rules = english()
    elif name == "unicode":
        rules = unicode(language)
    elif choice.endswith(".json"):
        rules = _of_file(choice)
    else:
        raise InputError(f"{where} is unknown; use {CHOICES}")
    rules.check(where=where)
    return rules


def _of_file(path: str) -> TextRules:
    """Rules of a JSON object; its "like" names the choice that it changes."""
    try:
        content = json.loads("\n".join(text_lines(path)))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--text {path}: not JSON: {error}") from error
    where = f"--text {path}"
    if not isinstance(content, dict):
        raise InputError(f"{where}: text rules are one JSON object")
    like = content.pop("like", NONE)
    if not isinstance(like, str) or like.endswith(".json"):
        raise InputError(f"{where}: like={like!r}; use english, unicode[:LANGUAGE] or none")
    base = read_choice(like) or TextRules()
    merged = base.to_json() | {"name": Path(path).name} | content
    return TextRules.from_json(merged, where=where)
