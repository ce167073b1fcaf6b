"""Segments of a long recording: the times of texts, and how well text and audio fit.

From logits and a running text, or from logits and texts whose times are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.decode.alignment import Word
from w2v2_jax.decode.forced import frames_needed
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.decode.lines import Aligned, align_spelled
from w2v2_jax.decode.spelling import STAR, Spelling

WORST_FRAMES = 10  # frames in which something is said: about a word
FLOOR = 6.0  # nats; a symbol with e^-6 of the best symbol's probability was not said
LEAVE_OUT = 4.0  # nats per symbol of a line that was not said; less than it costs at the floor


class Fit(NamedTuple):
    """A line aligned with logits. start, end: seconds. score: the log probability of the aligned
    symbols minus that of each frame's most likely ones, where a frame has at least -FLOOR, per
    symbol of the line; without stars. 0 is best; a line that was not said has less than -2. worst:
    the lowest mean of it per frame in WORST_FRAMES neighbours, without frames in which both are
    blank. Both are NaN if nothing of the line could be compared."""

    start: float
    end: float
    score: float
    worst: float
    words: list[Word]


NO_FIT = Fit(math.nan, math.nan, math.nan, math.nan, [])


def fit_text(
    logits: np.ndarray,
    spelled: Sequence[Spelling],
    *,
    seconds_per_frame: float,
    where: str,
    pauses: np.ndarray | None = None,
) -> list[Fit]:
    """The fit of each line of a running text, in the order they are said, for logits [T, C] of the
    whole recording, which may contain more than the text. Lines without ids, and lines that were
    left out because they were hardly said, have NO_FIT. pauses: [T] bool, frames of silence, which
    rather lie between lines.

    Raises InputError, which names `where`, if the text needs more frames than there are.
    """
    check_finite(logits, where=where)
    lines = [line for line in spelled if len(line.ids)]
    if not lines:
        return [NO_FIT] * len(spelled)
    aligned = align_spelled(
        logits,
        lines,
        seconds_per_frame=seconds_per_frame,
        where=where,
        leave_out=LEAVE_OUT,
        pauses=pauses,
        floor=FLOOR,
    )
    fits = iter(_fits(aligned, lines))
    return [next(fits) if len(line.ids) else NO_FIT for line in spelled]


def fit_times(
    logits: np.ndarray,
    spelled: Sequence[Spelling],
    times: Sequence[tuple[float, float]],
    *,
    seconds_per_frame: float,
    where: str,
    reach: float = 0.0,
    pauses: np.ndarray | None = None,
) -> list[Fit]:
    """The fit of each line within the frames of its own times, in seconds.

    reach: seconds around these times in which the line may also be; without it, the line must
    explain everything that is said between its times. pauses: as in `fit_text`. NO_FIT for a line
    without ids or with too few frames.
    """
    check_finite(logits, where=where)
    fits = []
    for line, (start, end) in zip(spelled, times, strict=True):
        first = max(0, round((start - reach) / seconds_per_frame))
        last = max(first, round((end + reach) / seconds_per_frame))
        part = logits[first:last]
        ids = np.where(line.ids == STAR, logits.shape[1], line.ids)
        if not len(ids) or len(part) < frames_needed(ids):
            fits.append(NO_FIT)
            continue
        aligned = align_spelled(
            part,
            [line],
            seconds_per_frame=seconds_per_frame,
            where=where,
            gaps=reach > 0,
            pauses=None if pauses is None else pauses[first:last],
            floor=FLOOR,
        )
        if not reach:  # what is said before and after the words counts against them
            aligned = aligned._replace(first=np.zeros(1, int), last=np.array([len(part)]))
        fits.append(_moved(_fits(aligned, [line])[0], first * seconds_per_frame))
    return fits


def _fits(aligned: Aligned, spelled: Sequence[Spelling]) -> list[Fit]:
    fits = []
    for line, spelling, first, last, has_place in zip(
        aligned.lines, spelled, aligned.first, aligned.last, aligned.said, strict=True
    ):
        if not has_place:
            fits.append(NO_FIT)
            continue
        said = aligned.shortfalls[first:last]
        said = said[~np.isnan(said)]
        score = worst = math.nan
        symbols = int(np.count_nonzero(spelling.ids != STAR))
        if len(said) and symbols:
            width = min(WORST_FRAMES, len(said))
            score = float(said.sum()) / symbols
            worst = float(np.convolve(said, np.ones(width) / width, mode="valid").min())
        fits.append(Fit(line.start, line.end, score, worst, line.words))
    return fits


def _moved(fit: Fit, seconds: float) -> Fit:
    words = [w._replace(start=w.start + seconds, end=w.end + seconds) for w in fit.words]
    return fit._replace(start=fit.start + seconds, end=fit.end + seconds, words=words)
