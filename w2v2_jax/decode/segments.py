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


class Fit(NamedTuple):
    """A line aligned with logits. start, end: seconds. score: a mean over the line's frames,
    without stars and without frames in which both are blank: the log probability of the aligned
    symbol minus that of the frame's most likely one, but at least -FLOOR. 0 is best; a line that
    was not said has less than -2. worst: the lowest such mean of WORST_FRAMES neighbours. Both are
    NaN if nothing of the line could be compared."""

    start: float
    end: float
    score: float
    worst: float
    words: list[Word]


NO_FIT = Fit(math.nan, math.nan, math.nan, math.nan, [])


def fit_text(
    logits: np.ndarray, spelled: Sequence[Spelling], *, seconds_per_frame: float, where: str
) -> list[Fit]:
    """The fit of each line of a running text, in the order they are said, for logits [T, C] of the
    whole recording, which may contain more than the text. Lines without ids have NO_FIT.

    Raises InputError, which names `where`, if the text needs more frames than there are.
    """
    check_finite(logits, where=where)
    lines = [line for line in spelled if len(line.ids)]
    if not lines:
        return [NO_FIT] * len(spelled)
    aligned = align_spelled(
        logits, lines, seconds_per_frame=seconds_per_frame, where=where, floor=FLOOR
    )
    fits = iter(_fits(aligned))
    return [next(fits) if len(line.ids) else NO_FIT for line in spelled]


def fit_times(
    logits: np.ndarray,
    spelled: Sequence[Spelling],
    times: Sequence[tuple[float, float]],
    *,
    seconds_per_frame: float,
    where: str,
    reach: float = 0.0,
) -> list[Fit]:
    """The fit of each line within the frames of its own times, in seconds.

    reach: seconds around these times in which the line may also be; without it, the line must
    explain everything that is said between its times. NO_FIT for a line without ids or with too few
    frames.
    """
    check_finite(logits, where=where)
    fits = []
    for line, (start, end) in zip(spelled, times, strict=True):
        first = max(0, round((start - reach) / seconds_per_frame))
        part = logits[first : max(first, round((end + reach) / seconds_per_frame))]
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
            floor=FLOOR,
        )
        if not reach:  # what is said before and after the words counts against them
            aligned = aligned._replace(first=np.zeros(1, int), last=np.array([len(part)]))
        fits.append(_moved(_fits(aligned)[0], first * seconds_per_frame))
    return fits


def _fits(aligned: Aligned) -> list[Fit]:
    fits = []
    for line, first, last in zip(aligned.lines, aligned.first, aligned.last, strict=True):
        said = aligned.shortfalls[first:last]
        said = said[~np.isnan(said)]
        score = worst = math.nan
        if len(said):
            width = min(WORST_FRAMES, len(said))
            score = float(said.mean())
            worst = float(np.convolve(said, np.ones(width) / width, mode="valid").min())
        fits.append(Fit(line.start, line.end, score, worst, line.words))
    return fits


def _moved(fit: Fit, seconds: float) -> Fit:
    words = [w._replace(start=w.start + seconds, end=w.end + seconds) for w in fit.words]
    return fit._replace(start=fit.start + seconds, end=fit.end + seconds, words=words)
