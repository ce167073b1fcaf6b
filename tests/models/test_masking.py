"""Span masks and negatives against the figures of fairseq's algorithm and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.models import masking, row_random

ROWS = 1600
LONG, SHORT = 999, 101  # two shapes only: compiling is most of the time


@functools.cache
def keys_of(rows, seed=0):
    return row_random.row_keys(jax.random.key(seed), jnp.arange(rows))


@functools.partial(jax.jit, static_argnames=("length", "span"))
def compiled(keys, counts, start_prob, min_spans, *, length, span):
    return masking.span_mask(
        keys, counts, length, start_prob=start_prob, span=span, min_spans=min_spans
    )


def draw(counts, *, length=SHORT, start_prob=0.065, span=10, min_spans=2):
    counts = jnp.broadcast_to(jnp.asarray(counts), (ROWS,))
    return np.asarray(
        compiled(keys_of(ROWS), counts, start_prob, min_spans, length=length, span=span)
    )


@functools.cache
def full_masks(length):
    return draw(length, length=LONG)[:, :length]


def span_lengths(mask):
    edges = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def reference_mask(rng, size, start_prob=0.065, span=10, min_spans=2):
    """One row, written independently from the description of fairseq's algorithm."""
    number = max(int(start_prob * size + rng.random()), min_spans)
    shortened = size - number - 1 if size - span <= number else span
    mask = np.zeros(size, bool)
    for start in rng.choice(size - shortened, number, replace=False):
        mask[start : start + span] = True
    return mask


def chi_square_is_plausible(observed, expected):
    """Within five standard deviations of a chi-square with that many degrees of freedom."""
    freedom = observed.size - 1
    statistic = (np.square(observed - expected) / expected).sum()
    return abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(("length", "fraction"), [(781, 0.490), (999, 0.491), (499, 0.491)])
def test_masked_fraction_is_that_of_fairseq(length, fraction):
    assert full_masks(length).mean() == pytest.approx(fraction, abs=0.002)


def test_masked_fraction_varies_over_rows_as_in_fairseq():
    assert full_masks(781).mean(1).std() == pytest.approx(0.023, abs=0.0015)


@pytest.mark.parametrize(("length", "low", "high"), [(781, 328, 433), (999, 425, 548)])
def test_extreme_numbers_of_masked_frames_are_those_of_fairseq(length, low, high):
    quantiles = np.quantile(full_masks(length).sum(1), (0.001, 0.999))
    np.testing.assert_allclose(quantiles, (low, high), atol=13)


def test_mean_span_is_14_7_frames_and_median_10():
    lengths = span_lengths(full_masks(781))
    assert lengths.mean() == pytest.approx(14.7, abs=0.15)
    assert np.median(lengths) == 10
    assert lengths.min() == 10


def test_last_frame_is_never_masked_and_the_one_before_sometimes_is():
    mask = full_masks(499)
    assert not mask[:, -1].any()
    assert mask[:, -2].any()


@pytest.mark.parametrize("size", [13, 20, 60, 100])
def test_every_position_is_masked_as_often_as_by_an_independent_implementation(size):
    rng = np.random.default_rng(1)
    drawn = [reference_mask(rng, size) for _ in range(ROWS)]
    expected = np.mean([mask & ~mask.all() for mask in drawn], axis=0)  # a full mask is dropped
    got = draw(size)[:, :size].mean(0)
    error = np.sqrt(2 * np.maximum(expected * (1 - expected), 1e-3) / ROWS)
    assert (np.abs(got - expected) < 5 * error).all()


def test_span_starts_are_uniform_over_all_but_the_last_position():
    mask = draw(101, span=1)
    counts = mask[:, :100].sum(0)
    assert chi_square_is_plausible(counts, counts.mean())
    assert not mask[:, 100].any()


def test_number_of_spans_is_the_expected_number_rounded_up_or_down_at_random():
    number = draw(100, span=1).sum(1)
    assert set(np.unique(number)) == {6, 7}
    assert number.mean() == pytest.approx(6.5, abs=0.06)


def test_masks_respect_each_rows_own_length():
    counts = np.linspace(60, 500, ROWS).astype(int)
    mask = draw(counts, length=LONG)
    outside = np.arange(LONG) >= counts[:, None] - 1  # the last real frame too
    assert not (mask & outside).any()
    assert (mask.sum(1) / counts).mean() == pytest.approx(0.49, abs=0.005)


def test_padding_a_row_does_not_change_its_mask():
    short, long = draw(90), draw(90, length=LONG)
    np.testing.assert_array_equal(short, long[:, :SHORT])


