"""Where speech begins and ends around aligned words, by the level of the sound.

CTC puts a letter on one or two frames somewhere within its sound, so aligned words begin late and
end early, by 0.1 s and more. Around a pause the level tells the edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

HOP = 160  # samples: one level per 10 ms
WINDOW = 2  # hops of one level
SECONDS = HOP / SAMPLE_RATE
REACH = 1.0  # seconds outside the words in which their edge is looked for
INSIDE = 0.4  # seconds inside
PAUSE = 0.12  # seconds; a shorter silence may be that of a plosive
AROUND = 4  # seconds on both sides in which levels are compared
LOUD = 90  # percentile of the levels within the words
ABOVE_QUIET, BELOW_LOUD = 8.0, 35.0  # decibels: speech is above the pause, and not far below speech
CLEAR = 15.0  # decibels between the two; with less there is no pause to see


def levels(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """[N] decibels of WINDOW hops from every hop on, for blocks [n] of 16 kHz samples."""
    left, sums = np.zeros(0, np.float32), []
    for block in blocks:
        joined = np.concatenate([left, block]) if len(left) else block
        whole = len(joined) - len(joined) % HOP
        parts = joined[:whole].reshape(-1, HOP).astype(np.float64)
        sums.append(np.einsum("nh,nh->n", parts, parts))
        left = joined[whole:].copy()
    power = np.concatenate([*sums, np.zeros(0)]) / HOP
    windows = np.convolve(np.append(power, np.zeros(WINDOW - 1)), np.ones(WINDOW) / WINDOW, "valid")
    return (10 * np.log10(windows[: len(power)] + 1e-10)).astype(np.float32)


def pauses(loudness: np.ndarray, frames: int, seconds_per_frame: float) -> np.ndarray:
    """[frames] bool: whether a network's frame is in a pause of PAUSE or more, by the level of what
    is loud and quiet within AROUND. loudness: of the recording, as `levels`."""
    hops = round(1 / SECONDS)
    middles = np.arange(0, len(loudness) + hops, hops)
    limits = []
    for middle in middles:
        around = loudness[max(0, middle - AROUND * hops) : middle + AROUND * hops]
        quiet, loud = np.percentile(around, (100 - LOUD, LOUD)) if len(around) else (0.0, 0.0)
        limits.append(_limit(float(quiet), float(loud)) if loud - quiet >= CLEAR else -1000.0)
    silent = loudness <= np.interp(np.arange(len(loudness)), middles, limits)
    edges = np.flatnonzero(np.diff(silent, prepend=False, append=False)).reshape(-1, 2)
    for first, last in edges[edges[:, 1] - edges[:, 0] < PAUSE / SECONDS]:
        silent[first:last] = False
    places = np.round((np.arange(frames) + 0.5) * seconds_per_frame / SECONDS).astype(int)
    return silent[np.minimum(places, len(silent) - 1)] if len(silent) else np.zeros(frames, bool)


def _limit(quiet: float, loud: float) -> float:
    """The level above which there is speech, in decibels, from those of a pause and of speech."""
    return min(max(quiet + ABOVE_QUIET, loud - BELOW_LOUD), loud - CLEAR / 2)


def refined(
    loudness: np.ndarray, spans: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Spans of words in seconds, in order, with both edges moved to where speech begins and ends.

    loudness: of the recording, as `levels`. An edge without a clear pause nearby stays as it is,
    and none goes beyond the neighbouring span or the middle of its own.
    """
    found = []
    for n, (start, end) in enumerate(spans):
        before = spans[n - 1][1] if n else 0.0
        after = spans[n + 1][0] if n + 1 < len(spans) else np.inf
        first, last = _frame(start), max(_frame(end), _frame(start) + 1)
        loud = loudness[first:last]
        if not len(loud):
            found.append((start, end))
            continue
        top, middle = float(np.percentile(loud, LOUD)), (start + end) / 2
        inside = min(start + INSIDE, middle), max(end - INSIDE, middle)
        out = (
            min(start, max(before, start - REACH, 0.0)),
            max(end, min(after, end + REACH, len(loudness) * SECONDS)),
        )
        begin = _onset(loudness[_frame(out[0]) : _frame(inside[0])], first - _frame(out[0]), top)
        part = loudness[_frame(inside[1]) : _frame(out[1])][::-1]
        stop = _onset(part, _frame(out[1]) - last, top)
        found.append((
            start if begin is None else out[0] + begin * SECONDS,
            end if stop is None else out[1] - stop * SECONDS,
        ))  # fmt: skip
    return found


def _frame(seconds: float) -> int:
    return max(0, round(seconds / SECONDS))


def _onset(part: np.ndarray, at: int, loud: float) -> int | None:
    """The frame of part [n] at which speech begins after the pause nearest to frame `at`; None if
    there is no clear pause."""
    width = round(PAUSE / SECONDS)
    if len(part) < width:
        return None
    quiet = float(np.convolve(part, np.ones(width) / width, "valid").min())
    if loud - quiet < CLEAR:
        return None
    spoken = part > _limit(quiet, loud)
    runs = np.flatnonzero(np.convolve(spoken, np.ones(width), "valid") == 0) + width
    runs = runs[runs < len(part)]  # frames right after so much quiet
    begins = runs[spoken[runs]]
    if not len(begins):
        return None
    earlier = begins[begins <= at]
    return int(earlier[-1]) if len(earlier) else int(begins[0])
