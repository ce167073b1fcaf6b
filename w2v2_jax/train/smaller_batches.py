"""The batches that a corpus fills, found from those of a recipe that are too large for it."""

from __future__ import annotations

import dataclasses

from w2v2_jax.data.feed import Feed
from w2v2_jax.errors import InputError, counted
from w2v2_jax.experiment.build import Experiment

FILLERS = 0.15  # share of an epoch's rows; above it the batches are too large for the corpus


def told(experiment: Experiment, train: Feed) -> str:
    """The options that make the batches smaller, and how many rows they leave empty (weight 0)."""
    better = fewest_fillers(experiment, train)
    if better is None:
        return "no smaller data.row_multiple divides over the devices"
    data, count = better
    return (
        f"--config.data.batch_seconds={data.batch_seconds:g} --config.data.row_multiple="
        f"{data.row_multiple} leave {count.repeated_rows} of {counted(count.rows, 'row')} empty"
    )


def fewest_fillers(experiment: Experiment, train: Feed):
    """The largest batches, a whole fraction of the recipe's, with few enough rows of weight 0:
    their data section and summary; else those with the fewest; None if none is possible."""
    data, seed = train.config, experiment.settings.seed
    accumulate = experiment.accumulate
    tried = []
    # No batch is fuller for more audio than the epoch's in rows of the longest length. Rows in
    # groups divide only if their audio and their number stay in the recipe's proportion.
    most = max(data.bucket_seconds) * max(data.row_multiple, train.utterances)
    for largest in sorted({min(data.batch_seconds, most), data.batch_seconds}):
        first = 2 if largest == data.batch_seconds else 1
        for parts in (n for n in range(first, data.row_multiple + 1) if data.row_multiple % n == 0):
            smaller = dataclasses.replace(
                data, row_multiple=data.row_multiple // parts, batch_seconds=largest / parts
            )
            try:
                plan = smaller.train_plan(train.corpus, seed=seed, mixture=train.mixture)
                experiment.check_shapes(plan.shapes, accumulate, "training")
            except InputError:
                continue
            tried.append((smaller, plan.summary()))
            if tried[-1][1].repeated_rows <= FILLERS * tried[-1][1].rows:
                return tried[-1]
    return min(tried, key=lambda one: one[1].repeated_rows / one[1].rows, default=None)
