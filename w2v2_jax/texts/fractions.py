# ruff: noqa: RUF001  (Cyrillic letters are meant)
"""Fractions of one character, such as the half in 2\u00bd, as words."""

from __future__ import annotations

import functools

# Each row: the sign, its words alone / after a whole number; + joins these to the number.
_ROWS = {
    "en": """½ a half / and a half
        ¼ a quarter / and a quarter
        ¾ three quarters / and three quarters
        ⅓ a third / and a third
        ⅔ two thirds / and two thirds
        ⅕ a fifth / and a fifth
        ⅖ two fifths / and two fifths
        ⅗ three fifths / and three fifths
        ⅘ four fifths / and four fifths
        ⅙ a sixth / and a sixth
        ⅚ five sixths / and five sixths
        ⅛ an eighth / and an eighth
        ⅜ three eighths / and three eighths
        ⅝ five eighths / and five eighths
        ⅞ seven eighths / and seven eighths""",
    "de": """½ ein halb / +einhalb
        ¼ ein Viertel / +einviertel
        ¾ drei Viertel / +dreiviertel
        ⅓ ein Drittel / +eindrittel
        ⅔ zwei Drittel / +zweidrittel""",
    "fr": """½ un demi / et demi
        ¼ un quart / et quart
        ¾ trois quarts / trois quarts
        ⅓ un tiers / et un tiers
        ⅔ deux tiers / et deux tiers""",
    "es": """½ medio / y medio
        ¼ un cuarto / y cuarto
        ¾ tres cuartos / y tres cuartos
        ⅓ un tercio / y un tercio
        ⅔ dos tercios / y dos tercios""",
    "it": """½ mezzo / e mezzo
        ¼ un quarto / e un quarto
        ¾ tre quarti / e tre quarti
        ⅓ un terzo / e un terzo
        ⅔ due terzi / e due terzi""",
    "pt": """½ meio / e meio
        ¼ um quarto / e um quarto
        ¾ três quartos / e três quartos
        ⅓ um terço / e um terço
        ⅔ dois terços / e dois terços""",
    "cs": """½ půl / a půl
        ¼ čtvrt / a čtvrt
        ¾ tři čtvrtě / a tři čtvrtě
        ⅓ třetina / a třetina
        ⅔ dvě třetiny / a dvě třetiny""",
    "sv": """½ en halv / och en halv
        ¼ en fjärdedel / och en fjärdedel
        ¾ tre fjärdedelar / och tre fjärdedelar
        ⅓ en tredjedel / och en tredjedel
        ⅔ två tredjedelar / och två tredjedelar""",
    "ru": """½ половина / с половиной
        ¼ четверть / с четвертью
        ¾ три четверти / и три четверти
        ⅓ треть / с третью
        ⅔ две трети / и две трети""",
    "cy": """½ hanner / a hanner
        ¼ chwarter / a chwarter
        ¾ tri chwarter / a thri chwarter""",
}
SIGNS = "½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚"


@functools.cache
def _fractions(tongue: str) -> dict[str, tuple[str, str]]:
    rows = (row.strip() for row in _ROWS.get(tongue, "").splitlines())
    return {row[0]: tuple(part.strip() for part in row[1:].split("/")) for row in rows}  # type: ignore[misc]


def with_fraction(language: str, words: str, sign: str) -> str:
    """The words of a whole number, "" for none, with those of a fraction; without words for it
    its sign stays."""
    alone, after = _fractions(language[:2]).get(sign, (sign, sign))
    if not words:
        return alone
    return words + after[1:] if after[0] == "+" else f"{words} {after}"
