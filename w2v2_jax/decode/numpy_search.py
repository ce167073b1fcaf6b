"""Beam search in numpy: flashlight's two searches for CTC, for use without flashlight.

It has the same hypotheses with the same scores, frame by frame. What is tried, what is left out and
what counts as the same hypothesis is as in flashlight-text's decoder sources (LexiconDecoder.cpp,
LexiconFreeDecoder.cpp, Utils.h); `tests/decode/test_numpy_search.py` compares the two. They may
only differ at the edge of the beam, among hypotheses of equal score.

A hypothesis is a history of words (or of symbols), a node of the tree of spellings, the frame's
symbol and whether it is blank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from w2v2_jax.decode.histories import Histories, ScoreRows, WordModel
from w2v2_jax.decode.hypothesis import Result
from w2v2_jax.decode.word_tree import ROOT, WordTree

CUT = 4  # in how many ways a hypothesis may be reached, before they are merged
AT_ONCE = 32  # results traced back together


class _Beam(NamedTuple):
    """The hypotheses after a frame, K of them."""

    score: np.ndarray  # [K] float64
    history: np.ndarray  # [K] int64
    node: np.ndarray  # [K] int64, of the tree; 0 without one
    token: np.ndarray  # [K] int64
    blank: np.ndarray  # [K] bool
    lm_score: np.ndarray  # [K] float64, unweighted
    parent: np.ndarray  # [K] int64, the hypothesis a frame before
    word: np.ndarray  # [K] int64, complete with this frame, else -1


def _start(token: int) -> _Beam:
    zero = np.zeros(1, np.int64)
    return _Beam(np.zeros(1), zero, zero, zero + token, zero > 0, np.zeros(1), zero, zero - 1)


def _joined(*parts: _Beam) -> _Beam:
    return _Beam(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _rows(beam: _Beam, rows: np.ndarray) -> _Beam:
    return _Beam(*(column[rows] for column in beam))


def _sorted(rows: np.ndarray, score: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows by key, the best of a key first, and where in them each key begins."""
    rows = rows[np.lexsort((-score[rows], keys[rows]))]
    ordered = keys[rows]
    starts = np.empty(len(rows), bool)
    starts[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    return rows, starts.nonzero()[0]


def _pruned(tried: _Beam, keys: np.ndarray, options) -> _Beam:
    """The best `options.beam` of the tried hypotheses, after merging those with the same key.

    The best one of a key stays, with its own score or with the sum of all (`log_add`).
    """
    score = tried.score
    rows = (score >= score.max(initial=-np.inf) - options.beam_threshold).nonzero()[0]
    cut = CUT * options.beam
    best = rows[:0]
    if len(rows) > cut and not options.log_add:
        some, starts = _sorted(rows[np.argpartition(-score[rows], cut)[:cut]], score, keys)
        best = some[starts]
    if len(best) < options.beam:  # nothing was cut, or too much
        rows, starts = _sorted(rows, score, keys)
        best = rows[starts]
    totals = np.logaddexp.reduceat(score[rows], starts) if options.log_add else score[best]
    if len(best) > options.beam:
        some = np.argpartition(-totals, options.beam - 1)[: options.beam]
        best, totals = best[some], totals[some]
    return _rows(tried, best)._replace(score=totals)


def _likeliest(frame: np.ndarray, count: int | None) -> np.ndarray | None:
    """[C] bool, the most likely symbols of a frame; None for all."""
    if count is None or count >= len(frame):
        return None
    chosen = np.zeros(len(frame), bool)
    chosen[np.argpartition(-frame, count - 1)[:count]] = True
    return chosen


class LexiconSearch:
    """Words of a tree of spellings, weighted by a model of words."""

    def __init__(
        self, options, tree: WordTree, model: WordModel, *, boundary: int, blank: int, unknown: int
    ):
        self.options, self.tree, self.model = options, tree, model
        self.boundary, self.blank, self.unknown = boundary, blank, unknown

    def _children(self, beam: _Beam, chosen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """All children [n] of the hypotheses' nodes, but those of symbols that are not chosen, and
        the hypothesis [n] of each."""
        counts = self.tree.children[beam.node]
        parent = np.repeat(np.arange(len(counts)), counts)
        skipped = np.repeat(self.tree.first[beam.node] - np.cumsum(counts) + counts, counts)
        child = np.arange(len(parent)) + skipped
        if chosen is None:
            return parent, child
        some = chosen[self.tree.symbol[child]]
        return parent[some], child[some]

    def _spelled(self, beam: _Beam, frame: np.ndarray, histories: Histories) -> Iterator[_Beam]:
        """Hypotheses that move to a child of their node: within a word, or at its end."""
        options, tree = self.options, self.tree
        parent, child = self._children(beam, _likeliest(frame, options.beam_tokens))
        token = tree.symbol[child]
        score = beam.score[parent] + frame[token]
        if options.silence_score:
            score[token == self.boundary] += options.silence_score
        at_root = beam.node == ROOT
        passed = np.where(at_root, np.float32(0), tree.best[beam.node])  # [K]
        same = token == beam.token[parent]

        def tried(rows, score, history, node, gain, word) -> _Beam:
            return _Beam(
                score,
                history,
                node,
                token[rows],
                np.zeros(len(rows), bool),
                beam.lm_score[parent[rows]] + gain,
                parent[rows],
                word,
            )

        rows = ((tree.children[child] > 0) & ~same).nonzero()[0]
        gain = (tree.best[child[rows]] - passed[parent[rows]]).astype(float)
        yield tried(
            rows,
            score[rows] + options.lm_weight * gain,
            beam.history[parent[rows]],
            child[rows],
            gain,
            np.full(len(rows), -1),
        )

        homophones = tree.homophones[child]
        rows = ((homophones > 0) & ~(same & at_root[parent])).nonzero()[0]
        counts = homophones[rows]
        rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(rows, counts)
        ends = [(rows, tree.words[child[rows], rank], options.word_score)]
        if options.unknown_score > -math.inf:
            rows = (homophones == 0).nonzero()[0]
            ends.append((rows, np.full(len(rows), self.unknown), options.unknown_score))
        for rows, words, bonus in ends:
            history, lm_score = histories.after(beam.history[parent[rows]], words)
            gain = (lm_score - passed[parent[rows]]).astype(float)
            yield tried(
                rows,
                score[rows] + options.lm_weight * gain + bonus,
                history,
                np.full(len(rows), ROOT),
                gain,
                words,
            )

    def _step(self, beam: _Beam, frame: np.ndarray, histories: Histories) -> _Beam:
        size = len(beam.score)
        unchanged = beam._replace(parent=np.arange(size), word=np.full(size, -1))
        at_root = beam.node == ROOT
        token = np.where(at_root, self.boundary, beam.token)
        score = beam.score + frame[token]
        if self.options.silence_score:
            score[token == self.boundary] += self.options.silence_score
        staying = _rows(
            unchanged._replace(score=score, token=token, blank=np.zeros(size, bool)),
            (at_root | ~beam.blank).nonzero()[0],
        )
        silent = unchanged._replace(
            score=beam.score + frame[self.blank],
            token=np.full(size, self.blank),
            blank=np.ones(size, bool),
        )
        tried = _joined(*self._spelled(beam, frame, histories), staying, silent)
        nodes, symbols = len(self.tree.first), len(frame)
        keys = ((tried.history * nodes + tried.node) * symbols + tried.token) * 2 + tried.blank
        return _pruned(tried, keys, self.options)

    def decode(self, log_probs: np.ndarray) -> Iterator[Result]:
        """Hypotheses of log probabilities [T, C], best first."""
        histories = Histories(self.model)
        beams = [_start(self.boundary)]
        frames = log_probs.astype(float)
        for frame in frames:
            beams.append(self._step(beams[-1], frame, histories))
        last = beams[-1]
        rows = (last.node == ROOT).nonzero()[0]
        if not len(rows):  # no hypothesis ends with a whole word
            rows = np.arange(len(last.node))
        return _finished(beams, rows, frames, histories, self.options)


class LexiconFreeSearch:
    """Any sequence of symbols, weighted by a model of symbols."""

    def __init__(self, options, model: WordModel, *, boundary: int, blank: int):
        self.options, self.model = options, model
        self.boundary, self.blank = boundary, blank
        self.rows = ScoreRows(model)

    def _step(self, beam: _Beam, frame: np.ndarray, histories: Histories) -> _Beam:
        options, size = self.options, len(beam.score)
        score = beam.score[:, None] + frame  # [K, C]
        score[:, self.boundary] += options.silence_score
        longer = np.ones(score.shape, bool)  # the history gets another symbol
        longer[:, self.blank] = False
        longer[np.arange(size), beam.token] = False
        gain = np.where(longer, self.rows.of(histories.states(beam.history)), np.float32(0))
        score += options.lm_weight * gain.astype(float)
        if (chosen := _likeliest(frame, options.beam_tokens)) is not None:
            score[:, ~chosen] = -np.inf
        flat = score.ravel()
        rows = (flat >= flat.max() - options.beam_threshold).nonzero()[0]
        cut = CUT * options.beam  # no hypothesis is reached in more than three ways
        if len(rows) > cut and not options.log_add:
            rows = rows[np.argpartition(-flat[rows], cut)[:cut]]
        parent, token = np.divmod(rows, len(frame))
        history, grown = beam.history[parent], longer[parent, token]
        history[grown], _ = histories.after(history[grown], token[grown])
        blank = token == self.blank
        tried = _Beam(
            flat[rows],
            history,
            np.zeros(len(rows), np.int64),
            token,
            blank,
            beam.lm_score[parent] + gain[parent, token],
            parent,
            np.full(len(rows), -1),
        )
        return _pruned(tried, (history * len(frame) + token) * 2 + blank, options)

    def decode(self, log_probs: np.ndarray) -> Iterator[Result]:
        """Hypotheses of log probabilities [T, C], best first."""
        histories = Histories(self.model)
        beams = [_start(self.boundary)]
        frames = log_probs.astype(float)
        for frame in frames:
            beams.append(self._step(beams[-1], frame, histories))
        rows = np.arange(len(beams[-1].node))
        return _finished(beams, rows, frames, histories, self.options)


def _finished(
    beams: list[_Beam], rows: np.ndarray, frames: np.ndarray, histories: Histories, options
) -> Iterator[Result]:
    """Results of the last hypotheses, after adding the model's score of the end of the text."""
    last = beams[-1]
    gain = histories.finish(last.history[rows]).astype(float)
    tried = _rows(last, rows)._replace(
        score=last.score[rows] + options.lm_weight * gain,
        lm_score=last.lm_score[rows] + gain,
        parent=rows,
    )
    keys = tried.history * (int(last.node.max(initial=0)) + 1) + tried.node
    ended = _pruned(tried, keys, options)
    order = np.argsort(-ended.score, kind="stable")
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        at = ended.parent[some]
        tokens = np.empty((len(frames), len(some)), np.int64)
        words = np.empty_like(tokens)
        for t in range(len(frames), 0, -1):
            tokens[t - 1], words[t - 1] = beams[t].token[at], beams[t].word[at]
            at = beams[t].parent[at]
        spoken = np.take_along_axis(frames, tokens, axis=1)
        for column, number in enumerate(some):
            yield Result(
                tokens[:, column],
                words[:, column],
                float(ended.score[number]),
                float(spoken[:, column].sum()),
                float(ended.lm_score[number]),
            )
