"""Learning-rate schedules, rates by path, and fairseq's Adam as one optax chain."""

from w2v2_jax.optimizer.adam import (
    OF_NETWORK,
    AdamState,
    adam,
    updates_taken,
)
from w2v2_jax.optimizer.average import Average, averages, with_averages
from w2v2_jax.optimizer.rates import (
    RateTable,
    freezes,
    rate_table,
    trainable,
    unmatched,
    value_by_path,
    with_frozen,
)
from w2v2_jax.optimizer.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    polynomial,
    tri_stage,
)

__all__ = [
    "OF_NETWORK",
    "SCHEDULES",
    "AdamState",
    "Average",
    "RateTable",
    "Schedule",
    "adam",
    "averages",
    "constant",
    "freezes",
    "polynomial",
    "rate_table",
    "trainable",
    "tri_stage",
    "unmatched",
    "updates_taken",
    "value_by_path",
    "with_averages",
    "with_frozen",
]
