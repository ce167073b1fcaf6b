"""Words of any script in Latin letters, by uroman. It is optional, loaded on use."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable

from w2v2_jax.errors import InputError, lacking

INSTALL = 'pip install "w2v2_jax[romanise]"'


@functools.cache
def romaniser() -> Callable[[str], str]:
    """A word -> its lower-case Latin letters without accents, by the universal romaniser (Hermjakob
    et al. 2018). Digits stay digits; numerals that are letters are read as such, 一 as yi. Loading
    takes some seconds. InputError if uroman is not installed."""
    try:
        import uroman
    except ImportError as error:
        raise InputError(lacking(error, "--romanise needs uroman", INSTALL)) from error
    universal = uroman.Uroman()

    def edges(text: str, kind: str) -> list[tuple[str, str, str]]:
        """(what is written, its Latin letters, what kind of reading) of the parts of a text."""
        found = universal.romanize_string(text, rom_format=uroman.RomFormat[kind])
        return [(text[e.start : e.end], e.txt, e.type) for e in found]

    def letter(written: str) -> str:
        """A letter as it is said, also where uroman makes a number of it."""
        readings = [latin for _, latin, kind in edges(written, "LATTICE") if kind == "rom"]
        return readings[0] if readings else str(universal.romanize_string(written))

    @functools.lru_cache(maxsize=1 << 16)
    def romanised(word: str) -> str:
        latin = str(universal.romanize_string(word))
        if any(map(_is_numeral, word)):
            parts = [
                "".join(map(letter, written)) if any(map(str.isdigit, read)) else read
                for written, read, _ in edges(word, "EDGES")
            ]
            latin = "".join(parts)
        latin = unicodedata.normalize("NFKD", latin.lower())
        return "".join(c for c in latin if not unicodedata.combining(c))

    return romanised


def _is_numeral(character: str) -> bool:
    """Whether a letter is also a number. uroman writes one as 1 and twenty as 20 wherever Chinese
    uses them, and digits would be stars, which match anything."""
    return character.isalpha() and unicodedata.numeric(character, None) is not None
