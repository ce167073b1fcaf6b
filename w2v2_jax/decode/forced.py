"""Forced alignment: where each symbol of a known text lies in CTC log probabilities.

This is the Viterbi path through the text with optional blanks (Graves et al. 2006, section 4.1,
with max instead of sum). It works for recordings of hours: only a band of states around the best
one is computed, and back pointers are kept for one block of frames at a time and computed again on
the way back. If the path comes near the band's edge it is discarded and the band is doubled, up to
the whole text, which is exact. Numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from w2v2_jax.decode.alignment import Alignment

BAND = 4000  # states: twice the number of letters, about two minutes of speech
BLOCK = 4096  # frames
STEER = 32  # frames between two moves of the band
LEFT_OUT = 3  # a pointer: to the gap before, in the same frame
PACE = 1.5  # nats that a state of the text is first expected to cost, where the band is steered
TRIES = 2  # with a band, each steered by what the one before has found, until it is doubled
GAP_COST = 1.0  # nats per frame for sounds outside the text; blanks there have their own cost
PAUSE_COST = 0.4  # nats per frame of a pause within a line, so that pauses rather lie between lines
MINUS_INFINITY = -1e30
LEAST = -1e4  # of a log probability: a class ruled out by an infinite logit stays comparable


class Forced(NamedTuple):
    """symbols: one span per id of the text, with its mean probability as confidence. frame_scores:
    [T] log probability of each frame's state. band: number of states that had to be computed.
    shortfalls: [T] log probability of each frame's state minus that of its most likely class; NaN
    where both are the blank, because silence does not show how well a text fits. said: [U] bool,
    whether an id has a place; those of a line that was left out have empty spans."""

    symbols: Alignment
    frame_scores: np.ndarray
    band: int
    shortfalls: np.ndarray
    said: np.ndarray


class _Lattice(NamedTuple):
    """States 0..2U: even ones blanks or gaps, odd ones the text's ids."""

    emissions: np.ndarray  # [T, C + 1] log probabilities; the last column is the gap's
    classes: np.ndarray  # [S] column of each state
    skip: np.ndarray  # [S] 0 where the blank before may be left out, else minus infinity
    gaps: np.ndarray  # [G] states between lines, from each of which one goes to the next for
    costs: np.ndarray  # [G] the differences of these, in the same frame; G is 0 where none may


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[T, C] float32 log probabilities."""
    shifted = logits - logits.max(-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32)


def frames_needed(ids: np.ndarray) -> int:
    """The fewest frames for the ids: one each, and a blank between equal neighbours."""
    return len(ids) + int(np.count_nonzero(ids[1:] == ids[:-1]))


def forced_alignment(
    logits: np.ndarray,
    ids: np.ndarray,
    *,
    gaps: np.ndarray | None = None,
    leave_out: float | None = None,
    pauses: np.ndarray | None = None,
    floor: float = -LEAST,
    blank: int = 0,
    band: int = BAND,
    block: int = BLOCK,
) -> Forced:
    """The most likely path of a text through logits [T, C], unnormalised or log probabilities.

    ids: [U] classes of the text, without the blank; C is a star, which costs as much as a gap but
    takes at least one frame. gaps: [U + 1] bool, whether sounds that the text leaves out may be
    before id u or (the last) after the text; they cost GAP_COST nats per frame more than the
    frame's most likely class. floor: the most that a class may cost below a frame's most likely
    class, in nats; with a small floor a line that was not said does not displace its neighbours,
    because it costs as much in silence. leave_out: nats per id for which all ids between two gaps
    may be left out; None if they may not. pauses: [T] bool, frames of silence, which cost
    PAUSE_COST within a line and nothing between lines. Raises ValueError if T is too short.
    """
    ids = np.asarray(ids, np.int64)
    frames, classes = logits.shape
    if not len(ids) or frames < frames_needed(ids):
        raise ValueError(f"{len(ids)} symbols need {frames_needed(ids)} frames of {frames}")
    log_probs = np.maximum(log_softmax(np.asarray(logits)), LEAST)
    log_probs = np.maximum(log_probs, log_probs.max(1, keepdims=True) - floor)
    outside = np.maximum(log_probs[:, blank], log_probs.max(1) - GAP_COST)
    emissions = np.concatenate([log_probs, outside[:, None]], axis=1)
    if pauses is not None:  # no id is the blank, so this is the one between the ids of a line
        emissions[:, blank] -= PAUSE_COST * pauses
    columns = np.full(2 * len(ids) + 1, blank)
    columns[1::2] = ids
    if gaps is not None:
        columns[::2][np.asarray(gaps, bool)] = classes
    skip = np.full(len(columns), MINUS_INFINITY)
    skip[3::2] = np.where(ids[1:] != ids[:-1], 0.0, MINUS_INFINITY)
    between = np.zeros(0, np.int64)
    if gaps is not None and leave_out is not None:
        between = 2 * np.flatnonzero(gaps)
    costs = between / 2 * (leave_out or 0.0)
    lattice = _Lattice(emissions, columns, skip, between, costs)
    pace, tried = PACE, 0
    while True:
        band = min(band, len(columns))
        path, inside = _banded(lattice, band, block, pace)
        if inside:
            return _spans(lattice, log_probs, path, band, blank)
        tried += 1
        if path is not None:
            most = np.inf if leave_out is None else 0.45 * leave_out  # less than to leave it out
            pace = min(_pace(lattice, path), most)
        if path is None or tried % TRIES == 0:
            band *= 2


def _pace(lattice: _Lattice, path: np.ndarray) -> float:
    """What a state of the text costs on average, in nats, beyond leaving the text out."""
    scores = np.take_along_axis(lattice.emissions, lattice.classes[path][:, None], 1)
    left_out = lattice.emissions[:, lattice.classes[0]]
    states = 2 * max(1, len(np.unique(path[path % 2 == 1])))
    return max(0.0, float((left_out - scores[:, 0]).sum(dtype=np.float64)) / states)


def _banded(
    lattice: _Lattice, band: int, block: int, pace: float
) -> tuple[np.ndarray | None, bool]:
    """The path [T] of states, None if the band does not reach the end, and whether it stays clear
    of the band's edges (always when the band is whole)."""
    frames, states = len(lattice.emissions), len(lattice.classes)
    lows = np.zeros(frames, np.int64)
    alpha = np.full(states + 2, MINUS_INFINITY)  # alpha[s + 2] is the score of state s
    starts = range(0, frames, block)
    checkpoints, pointers = [], np.zeros((0, band), np.uint8)
    for start in starts:
        checkpoints.append((lows[max(start - 1, 0)], _window(alpha, lows, start, band)))
        last = start == starts[-1]
        pointers = np.zeros((min(block, frames - start), band), np.uint8) if last else None
        stop = min(start + block, frames)
        _walk(lattice, alpha, lows, start, stop, band, pointers, pace=pace)
    ends = alpha[2 + states - 2 : 2 + states]
    if ends.max() <= MINUS_INFINITY / 2:
        return None, False
    state = states - 2 + int(ends.argmax())
    path = np.empty(frames, np.int64)
    for index, start in reversed(list(enumerate(starts))):
        stop = min(start + block, frames)
        if start != starts[-1]:
            alpha = _restored(states, *checkpoints[index])
            pointers = np.zeros((stop - start, band), np.uint8)
            _walk(lattice, alpha, lows, start, stop, band, pointers, pace=None)
        for frame in range(stop - 1, start - 1, -1):
            while (step := int(pointers[frame - start, state - lows[frame]])) == LEFT_OUT:
                state = int(lattice.gaps[np.searchsorted(lattice.gaps, state) - 1])
            path[frame] = state
            state -= step
    return path, _inside(path, lows, band, states)


