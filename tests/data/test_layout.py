"""Layouts of a few corpora, as they are: a run that goes on depends on them to the last place."""

import pytest

from w2v2_jax.data.layout import cropped_layout, joined_layout, padded_layout

# sizes, most rows of a batch, multiple -> starts, buckets, rows
PADDED = [
    (([5, 43], [3, 9], 1), [0, 3, 6, 14, 22, 31, 39, 48], [0, 0, 1, 1, 1, 1, 1], (3, 9)),
    (([22, 59], [12, 48], 4), [0, 12, 24, 38, 52, 66, 81], [0, 0, 1, 1, 1, 1], (12, 16)),
    (([34, 18, 34], [28, 44, 48], 4), [0, 28, 56, 86], [0, 0, 2], (28, 44, 32)),
    (([19, 46, 8], [4, 10, 18], 2),
     [0, 4, 8, 12, 16, 20, 24, 29, 34, 39, 44, 48, 53, 58, 63, 68, 73],
     [0] * 5 + [1] * 10 + [2], (4, 6, 6)),
    (([111, 320, 75], [2, 7, 8], 1),
     [*range(0, 112, 2), *range(112, 434, 7), *range(434, 507, 8)],
     [0] * 56 + [1] * 46 + [2] * 9, (2, 7, 8)),
]  # fmt: skip
# sizes, row lengths, rows of a batch -> starts, buckets
CROPPED = [
    (([2, 3], [6, 10], [8, 4]), [0, 3, 4, 5], [0, 1, 1]),
    (([27, 24, 38, 7], [3, 6, 7, 8], [40, 20, 17, 15]), [0, 40, 60, 72, 84, 96], [0, 1, 2, 2, 2]),
    (([42, 31, 16, 26], [1, 2, 3, 9], [120, 60, 40, 13]), [0, 66, 97, 103, 109, 115],
     [0, 1, 3, 3, 3]),
    (([9, 2, 29, 27], [1, 4, 10, 11], [96, 24, 9, 8]), [0, *range(27, 68, 2)],
     [0] + [2] * 7 + [3] * 13),
    (([32, 44, 52, 25], [1, 2, 5, 9], [24, 12, 4, 2]),
     [0, 24, 48, 60, 72, *range(84, 129, 4), *range(129, 154, 2)],
     [0] * 2 + [1] * 3 + [2] * 11 + [3] * 13),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "starts", "buckets", "rows"), PADDED)
def test_whole_utterances_are_cut_at_these_places(arguments, starts, buckets, rows):
    layout = padded_layout(*arguments)
    assert (layout.starts.tolist(), layout.buckets.tolist()) == (starts, buckets)
    assert layout.rows == rows


@pytest.mark.parametrize(("arguments", "starts", "buckets"), CROPPED)
def test_crops_are_cut_at_these_places(arguments, starts, buckets):
    layout = cropped_layout(*arguments)
    assert (layout.starts.tolist(), layout.buckets.tolist()) == (starts, buckets)
    assert layout.rows == tuple(arguments[2])


def test_rows_of_one_stream_are_cut_as_evenly_as_can_be():
    for needed, starts in ((3, [0, 3]), (7, [0, 3, 7]), (13, [0, 4, 8, 13])):
        layout = joined_layout(needed, 6)
        assert (layout.starts.tolist(), layout.rows) == (starts, (6,))


def test_what_a_batch_lacks_is_filled_up():
    layout = padded_layout([5, 43], [3, 9], 1)
    assert layout.counts.tolist() == [3, 3, 8, 8, 9, 8, 9]
    assert layout.fillers.tolist() == [0, 0, 1, 1, 0, 1, 0]


def test_a_few_long_utterances_may_be_in_smaller_batches():
    """18 of 900 are a FEW of them and do not count; of 899 they do, and all batches get smaller."""
    assert len(padded_layout([18, 882], [18, 29], 1).buckets) == 32
    assert len(padded_layout([18, 881], [18, 29], 1).buckets) == 35
