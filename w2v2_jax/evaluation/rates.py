"""What error rates are called, and which of them are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RATES = {"per": "phone", "wer": "word", "cer": "character"}  # in the order shown; what each counts


def word_rate(*, phonemes: bool) -> str:
    """The name of the rate of a text's words: "per" if these are `phonemes`, else "wer"."""
    return "per" if phonemes else "wer"


def rates_shown(rates: Mapping[str, Any], order: Iterable[str] = RATES) -> list[str]:
    """The names in `order` that have a value. Phonemes that are not folded are the words of the
    texts: then PER and WER are one number, which is shown once, as the PER."""
    twice = "per" in rates and rates["per"] == rates.get("wer")
    return [name for name in order if name in rates and not (twice and name == "wer")]
