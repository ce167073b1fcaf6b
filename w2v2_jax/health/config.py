"""The `health` section of a configuration, and what the rules need to know of a run."""

from __future__ import annotations

import dataclasses

from w2v2_jax.errors import check_least
from w2v2_jax.objectives.base import Expectations, Objective

WARN, STOP, ROLLBACK, OFF = "warn", "stop", "rollback", "off"
STARTED = 0.4  # the share of a run after which it must have left chance, or all blanks
EARLY = 100  # updates before which a run says little of itself
# The longest patience, BASE's warm-up of 8 % of 400 000 updates (paper section 4.2): published
# runs are at an accuracy of .49 after 50 000 (see reference_curves).
STARTED_AT_MOST = 32_000


@dataclasses.dataclass(frozen=True)
class HealthConfig:
    """What a run does about the rules of `health.rules`, whose names these lists hold.

    A rule that stands in none of the lists warns. Whatever they say, a non-finite update is not
    taken.

    stop: rules that end the run with status 2.
    rollback: rules after which the run goes back to the checkpoint before.
    off: rules that say nothing.
    cooldown: updates for which a rule that spoke is silent.
    started_after: updates after which a loss at chance or blanks alone are alarming; 0 stands for
        two fifths of the run, at most 32 000.
    data_wait: share of the time that waiting for data may take.
    non_finite_limit: the run ends where more of the last 1000 updates were not finite.
    damaged_limit: the run ends where a larger share of the last 1000 updates' rows was damaged.
    rollback_limit: rollbacks of a run; the next one ends it.
    skip_batches: batches up to the offending one that are never used after a rollback.
    """

    stop: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    cooldown: int = 1000
    started_after: int = 0
    data_wait: float = 0.05
    non_finite_limit: int = 20
    damaged_limit: float = 0.01
    rollback_limit: int = 3
    skip_batches: int = 10

    def __post_init__(self):
        for name in (STOP, ROLLBACK, OFF):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        check_least("health", self, cooldown=0, non_finite_limit=0, rollback_limit=0)
        check_least("health", self, started_after=0, data_wait=0, damaged_limit=0, skip_batches=1)

    def action(self, rule: str) -> str:
        """What the configuration says about a rule."""
        return next((a for a in (OFF, STOP, ROLLBACK) if rule in getattr(self, a)), WARN)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What the rules know of a run: its length, when it must have left chance, and what its
    objective expects. trains_features: whether the feature encoder gets a gradient."""

    steps: int
    started_after: int
    trains_features: bool
    expected: Expectations


def describe(objective: Objective, *, steps: int, started_after: int = 0) -> RunFacts:
    """The run of an objective over `steps` updates."""
    expected = objective.expectations()
    after = min(max(int(STARTED * steps), EARLY), STARTED_AT_MOST) + expected.slow_updates
    trains_features = objective.model.feature_grad_scale > 0
    return RunFacts(steps, started_after or after, trains_features, expected)