def _window(alpha: np.ndarray, lows: np.ndarray, start: int, band: int) -> np.ndarray:
    low = lows[max(start - 1, 0)]
    return alpha[low : low + band + 2].copy()  # with the two states before the window


def _restored(states: int, low: int, window: np.ndarray) -> np.ndarray:
    alpha = np.full(states + 2, MINUS_INFINITY)
    alpha[low : low + len(window)] = window
    return alpha


def _walk(lattice, alpha, lows, start, stop, band, pointers, *, pace: float | None) -> None:
    """Moves alpha in place over frames start to stop; fills pointers [stop - start, band].

    With a pace the position of the band is chosen (and stored in lows), else the stored one is
    used.
    """
    states, frames = len(lattice.classes), len(lattice.emissions)
    low = int(lows[max(start - 1, 0)])
    for frame in range(start, stop):
        if pace is not None:
            if frame % STEER == 0 and band < states:
                low = _steered(alpha, low, band, states, 2 * (frames - frame), pace)
            lows[frame] = low
        new_low = int(lows[frame])
        if frame:  # states that the band has left are out of reach
            alpha[2 + int(lows[frame - 1]) : 2 + new_low] = MINUS_INFINITY
        high = min(new_low + band, states)
        stay, step = alpha[new_low + 2 : high + 2], alpha[new_low + 1 : high + 1]
        jump = alpha[new_low:high] + lattice.skip[new_low:high]
        best = np.maximum(stay, step)
        if pointers is not None:
            row = pointers[frame - start, : high - new_low]
            np.copyto(row, step > stay, casting="unsafe")
            row[jump > best] = 2
        np.maximum(best, jump, out=best)
        if frame == 0:  # the text begins with its first blank or its first id
            best[:2] = 0.0
        best += lattice.emissions[frame].take(lattice.classes[new_low:high])
        if len(lattice.gaps):
            _leave_out(lattice, best, new_low, None if pointers is None else row)
        alpha[new_low + 2 : high + 2] = best


