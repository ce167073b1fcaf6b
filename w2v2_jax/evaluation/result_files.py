"""Results of `evaluate`: the files that it writes, read and checked, and what two of them share.

`split_result` makes what these functions read.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.errors.values import is_number
from w2v2_jax.evaluation.rates import RATES
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.paths import MOST_LARGE_JSON, read_json

EACH = {"id", "reference", "hypothesis", "wer"}  # what an utterance has
PHONES = ("phones_reference", "phones_hypothesis")  # both or neither
NAMED = 3  # ids that a message names


def _is_bound(value: Any) -> bool:
    return value is None or (is_number(value) and not math.isnan(value))


def _is_rate(value: Any) -> bool:
    return _is_bound(value) and (value is None or value >= 0)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_bound, value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


# What the values in a result of `evaluate` and in each of its utterances may be.
RATE = (_is_rate, "a number, at least 0, or null")
INTERVAL = (_is_interval, "a list of two numbers")
TEXT = (_is_text, "a text")
TEXTS = (_are_texts, "a list of texts")
COUNT = (_is_count, "a whole number")
OPTIONAL_TEXT = (lambda value: value is None or _is_text(value), "a text or null")
OPTIONAL_COUNT = (lambda value: value is None or _is_count(value), "a whole number or null")
KINDS = {
    **dict.fromkeys(RATES, RATE),
    **dict.fromkeys((f"{rate}_interval" for rate in RATES), INTERVAL),
    "step": OPTIONAL_COUNT,
    **dict.fromkeys(("num_utterances", "without_reference", "without_frames"), COUNT),
    "data": TEXT,
    "checkpoint": TEXT,
}
UTTERANCE_KINDS = {
    **dict.fromkeys(("id", "hypothesis"), TEXT),
    **dict.fromkeys(("reference", "speaker"), OPTIONAL_TEXT),
    **dict.fromkeys(("wer", "cer", "rate"), RATE),
    **dict.fromkeys(PHONES, TEXTS),
}


def read_evaluation(path: Path) -> dict[str, Any]:
    """Reads what `w2v2_jax.evaluate --json` wrote; a rate that is null there is infinite."""
    try:
        evaluation = read_json(path, most=MOST_LARGE_JSON)
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise InputError(f"{error}; write it with w2v2_jax.evaluate") from error
        raise InputError(f"{path} is not JSON that w2v2_jax.evaluate wrote: {error}") from error
    rates = {*RATES, *(f"{rate}_interval" for rate in RATES)}
    needed = {"wer", "cer", "wer_interval", "cer_interval", "step", "utterances"}
    if needed - evaluation.keys():
        raise InputError(
            f"{path} is not a result of evaluate: it lacks one of {', '.join(sorted(needed))}"
        )
    check_values(evaluation, where=str(path))
    for values in (evaluation, *evaluation["utterances"]):
        for name in rates & values.keys():
            values[name] = _with_infinities(values[name])
    rows = with_reference(evaluation)
    if not rows:
        raise InputError(f"{path}: no utterance has a reference")
    if len(rows) == len(evaluation["utterances"]):
        return evaluation
    scores = score([u["reference"] for u in rows], [u["hypothesis"] for u in rows])
    return evaluation | {
        "utterances": rows,
        "wer": scores.wer,
        "cer": scores.cer,
        "wer_interval": list(scores.wer_interval),
        "cer_interval": list(scores.cer_interval),
        "without_reference": without_reference(evaluation),
    }


def check_values(evaluation: Any, *, where: str) -> None:
    """Raises InputError that names the first value of a result, or of one split of it, that
    `evaluate` does not write, as in a file that was edited."""
    if not isinstance(evaluation, dict):
        raise InputError(f"{where}: not a result of evaluate: {_shown(evaluation)}")
    check_rates(evaluation, where=where)
    utterances = evaluation.get("utterances")
    if not isinstance(utterances, list):
        raise InputError(
            f"{where}: not a result of evaluate: utterances={_shown(utterances)} must be a list"
        )
    for number, utterance in enumerate(utterances):
        place = f"{where}: utterances[{number}]"
        if not isinstance(utterance, dict):
            raise InputError(f"{place}={_shown(utterance)} must be an object")
        _check_kinds(utterance, UTTERANCE_KINDS, where=f"{place}.")
        if lacking := sorted(EACH - utterance.keys()):
            raise InputError(f"{place} lacks {lacking[0]}; each has {', '.join(sorted(EACH))}")
        there = [name for name in PHONES if name in utterance]
        if len(there) == 1:
            absent = next(name for name in PHONES if name not in there)
            raise InputError(f"{place} lacks {absent}, but has {there[0]}")
    names = Counter(utterance["id"] for utterance in with_reference(evaluation))
    for name, count in names.most_common(1):
        if count > 1:
            raise InputError(f"{where}: {count} utterances have one id, {name!r}")


def check_rates(evaluation: dict[str, Any], *, where: str) -> None:
    """`check_values` of a result without its utterances."""
    _check_kinds(evaluation, KINDS, where=f"{where}: ")


def _check_kinds(values: dict[str, Any], kinds: dict[str, Any], *, where: str) -> None:
    for name, (fits, wanted) in kinds.items():
        if name in values and not fits(values[name]):
            raise InputError(f"{where}{name}={_shown(values[name])} must be {wanted}")


def _shown(value: Any) -> str:
    return repr(value)[:40]


def with_reference(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """The utterances of an evaluation that have a reference: no others are scored."""
    return [u for u in evaluation["utterances"] if (u["reference"] or "").strip()]


def without_reference(evaluation: dict[str, Any]) -> int:
    """How many utterances the evaluation left out, or should have, for lack of a reference."""
    listed = len(evaluation["utterances"]) - len(with_reference(evaluation))
    return evaluation.get("without_reference", 0) + listed


def difference(first: dict[str, str], second: dict[str, str]) -> str:
    """How two sets of references, by id, differ: "2 only in the first (a, b), 1 with another
    reference (c)"; empty if they do not differ."""
    kinds = {
        "only in the first": first.keys() - second.keys(),
        "only in the second": second.keys() - first.keys(),
        "with another reference": {
            n for n in first.keys() & second.keys() if first[n] != second[n]
        },
    }
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(sorted(names)[:NAMED])}{', ...' * (len(names) > NAMED)})"
        for kind, names in kinds.items()
        if names
    )


def _with_infinities(rate: float | list | None) -> float | list:
    """A rate, or the bounds of one, as it was before JSON, which has no infinity."""
    if isinstance(rate, list):
        return [_with_infinities(bound) for bound in rate]
    return math.inf if rate is None else rate
