"""Phone labels: TIMIT's 61 to the 48 and 39 of Lee and Hon 1989, table 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from w2v2_jax.errors import InputError

# Each of the 39 scored phones, and the phones that count as it; `q`, the glottal stop, is left out.
TIMIT_39 = {
    "iy": "iy", "ih": "ih ix", "eh": "eh", "ae": "ae", "ah": "ah ax ax-h", "uw": "uw ux",
    "uh": "uh", "aa": "aa ao", "ey": "ey", "ay": "ay", "oy": "oy", "aw": "aw", "ow": "ow",
    "er": "er axr", "l": "l el", "r": "r", "w": "w", "y": "y", "m": "m em", "n": "n en nx",
    "ng": "ng eng", "v": "v", "f": "f", "dh": "dh", "th": "th", "z": "z", "s": "s",
    "sh": "sh zh", "jh": "jh", "ch": "ch", "b": "b", "p": "p", "d": "d", "dx": "dx", "t": "t",
    "g": "g", "k": "k", "hh": "hh hv", "sil": "bcl dcl gcl pcl tcl kcl h# pau epi",
}  # fmt: skip
# The 48 for training in the same table: the phones that count as each, if it is not only itself.
TIMIT_48 = {
    "ax": "ax-h",
    "er": "axr",
    "m": "em",
    "ng": "eng",
    "n": "nx",
    "hh": "hv",
    "uw": "ux",
    "cl": "pcl tcl kcl",
    "vcl": "bcl dcl gcl",
    "sil": "h# pau",
}
LEFT_OUT = ("q",)
_FOLDED = {phone: scored for scored, phones in TIMIT_39.items() for phone in phones.split()}
_TO_48 = {phone: one for one, phones in TIMIT_48.items() for phone in phones.split()}
_FOLDED |= {scored: scored for scored in TIMIT_39}


def fold_timit(phones: Sequence[str]) -> list[str]:
    """Phones of either set -> the 39, in lower case; InputError names one that is of neither.

    Neighbouring silences stay two, as in the usual scoring.
    """
    folded = []
    for phone in (p.lower() for p in phones):
        if phone in LEFT_OUT:
            continue
        if phone not in _FOLDED:
            known = " ".join(sorted(_FOLDED))
            raise InputError(f"--phones: {phone!r} is not a TIMIT phone; known: {known}")
        folded.append(_FOLDED[phone])
    return folded


def fold_timit_48(phones: Sequence[str]) -> list[str]:
    """The corpus's 61 phones -> the 48 that models are trained on, in lower case; InputError names
    one that is none of them."""
    kept = [p for p in (phone.lower() for phone in phones) if p not in LEFT_OUT]
    fold_timit(kept)
    return [_TO_48.get(phone, phone) for phone in kept]


def fold_heard(phones: Sequence[str]) -> list[str]:
    """The same for a recogniser's output; phones that do not exist stay unchanged, as errors."""
    lowered = [p.lower() for p in phones]
    return [_FOLDED.get(p, p) for p in lowered if p not in LEFT_OUT]


PHONE_SETS: dict[str, tuple[Callable, Callable]] = {
    "timit": (fold_timit, fold_heard),
    "as-is": (list, list),
}
