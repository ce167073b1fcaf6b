"""Analysis of a system's errors: worst utterances, confusions, rates by length and by speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from w2v2_jax.evaluation.scoring import ErrorCounts, align, bootstrap_interval, total

LENGTH_EDGES = (0, 2, 4, 6, 8, 10, 15, 20, 30)  # seconds; the last bin is open
MOST = 30  # listed confusions of each kind
FEWEST = 5  # utterances, or speakers, that an interval needs


class Scored(NamedTuple):
    """One utterance with its units (words, phones) and their error counts."""

    id: str
    reference: list[str]
    hypothesis: list[str]
    counts: ErrorCounts
    seconds: float
    speaker: str


def confusions(rows: Sequence[Scored]) -> dict[str, list[list[Any]]]:
    """The most frequent substitutions [reference, hypothesis, times], and insertions and deletions
    [unit, times]."""
    pairs = Counter(
        pair
        for row in rows
        if row.counts.errors
        for pair in align(row.reference, row.hypothesis)
        if pair[0] != pair[1]
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], str(item[0])))
    return {
        "substitutions": [[r, h, n] for (r, h), n in ranked if None not in (r, h)][:MOST],
        "insertions": [[h, n] for (r, h), n in ranked if r is None][:MOST],
        "deletions": [[r, n] for (r, h), n in ranked if h is None][:MOST],
    }


def by_length(rows: Sequence[Scored]) -> list[dict[str, Any]]:
    """Rate and interval (None below FEWEST utterances) of each bin of length."""
    bins = []
    for low, high in zip(LENGTH_EDGES, (*LENGTH_EDGES[1:], float("inf")), strict=True):
        inside = [row.counts for row in rows if low <= row.seconds < high]
        if inside:
            above = None if high == float("inf") else high
            bins.append({"from_seconds": low, "to_seconds": above, **_summary(inside)})
    return bins


def by_speaker(rows: Sequence[Scored]) -> list[dict[str, Any]]:
    """Rate and interval of each speaker, the worst first; empty if no speaker is known."""
    groups: dict[str, list[ErrorCounts]] = {}
    for row in rows:
        if row.speaker:
            groups.setdefault(row.speaker, []).append(row.counts)
    speakers = [{"speaker": name, **_summary(counts)} for name, counts in groups.items()]
    return sorted(speakers, key=lambda entry: (-entry["rate"], entry["speaker"]))


def speaker_interval(rows: Sequence[Scored]) -> tuple[float, float] | None:
    """The rate's 95 % interval when whole speakers are drawn; None with fewer than FEWEST, or if
    the speaker of an utterance is not known."""
    speakers = [row.speaker for row in rows]
    if not all(speakers) or len(set(speakers)) < FEWEST:
        return None
    return bootstrap_interval([row.counts for row in rows], groups=speakers)


def worst(rows: Sequence[Scored], count: int) -> list[Scored]:
    """The utterances with the most errors; among equal ones, those with the higher rate first."""
    ranked = sorted(rows, key=lambda row: (-row.counts.errors, -row.counts.rate, row.id))
    return [row for row in ranked if row.counts.errors][:count]


def _summary(counts: list[ErrorCounts]) -> dict[str, Any]:
    sums = total(counts)
    return {
        "utterances": len(counts),
        "units": sums.reference_length,
        "rate": sums.rate,
        "interval": list(bootstrap_interval(counts)) if len(counts) >= FEWEST else None,
        **sums._asdict(),
    }