def _leave_out(lattice: _Lattice, best: np.ndarray, low: int, row: np.ndarray | None) -> None:
    """Raises the scores [n] of states `low` and on between lines to those of the lines before,
    less what it costs to leave out the lines that follow; marks in the pointers [n] where."""
    first, last = np.searchsorted(lattice.gaps, (low, low + len(best)))
    places, costs = lattice.gaps[first:last] - low, lattice.costs[first:last]
    own = best[places] + costs
    most = np.maximum.accumulate(own)
    better = most > own
    if better.any():
        best[places] = most - costs
        if row is not None:
            row[places[better]] = LEFT_OUT


def _steered(alpha, low: int, band: int, states: int, reach: int, pace: float) -> int:
    """The band's next place: the best state in its middle, the end still within reach.

    pace: what each state is expected to cost. All paths go through all states in the end, and
    without it those look best that have left the text for later.
    """
    inside = alpha[low + 2 : low + 2 + band]
    best = low + int((inside + pace * np.arange(len(inside))).argmax())
    wanted = max(best - band // 2, states - reach - band // 2, low)
    return min(wanted, states - band)


def _inside(path: np.ndarray, lows: np.ndarray, band: int, states: int) -> bool:
    """Whether a path stays an eighth of the band away from an edge with states beyond it."""
    margin = band // 8
    near_low = (path - lows < margin) & (lows > 0)
    near_high = (lows + band - 1 - path < margin) & (lows + band < states)
    return not (near_low | near_high).any()


def _spans(lattice: _Lattice, log_probs, path: np.ndarray, band: int, blank: int) -> Forced:
    emissions = np.append(log_probs, lattice.emissions[:, -1:], axis=1)
    scores = emissions[np.arange(len(path)), lattice.classes[path]]
    ids = lattice.classes[1::2]
    start = np.searchsorted(path, 2 * np.arange(len(ids)) + 1, "left")
    end = np.searchsorted(path, 2 * np.arange(len(ids)) + 1, "right")
    sums = np.concatenate([[0.0], np.cumsum(np.exp(scores.astype(np.float64)))])
    confidence = (sums[end] - sums[start]) / np.maximum(end - start, 1)
    silent = (lattice.classes[path] == blank) & (log_probs.argmax(1) == blank)
    shortfalls = np.where(silent, np.nan, scores - log_probs.max(1))
    return Forced(
        Alignment(ids, start, end, confidence), scores, band, shortfalls, said=end > start
    )
