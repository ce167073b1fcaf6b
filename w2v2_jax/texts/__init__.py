"""Reading texts, their normal form, rules of case, and rules that turn written text into spoken
words."""

from w2v2_jax.texts.forms import CASES, dropped, normal_form, with_case
from w2v2_jax.texts.reading import (
    BOM,
    MARKS,
    MOST_LINE,
    decoded_lines,
    optional_lines,
    packed_by,
    text_lines,
)

__all__ = [
    "BOM",
    "CASES",
    "MARKS",
    "MOST_LINE",
    "decoded_lines",
    "dropped",
    "normal_form",
    "optional_lines",
    "packed_by",
    "text_lines",
    "with_case",
]
