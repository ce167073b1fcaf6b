"""Edges of aligned words moved to where speech begins and ends, on noise of known levels."""

import numpy as np
import pytest

from tests.helpers.segment_cases import VOCABULARY
from w2v2_jax.decode.spelling import Speller
from w2v2_jax.prepare.segment_cuts import Heard, from_text
from w2v2_jax.prepare.speech_edges import SECONDS, levels, refined

RATE = 16000


def recording(said, seconds, *, quiet=0.001, loud=0.1):
    """Noise that is loud at the (start, end) of `said`, in seconds."""
    gain = np.full(int(seconds * RATE), quiet)
    for start, end in said:
        gain[int(start * RATE) : int(end * RATE)] = loud
    return (np.random.default_rng(0).normal(size=len(gain)) * gain).astype(np.float32)


def late(found, said):
    return np.abs(np.array(found) - np.array(said)).max()


@pytest.mark.parametrize("moved", [(0.15, -0.2), (-0.1, 0.15), (0.25, -0.25), (-0.3, 0.3)])
def test_edges_that_are_inside_or_outside_of_the_speech_come_to_it(moved):
    said = [(1.0, 2.0), (2.7, 4.0), (4.8, 5.5)]
    found = refined(levels([recording(said, 7)]), [(s + moved[0], e + moved[1]) for s, e in said])
    assert late(found, said) <= 2 * SECONDS


def test_pauses_of_200_ms_are_found_and_those_within_plosives_are_not():
    said = [(1.0, 1.5), (1.58, 2.0), (2.2, 3.0)]  # the first two are one utterance
    found = refined(levels([recording(said, 4)]), [(1.1, 1.9), (2.3, 2.9)])
    assert late(found, [(1.0, 2.0), (2.2, 3.0)]) <= 2 * SECONDS


@pytest.mark.parametrize("quiet", [0.1, 0.05])
def test_where_there_is_no_clear_pause_the_aligned_times_stay(quiet):
    spans = [(1.1, 1.9), (2.3, 2.9)]
    loudness = levels([recording([(1.0, 2.0), (2.2, 3.0)], 4, quiet=quiet)])
    assert refined(loudness, spans) == spans


def test_no_edge_passes_its_neighbour_and_spans_beyond_the_recording_stay():
    said = [(1.0, 3.0)]
    loudness = levels([recording(said, 4)])
    (_, end), (start, _) = refined(loudness, [(1.1, 1.8), (1.9, 2.9)])
    assert end <= 1.9 and start >= 1.8
    assert refined(loudness, [(9.0, 10.0)]) == [(9.0, 10.0)]
    assert refined(levels([]), [(1.0, 2.0)]) == [(1.0, 2.0)]


def test_levels_do_not_depend_on_the_blocks_in_which_samples_come():
    samples = recording([(0.2, 0.5)], 1)
    parts = np.split(samples, [1, 100, 161, 5000])
    np.testing.assert_allclose(levels(parts), levels([samples]), rtol=1e-5)
    assert len(levels([samples])) == round(1 / SECONDS)


def test_words_at_the_edges_move_with_them_and_what_is_said_beside_them_lowers_the_score():
    frames = np.zeros((150, len(VOCABULARY)), np.float32)
    a, b = VOCABULARY.encode("ab")[:2]
    said = {55: a, 60: 4, 75: b, 90: 4}
    for frame in range(150):
        frames[frame, said.get(frame, 0)] = 12
    heard = Heard(frames, 0.02, Speller(VOCABULARY), levels([recording([(1.0, 2.0)], 3)]))
    (moved,) = from_text([("a b", "x:1")], heard, where="x")
    fit = moved.fit
    assert (fit.start, fit.end) == pytest.approx((1.0, 2.0), abs=2 * SECONDS)
    assert [w.start for w in fit.words] == pytest.approx([fit.start, 75 * 0.02])
    assert [w.end for w in fit.words] == pytest.approx([56 * 0.02, fit.end])
    assert fit.score > -0.1
    frames[95:98] = frames[55]  # more is said before the speech ends
    (longer,) = from_text([("a b", "x:1")], heard, where="x")
    assert longer.fit.score < -2
