"""What pretraining is worth by the hours of audio that it hears, updates times audio per update.

Source: arXiv 2402.13723, which pretrains BASE on LibriSpeech with batches of several sizes. Its WER
depends on the product alone: 150 s x 400 k updates and 20 min x 50 k have 72.0 and 73.0 %.
"""

from __future__ import annotations

from typing import NamedTuple

PAPER = "arXiv 2402.13723"


class Point(NamedTuple):
    """WER in % on test-clean and test-other without a language model, after so many hours of
    pretraining and fine-tuning on 10 minutes or 100 hours."""

    hours: float
    ten_minutes: tuple[float, float]
    hundred_hours: tuple[float, float]


# plot/ft_asr_against_steps/table.csv of github.com/nikvaessen/w2v2-batch-size: seconds of audio per
# update and thousands of updates; the rates.
PUBLISHED = tuple(
    Point(seconds * thousands / 3.6, ten_minutes, hundred_hours)
    for seconds, thousands, ten_minutes, hundred_hours in (
        (150, 100, (99.2, 101.0), (29.8, 57.5)),
        (300, 100, (90.2, 95.3), (23.0, 50.6)),
        (150, 400, (72.0, 82.2), (16.5, 40.2)),
        (1200, 50, (73.0, 83.1), (16.9, 41.1)),
        (2400, 50, (53.7, 63.5), (10.9, 27.5)),
        (600, 400, (50.7, 60.1), (9.1, 23.1)),
        (4800, 50, (51.3, 60.4), (9.3, 23.2)),
        (1200, 400, (47.4, 54.7), (7.4, 19.0)),
        (2400, 400, (45.6, 52.5), (6.3, 15.1)),
        (4800, 200, (42.4, 50.3), (6.3, 15.9)),
    )
)


def comparison(hours: float) -> str:
    """The published runs that heard nearest to so much, below and above, in words."""
    below = [point.hours for point in PUBLISHED if point.hours <= hours]
    above = [point.hours for point in PUBLISHED if point.hours >= hours]
    if not below:
        return f"the least published is {_told(above[0])}"
    if not above:
        return f"the most published is {_told(below[-1])}"
    return " and ".join(_told(one) for one in dict.fromkeys((below[-1], above[0])))


def _told(hours: float) -> str:
    """The rates after so many hours, of runs with several sizes of batches their mean."""
    same = [point for point in PUBLISHED if point.hours == hours]
    ten, hundred = (
        "{:.0f} and {:.0f} %".format(*(sum(pair) / len(pair) for pair in zip(*rates, strict=True)))
        for rates in zip(*(point[1:] for point in same), strict=True)
    )
    return f"{hours:.0f} h: {ten} from 10 min of labels, {hundred} from 100 h"
