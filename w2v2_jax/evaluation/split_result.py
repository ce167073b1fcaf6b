"""The result of evaluating one split: its object in the JSON, and the lines that are printed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import counted
from w2v2_jax.evaluation import error_analysis
from w2v2_jax.evaluation.error_analysis import Scored
from w2v2_jax.evaluation.phones import PHONE_SETS
from w2v2_jax.evaluation.rates import RATES, rates_shown, word_rate
from w2v2_jax.evaluation.scoring import (
    ErrorCounts,
    Scores,
    UtteranceErrors,
    bootstrap_interval,
    count_errors,
    total,
)


class Utterances(Protocol):
    """What is asked of a corpus of N utterances; num_samples is [N] int64, at 16 kHz."""

    @property
    def num_samples(self) -> np.ndarray: ...

    def id(self, i: int) -> str: ...

    def speaker(self, i: int) -> str: ...


def split_result(
    data: str,
    corpus: Utterances,
    scores: Scores,
    *,
    num_worst: int,
    phones: list[Scored] | None = None,
    without_reference: int = 0,
    outside_vocabulary: int = 0,
    without_frames: int = 0,
) -> dict[str, Any]:
    """What `w2v2 evaluate --json` writes of one split. The analysis is of words, or of `phones` if
    they are given (`phone_rows`).

    data: the split's name. corpus: the utterances with a reference, those that `scores` are of.
    num_worst: how many utterances are listed as the worst. without_reference: how many others of
    the split are in no rate and no list; outside_vocabulary: how many of these have a text.
    without_frames: how many utterances were too short for the network, and count as deleted.
    """
    words = [
        _scored(corpus, i, row.reference.split(), row.hypothesis.split(), row.words)
        for i, row in enumerate(scores.rows)
    ]
    rows = words if phones is None else phones
    rate = word_rate(phonemes=phones is not None)
    result = {
        "data": data,
        "wer": scores.wer,
        "cer": scores.cer,
        "wer_interval": list(scores.wer_interval),
        "cer_interval": list(scores.cer_interval),
        "num_utterances": len(rows),
        "without_reference": without_reference,
        "outside_vocabulary": outside_vocabulary,
        "without_frames": without_frames,
        "num_words": scores.words.reference_length,
        "word_errors": scores.words._asdict(),
        "character_errors": scores.characters._asdict(),
        "unit": RATES[rate],
        "rate_name": rate,
        "speaker_interval": error_analysis.speaker_interval(rows),
        "by_length": error_analysis.by_length(rows),
        "by_speaker": error_analysis.by_speaker(rows),
        "confusions": error_analysis.confusions(rows),
        "worst": [row.id for row in error_analysis.worst(rows, num_worst)],
    }
    if phones is not None:
        counts = [row.counts for row in phones]
        result |= {
            "per": total(counts).rate,
            "per_interval": list(bootstrap_interval(counts)),
            "phone_errors": total(counts)._asdict(),
        }
    result["utterances"] = [
        _utterance(row, scored, text, phones is not None)
        for row, scored, text in zip(rows, words, scores.rows, strict=True)
    ]
    return result


def _utterance(row: Scored, words: Scored, text: UtteranceErrors, phones: bool) -> dict[str, Any]:
    entry = {
        "id": row.id,
        "reference": text.reference,
        "hypothesis": text.hypothesis,
        "wer": words.counts.rate,
        "cer": text.characters.rate,
        "rate": row.counts.rate,
        "seconds": row.seconds,
        "speaker": row.speaker,
        "errors": row.counts._asdict(),
    }
    if phones:
        entry |= {"phones_reference": row.reference, "phones_hypothesis": row.hypothesis}
    return entry


def phone_rows(corpus: Utterances, scores: Scores, phone_set: str) -> list[Scored]:
    """The texts' words as phones of a set, folded, with their errors."""
    fold_reference, fold_hypothesis = PHONE_SETS[phone_set]
    rows = []
    for i, row in enumerate(scores.rows):
        reference = fold_reference(row.reference.split())
        hypothesis = fold_hypothesis(row.hypothesis.split())
        counts = count_errors(reference, hypothesis)
        rows.append(_scored(corpus, i, reference, hypothesis, counts))
    return rows


def _scored(
    corpus: Utterances, i: int, reference: list[str], hypothesis: list[str], counts: ErrorCounts
) -> Scored:
    seconds = int(corpus.num_samples[i]) / SAMPLE_RATE
    return Scored(corpus.id(i), reference, hypothesis, counts, seconds, corpus.speaker(i))


def describe(split: dict[str, Any]) -> str:
    """The lines that are printed for a `split_result`: its rates in %, and their sizes."""
    lines = []
    for name in rates_shown(split):
        low, high = (100 * bound for bound in split[f"{name}_interval"])
        rate = f"{name.upper()} {100 * split[name]:.2f} %"
        lines.append(f"{rate}  (95 % interval {low:.2f} to {high:.2f})")
    size = counted(split["num_utterances"], "utterance")
    size += f", {counted(split['num_words'], split['unit'])}"
    if split.get("without_frames"):
        size += f"; {split['without_frames']} too short for one frame, counted as deleted"
    if split["without_reference"]:
        size += f"; {split['without_reference']} without a reference left out"
    if split["outside_vocabulary"]:
        size += f" ({split['outside_vocabulary']} of them with nothing that the vocabulary has)"
    lines.append(size)
    return "\n".join(lines)
