"""The report of `prepare`: rejects, lengths, characters, leaks between splits."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.buckets import length_histogram
from w2v2_jax.data.corpus import QUALITY_ARRAYS, Corpus
from w2v2_jax.errors import counted, printable
from w2v2_jax.prepare.account import EXAMPLES, Tally
from w2v2_jax.vocabulary import count_characters

SHOWN = 16  # kinds of what the text rules did
CLASS_WORDS, CLASS_CLIPS = 2, 5  # mean words of a class's name, at most; mean clips of it, at least


class Leak(NamedTuple):
    """Utterances of a split whose audio or transcript occurs in another split too; classes: whether
    the transcripts are short and come as often as the names of classes do."""

    kind: str  # "audio" or "transcript"
    other: str
    count: int  # type: ignore[assignment]
    examples: list[str]
    classes: bool = False


def transcript_key(text: str) -> int:
    """64-bit hash of a transcript without case, punctuation and spacing; 0 for an empty one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(c if c.isalnum() else " " for c in folded).split()
    if not words:
        return 0
    return int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:8], "big")


def find_leaks(corpus: Corpus, others: Iterable[Corpus]) -> list[Leak]:
    """Content that `corpus` shares with each of the other splits, by hash of the audio and by
    transcript. Nothing is removed: whether a shared transcript matters depends on the use."""
    texts = _transcript_keys(corpus)
    leaks = []
    for other in others:
        pairs = (
            ("audio", corpus.audio_sha256, other.audio_sha256),
            ("transcript", texts, _transcript_keys(other)),
        )
        for kind, mine, theirs in pairs:
            shared = np.flatnonzero(np.isin(mine, theirs) & (mine != 0))
            if len(shared):
                shown = [corpus.id(int(i)) for i in shared[:EXAMPLES]]
                clips = len(shared) + int(np.isin(theirs, mine[shared]).sum())
                classes = kind == "transcript" and _are_classes(corpus, mine, shared, clips)
                leaks.append(Leak(kind, other.split, len(shared), shown, classes))
    return leaks


def _are_classes(corpus: Corpus, keys: np.ndarray, shared: np.ndarray, clips: int) -> bool:
    """Whether transcripts that two splits share look like names of classes. Repeated sentences,
    from which a model could learn the answer, are longer, and most are repeated less often."""
    different, first = np.unique(keys[shared], return_index=True)
    words = sum(len(corpus.text(int(shared[i])).split()) for i in first)
    return words <= CLASS_WORDS * len(different) and clips >= CLASS_CLIPS * len(different)


def _transcript_keys(corpus: Corpus) -> np.ndarray:
    return np.array([transcript_key(t) for t in corpus.texts()], np.uint64)


def describe(
    corpus: Corpus,
    *,
    rejects: Tally,
    remarks: Tally,
    changes: Tally,
    leaks: list[Leak],
    intake: dict[str, Any],
) -> dict[str, Any]:
    """The content of report.json; changes: what the text rules did; intake: what happened to the
    whole source."""
    texts = (t for t in corpus.texts() if t)
    return {
        "split": corpus.split,
        "source": corpus.info["source"],
        "utterances": len(corpus),
        "hours": corpus.info["hours"],
        "with_transcript": sum(1 for t in corpus.texts() if t),
        "lengths": length_histogram(corpus.num_samples),
        "characters": count_characters(texts, normalise=str),
        "text": {"rules": corpus.text_rules, "changes": changes.to_json()},
        "quality": quality(corpus),
        "rejects": rejects.to_json(),
        "remarks": remarks.to_json(),
        "leaks": [leak._asdict() for leak in leaks],
        "intake": intake,
    }


def quality(corpus: Corpus) -> dict[str, list[float]]:
    """The 5th, 50th and 95th of a hundred utterances by each estimate that there is."""
    spread = {}
    for name in QUALITY_ARRAYS:
        values = corpus.quality(name)
        values = values[np.isfinite(values)]
        if len(values):
            spread[name] = [round(float(v), 4) for v in np.percentile(values, (5, 50, 95))]
    return spread


def render(report: dict[str, Any], rejects: Tally, remarks: Tally, changes: Tally) -> str:
    """The report as lines to print."""
    lines = [
        f"split {report['split']}: {counted(report['utterances'], 'utterance')}, "
        f"{report['hours']:.3f} h, "
        f"{report['with_transcript']} with a transcript",
        f"  lengths: {report['lengths']}",
    ]
    if report["characters"]:
        shown = " ".join(f"{c}:{n}" for c, n in list(report["characters"].items())[:60])
        lines.append(f"  characters ({len(report['characters'])}): {printable(shown)}")
    if report["quality"]:
        shown = ", ".join(
            f"{name} {' / '.join(f'{v:.4g}' for v in values)}"
            for name, values in report["quality"].items()
        )
        lines.append(f"  quality (5 %, median, 95 %): {shown}")
    if changes.counts:
        lines += [f"  texts by --text {report['text']['rules']['name']}:", changes.table(SHOWN)]
    if rejects.counts:
        lines += [f"  rejected: {rejects.counts.total()}", rejects.table()]
    if remarks.counts:
        lines += ["  remarks:", remarks.table()]
    for leak in report["leaks"]:
        alone = leak["count"] == 1
        lines.append(
            f"  {'' if leak['classes'] else 'WARNING: '}{counted(leak['count'], 'utterance')} "
            f"{'shares its' if alone else 'share their'} {leak['kind']} with split {leak['other']}"
            + (", as recordings of a class do" if leak["classes"] else "")
            + f", e.g. {printable(', '.join(leak['examples'][:3]))}"
        )
    return "\n".join(lines)


def unspoken(reports: list[dict[str, Any]]) -> str:
    """One line about characters of the transcripts that are not spoken; empty without any."""
    characters = [c for report in reports for c in report["characters"]]
    kinds = []
    if any(c.isupper() for c in characters) and any(c.islower() for c in characters):
        kinds.append("capitals and small letters")
    marks = sorted({c for c in characters if unicodedata.category(c)[0] in "PS"} - {"'"})
    if marks:
        kinds.append(f"punctuation ({' '.join(marks[:8])})")
    if any(c.isdecimal() for c in characters):
        kinds.append("digits")
    if not kinds:
        return ""
    return (
        f"transcripts have {', '.join(kinds)}, and a model of characters learns to write them: "
        "--text english or unicode:LANGUAGE turns them into spoken words, and none keeps them, "
        "as needed for phonemes"
    )