def test_a_rows_mask_does_not_depend_on_the_rows_around_it():
    order = np.random.default_rng(0).permutation(ROWS)
    moved = compiled(keys_of(ROWS)[order], jnp.full(ROWS, 100), 0.065, 2, length=SHORT, span=10)
    np.testing.assert_array_equal(moved, draw(100)[order])


def test_at_least_two_spans_however_small_the_probability():
    assert (draw(100, start_prob=1e-4, span=1).sum(1) == 2).all()
    assert not draw(100, start_prob=0.0, span=1, min_spans=0).any()


def test_very_short_rows_are_masked_inside_and_never_whole():
    counts = np.arange(ROWS) % 13
    mask = draw(counts)
    assert not (mask & (np.arange(SHORT) >= counts[:, None])).any()
    assert (mask.sum(1) < np.maximum(counts, 1)).all()
    assert mask[counts == 12].any(axis=1).mean() > 0.5


def test_a_row_that_would_be_masked_whole_is_left_unmasked():
    mask = draw(3)[:, :3]
    patterns, times = np.unique(mask, axis=0, return_counts=True)
    # starts are two of 0, 1, 2: with 0 the row would be full, without it frames 1 and 2 are masked
    np.testing.assert_array_equal(patterns, [[0, 0, 0], [0, 1, 1]])
    np.testing.assert_allclose(times / ROWS, [2 / 3, 1 / 3], atol=0.05)


@functools.cache
def equalised():
    return np.asarray(masking.equalise(keys_of(ROWS), jnp.asarray(full_masks(781)), 5))


def test_equalised_masks_of_five_rows_cover_0_462_of_781_frames():
    equal = equalised()
    assert equal.mean() == pytest.approx(0.462, abs=0.002)
    lengths = span_lengths(equal)
    assert lengths.mean() == pytest.approx(8.5, abs=0.2)


def test_equalised_groups_have_their_smallest_count_and_only_lose_frames():
    mask, equal = full_masks(781), equalised()
    smallest = mask.sum(1).reshape(-1, 5).min(1)
    np.testing.assert_array_equal(equal.sum(1), np.repeat(smallest, 5))
    assert not (equal & ~mask).any()
    assert len(set(smallest)) > 1


@pytest.mark.parametrize("length", [499, 781, 999])
def test_the_slot_buffer_holds_more_than_99_8_percent_of_rows(length):
    room = masking.slot_count(length, 0.065, 10)
    assert (full_masks(length).sum(1) <= room).mean() > 0.998
    assert room < 0.62 * length


def test_slots_list_the_masked_frames_in_order_and_drop_the_excess():
    mask = full_masks(499)[:8]
    room = int(np.sort(mask.sum(1))[4])  # some rows fit, some do not
    slots = masking.masked_slots(jnp.asarray(mask), room)
    for row in range(8):
        expected = np.nonzero(mask[row])[0][:room]
        assert slots.counts[row] == len(expected)
        np.testing.assert_array_equal(slots.valid[row], np.arange(room) < len(expected))
        np.testing.assert_array_equal(slots.frames[row, : len(expected)], expected)
        assert not np.asarray(slots.frames[row, len(expected) :]).any()


COUNTS = np.array([40, 17, 2, 33])


@functools.cache
def negatives(number=100, slots=48):
    return np.asarray(masking.draw_negatives(keys_of(4), jnp.asarray(COUNTS), slots, number))


def test_negatives_are_other_valid_slots_of_the_same_row():
    for row, count in enumerate(COUNTS):
        drawn = negatives()[row, :count]
        assert drawn.min() >= 0 and drawn.max() < count
        assert (drawn != np.arange(count)[:, None]).all()


def test_negatives_are_drawn_with_replacement():
    assert len(np.unique(negatives()[1, 0])) < 100
    assert (negatives()[2, :2] == [[1], [0]]).all()  # two slots: the other one, every time


def test_negatives_are_uniform_over_the_other_slots():
    drawn = negatives(4000)
    for row, count in ((0, 40), (1, 17)):
        for slot in (0, count // 2, count - 1):
            times = np.bincount(drawn[row, slot], minlength=count)
            assert times[slot] == 0
            assert chi_square_is_plausible(np.delete(times, slot), 4000 / (count - 1))


def test_every_slot_draws_its_own_negatives():
    drawn = negatives()[0, :40]
    assert len(np.unique(drawn, axis=0)) == 40


@pytest.mark.parametrize("count", [0, 1])
def test_rows_with_no_other_masked_slot_still_give_slot_numbers_in_range(count):
    drawn = masking.draw_negatives(keys_of(3), jnp.full(3, count), 8, 20)
    assert np.asarray(drawn).min() >= 0 and np.asarray(drawn).max() < 8
