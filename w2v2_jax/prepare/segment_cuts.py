"""The segments of one recording: their texts, where to cut them, and why one is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.decode.segments import NO_FIT, Fit, fit_text, fit_times
from w2v2_jax.decode.spelling import STAR, STAR_WORD, Speller, Spelling
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.speech_edges import pauses, refined
from w2v2_jax.prepare.timed_texts import EXACT, TimedText

OVERLAP = 0.1  # seconds by which two segments may overlap


class Limits(NamedTuple):
    """What a segment must meet: a score of at least `min_score` (None: any), and limits of its
    length in seconds."""

    min_score: float | None
    min_seconds: float
    max_seconds: float


class Heard(NamedTuple):
    """A network's output for a recording: logits [T, C], and what aligning texts to it needs.
    loudness: the recording's `speech_edges.levels`, with which words that are searched for begin
    and end where speech does."""

    logits: np.ndarray
    seconds_per_frame: float
    speller: Speller
    loudness: np.ndarray | None = None


class Segment(NamedTuple):
    """fit: times of the words in seconds, and scores if there are logits. offset, duration: what
    is cut. reason: why it is left out, None if it is not. channel: from 0, None for the mean of
    all."""

    text: str
    place: str
    speaker: str
    fit: Fit
    offset: float = math.nan
    duration: float = math.nan
    reason: str | None = None
    channel: int | None = None

    def row(self, audio: str) -> dict[str, Any]:
        """The segment as a line of a manifest in NeMo's format, with additional fields."""
        row: dict[str, Any] = {
            "audio_filepath": audio,
            "offset": _milli(self.offset),
            "duration": _milli(self.duration),
            "text": self.text,
            "start": _milli(self.fit.start),
            "end": _milli(self.fit.end),
            "score": _milli(self.fit.score),
            "worst": _milli(self.fit.worst),
            "place": self.place,
        }
        if self.channel is not None:
            row["channel_selector"] = self.channel
        if self.speaker:
            row["speaker"] = self.speaker
        if self.fit.words:
            row["words"] = [
                {"word": w.word, "start": _milli(w.start), "end": _milli(w.end)}
                for w in self.fit.words
            ]
        return row if self.reason is None else {"reason": self.reason} | row


