"""Texts that people give: one reader of their files, one normal form, the rules of case, and the
rules that make spoken words of written text."""

from w2v2_jax.texts.forms import CASES, dropped, normal_form, with_case
from w2v2_jax.texts.reading import BOM, MARKS, MOST_LINE, decoded_lines, text_lines

__all__ = [
    "BOM",
    "CASES",
    "MARKS",
    "MOST_LINE",
    "decoded_lines",
    "dropped",
    "normal_form",
    "text_lines",
    "with_case",
]
