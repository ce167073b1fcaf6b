"""Which lengths have which bucket, at their edges; and what a summary says of them."""

import numpy as np

from w2v2_jax.data.buckets import PlanSummary, length_histogram, make_buckets, summarise


def test_every_band_of_lengths_is_named_by_its_edges():
    seconds = (0.05, 0.2, 0.7, 1.5, 3, 7, 12, 17, 25, 45, 100, 700)
    assert length_histogram(np.array([16_000 * s for s in seconds])) == (
        "under 0.1 s: 1, 0.1-0.5 s: 1, 0.5-1 s: 1, 1-2 s: 1, 2-5 s: 1, 5-10 s: 1, 10-15 s: 1, "
        "15-20 s: 1, 20-30 s: 1, 30-60 s: 1, 60-600 s: 1, over 600 s: 1"
    )


def test_rows_of_one_sample_alone_in_batches_of_one_row_are_the_least():
    (bucket,), dropped = make_buckets(np.array([0, 1, 5]), "crop", (1,), 1, 1, 0)
    assert (bucket.samples, bucket.rows, bucket.utterances.tolist()) == (1, 1, [1, 2])
    assert dropped == (1, 0)


def test_an_utterance_of_the_least_length_is_used():
    (bucket,), dropped = make_buckets(np.array([9, 10, 11]), "pad", (20,), 40, 1, 10)
    assert bucket.utterances.tolist() == [1, 2] and dropped == (1, 0)


def test_a_summary_says_how_many_rows_only_fill_batches():
    summary = PlanSummary(1, 0, 0, 1.0, {16_000: 1}, 1, 3, 2, ((3, 16_000),))
    assert str(summary).endswith("rows that only fill batches (weight 0): 2 of 3")


def test_a_summary_counts_hours_and_the_rows_of_every_batch():
    buckets, dropped = make_buckets(np.full(8, 57_600_000), "pad", (57_600_000,), 1, 2, 1)
    summary = summarise(buckets, dropped, 8 * 57_600_000, [(2, 57_600_000)], [4], 0)
    assert (summary.hours, summary.batches, summary.rows) == (8.0, 4, 8)