def _milli(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def from_times(
    timed: Sequence[TimedText], heard: Heard | None, *, reach: float, where: str
) -> list[Segment]:
    """Segments of texts whose times are known. With logits they are scored, and their times are
    corrected by up to `reach` seconds."""
    fits = [Fit(t.start, t.end, math.nan, math.nan, []) for t in timed]
    if heard is not None:
        spelled = [heard.speller(t.text) for t in timed]
        times = [(t.start, t.end) for t in timed]
        aligned = fit_times(
            heard.logits,
            spelled,
            times,
            seconds_per_frame=heard.seconds_per_frame,
            where=where,
            reach=reach,
            pauses=_silence(heard),
        )
        if not reach:  # a person's times stay
            aligned = [
                new._replace(start=old.start, end=old.end)
                for old, new in zip(fits, aligned, strict=True)
            ]
        else:
            aligned = at_speech_edges(aligned, spelled, heard, where=where)
        fits = [old if new is NO_FIT else new for old, new in zip(fits, aligned, strict=True)]
    return [Segment(t.text, t.place, t.speaker, fit) for t, fit in zip(timed, fits, strict=True)]


def _silence(heard: Heard) -> np.ndarray | None:
    """[T] bool, the frames in pauses; None if the loudness is not known."""
    if heard.loudness is None:
        return None
    return pauses(heard.loudness, len(heard.logits), heard.seconds_per_frame)


def at_speech_edges(
    fits: Sequence[Fit], spelled: Sequence[Spelling], heard: Heard, *, where: str
) -> list[Fit]:
    """The fits with their first word's start and last word's end where speech begins and ends, and
    scores that hold the words against all that is said between."""
    placed = sorted(
        (n for n, fit in enumerate(fits) if fit is not NO_FIT), key=lambda n: fits[n].start
    )
    if heard.loudness is None or not placed:
        return list(fits)
    spans = refined(heard.loudness, [(fits[n].start, fits[n].end) for n in placed])
    scored = fit_times(
        heard.logits,
        [spelled[n] for n in placed],
        spans,
        seconds_per_frame=heard.seconds_per_frame,
        where=where,
    )
    moved = list(fits)
    for n, (start, end), new in zip(placed, spans, scored, strict=True):
        words = list(fits[n].words)
        if words:
            words[0] = words[0]._replace(start=start)
            words[-1] = words[-1]._replace(end=end)
        best = fits[n] if new is NO_FIT else new
        moved[n] = Fit(start, end, best.score, best.worst, words)
    return moved


def from_text(lines: Sequence[tuple[str, str]], heard: Heard, *, where: str) -> list[Segment]:
    """Segments of a running text, given as (line, place) in spoken order. A line that is only
    `<star>` stands for speech that the text leaves out, and is no segment."""
    spelled = [heard.speller(line) for line, _ in lines]
    if not any(line.words for line in spelled):
        raise InputError(f"{where}: no text that the model has symbols for")
    fits = fit_text(
        heard.logits,
        spelled,
        seconds_per_frame=heard.seconds_per_frame,
        where=where,
        pauses=_silence(heard),
    )
    fits = at_speech_edges(fits, spelled, heard, where=where)
    return [
        Segment(line, place, "", fit)
        for (line, place), fit, spelling in zip(lines, fits, spelled, strict=True)
        if spelling.words or not (spelling.ids == STAR).any()
    ]


def finish(
    segments: Sequence[Segment], limits: Limits, *, seconds: float, pad: float
) -> list[Segment]:
    """The segments with their cuts, and the reason why one is left out.

    seconds: the recording's length. pad: seconds kept before and after the words, at most half of
    the pause to the next segment.
    """
    order = sorted(
        (n for n, s in enumerate(segments) if math.isfinite(s.fit.start + s.fit.end)),
        key=lambda n: segments[n].fit.start,
    )
    cut, reached, last = list(segments), -math.inf, -1
    overlapping = set()
    for place, n in enumerate(order):
        start, end = segments[n].fit.start, segments[n].fit.end
        follows = segments[order[place + 1]].fit.start if place + 1 < len(order) else math.inf
        if reached - start > OVERLAP + EXACT:
            overlapping |= {n, last}
        room = max(0.0, start - reached) / 2, max(0.0, follows - end) / 2
        offset = max(0.0, start - min(pad, room[0]))
        stop = min(seconds, end + min(pad, room[1]))
        cut[n] = segments[n]._replace(offset=offset, duration=stop - offset)
        if end > reached:
            reached, last = end, n
    return [
        s._replace(reason=_reason(s, limits, seconds, n in overlapping)) for n, s in enumerate(cut)
    ]


def _reason(segment: Segment, limits: Limits, seconds: float, overlapping: bool) -> str | None:
    """Why a segment is left out: the first reason that applies."""
    fit = segment.fit
    length, scored = fit.end - fit.start, math.isfinite(fit.score)
    wanted = limits.min_score
    reasons = {
        "no words": not any(c.isalnum() for c in segment.text),
        "words not said as written": STAR_WORD in segment.text.split(),
        "ends before it begins": length <= 0,
        "outside the recording": fit.start >= seconds or fit.end > seconds + OVERLAP + EXACT,
        "overlaps another": overlapping,
        "too short": length < limits.min_seconds - EXACT,
        "too long": length > limits.max_seconds + EXACT,
        "not found in the recording": not math.isfinite(length),
        "nothing that the model could compare": wanted is not None and not scored,
        "score too low": wanted is not None and scored and fit.score < wanted,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
