"""What became of the utterances that `pseudo` was given: counts, lists and reports."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus
from w2v2_jax.errors import counted
from w2v2_jax.paths import json_text, write_json, write_text

REJECTED, REPORT = "rejected.jsonl", "report.json"
BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of confidence, in the report
SHARES = (0.5, 0.9)  # of the transcripts: which confidence keeps so many


class Limits(NamedTuple):
    """The limits of what is kept: the confidence of a transcript and the length of a clip."""

    min_confidence: float
    min_seconds: float
    max_seconds: float


class Guess(NamedTuple):
    """A transcript and the mean confidence of its words, 0 without any."""

    text: str
    confidence: float


class Outcome(NamedTuple):
    """By number of the utterance: the transcripts that are kept, and for all others the reason why
    not, with the transcript if the network made one."""

    kept: dict[int, Guess]
    rejected: dict[int, tuple[str, Guess | None]]


def _confidences(outcome: Outcome) -> np.ndarray:
    """Those of the transcripts with words, the surest first."""
    guesses = [*outcome.kept.values(), *(said for _, said in outcome.rejected.values() if said)]
    return np.sort(np.array([said.confidence for said in guesses if said.text]))[::-1]


def kept_at(outcome: Outcome) -> dict[str, int]:
    """For each of BOUNDS, how many of the transcripts with words have at least this confidence."""
    sure = _confidences(outcome)
    return {f"{bound:g}": int((sure >= bound).sum()) for bound in BOUNDS}


def bounds_line(outcome: Outcome) -> list[str]:
    """`kept_at` as a line, none if no transcript reaches the lowest bound."""
    counts = kept_at(outcome)
    told = "  ".join(f"{bound}: {count}" for bound, count in counts.items())
    return [f"of confidence at least  {told}"] if any(counts.values()) else []


def would_keep(outcome: Outcome) -> str:
    """Which --min-confidence would keep how many, in words; "" without transcripts of words."""
    sure = _confidences(outcome)
    if not len(sure):
        return ""
    bounds: dict[float, int] = {}
    for share in (0, *SHARES):
        at = max(0, math.ceil(share * len(sure)) - 1)
        bound = math.floor(sure[at] * 1000) / 1000
        bounds[bound] = int((sure >= bound).sum())
    told = ", ".join(f"{bound:g} would keep {count}" for bound, count in bounds.items())
    return f"of {counted(len(sure), 'transcript')} with words --min-confidence {told}"


def rejected_lines(corpus: Corpus, outcome: Outcome) -> Iterator[str]:
    """A JSON line for each utterance that is not kept."""
    for i, (reason, said) in sorted(outcome.rejected.items()):
        row: dict[str, Any] = {"id": corpus.id(i), "reason": reason}
        row["seconds"] = round(float(corpus.num_samples[i]) / SAMPLE_RATE, 3)
        if said is not None:
            row |= {"text": said.text, "confidence": round(said.confidence, 4)}
        yield json_text(row) + "\n"


def files_without_split(out: Path, split: str) -> tuple[Path, Path]:
    """Where report and list are if nothing is kept: beside the split that there would be."""
    return out / f"{split}.{REPORT}", out / f"{split}.{REJECTED}"


def write_without_split(
    corpus: Corpus, outcome: Outcome, out: Path, split: str, report: dict[str, Any]
) -> str:
    """Writes report and list of an outcome of which nothing is kept; returns which, in words."""
    out.mkdir(parents=True, exist_ok=True)
    of_report, of_rejected = files_without_split(out, split)
    write_json(of_report, report)
    write_text(of_rejected, "".join(rejected_lines(corpus, outcome)))
    return f"wrote {of_report} and {of_rejected}"
