"""What the published runs had after as many hours of pretraining."""

import numpy as np
import pytest

from w2v2_jax.evaluation import hours_heard


def test_errors_fall_with_the_hours_heard_whatever_the_batches():
    points = hours_heard.PUBLISHED
    hours = np.array([point.hours for point in points])
    np.testing.assert_allclose(hours[[0, 1, -1]], [150 * 1e5 / 3600, 300 * 1e5 / 3600, 266_666.67])
    for name in ("ten_minutes", "hundred_hours"):
        rates = np.array([getattr(point, name) for point in points])  # [points, clean and other]
        assert (rates[:, 0] < rates[:, 1]).all()
        for column in rates.T:
            # Points of as many hours differ by less than the next step down.
            means = [column[np.isclose(hours, one)].mean() for one in np.unique(hours.round(3))]
            assert (np.diff(means) < 0).all()


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (33.3, ["the least published is 4167 h: 99 and 101 % from 10 min"]),
        (10_000, ["8333 h: 90 and 95 %", " and 16667 h: 72 and 83 %"]),
        (100 * 1e3 * 150 / 3600, ["4167 h: 99 and 101 %"]),
        (
            640_000,
            [
                "the most published is 266667 h: ",
                "44 and 51 % from 10 min of labels, 6 and 16 % from 100 h",
            ],
        ),
    ],
)
def test_the_nearest_published_runs_are_told(hours, told):
    words = hours_heard.comparison(hours)
    assert all(part in words for part in told)
    assert words.count(" h: ") == (2 if hours == 10_000 else 1)
