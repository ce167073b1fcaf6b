"""Texts that trip normalisers, and the rules they are tried with."""

import numpy as np

from w2v2_jax.texts.choice import english, unicode
from w2v2_jax.texts.rules import TextRules

# Pieces of which random texts are made: scripts, marks, digits, signs, what shows nothing.
FRAGMENTS = (
    "a", "Z", "don't", "Don\u2019t", "I", "\u0130", "\u0131", "\u00df", "\u1e9e", "\u00e9",
    "e\u0301", "\u0149", "\u01f0", "\u039f\u0394\u039f\u03a3", "\u03c2", "\u0130\u015e",
    "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0915\u094d\u200d\u0937", "\u0967\u0968", "\u0964",
    "\u0643\u062a\u0640\u0640\u0627\u0628", "\u0663\u066b\u0661", "\u200f", "\u200d", "\u200c",
    "\u0645\u06cc\u200c\u0631\u0648\u0645", "\u05d2\u05f3", "\u5317\u4eac", "\uff11\uff12",
    "\u2460", "\u00bd", "\u2167", "\u2116", "\ufb01", "3rd", "1,000", "1.000,5", "$5",
    "5 \u20ac", "10:30",
    "10:05", "007", "-5", ".5", "1 000", "50\u00a2", "R$ 1,5", "24:00", "1\u00aa", "10s",
    "1990s", "50%", "%50", "2.5.1", "123456789012345678", "&", "@", "+", "|",
    "'", "\u2018", "''", "-", "\u2014", ".", "?", "\u00bf", "_", "#", "\u20bd", "\U0001f600",
    "\u0300", "\u00ad", "<unk>", " ", "\t", "\u00a0",
)  # fmt: skip


def random_texts(count, *, seed=0):
    """Texts of 1 to 8 fragments, side by side."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield "".join(rng.choice(FRAGMENTS, size=rng.integers(1, 9)))


RULES = {
    "english": english(),
    "unicode": unicode(),
    **{f"unicode:{tongue}": unicode(tongue) for tongue in ("de", "tr", "ar", "fr", "ru", "pt")},
    "own": TextRules(
        "own", apostrophes=True, form="NFKC", case="upper", accents="drop", punctuation="space",
        inside="'-", replace=(("&", " UND "), ("\u20ac", "EURO")), characters="abc",
    ),
}  # fmt: skip
# Rules that need no package.
PLAIN_RULES = {name: rules for name, rules in RULES.items() if not rules.numbers}
