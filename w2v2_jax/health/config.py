"""The `health` section of a configuration, and what the rules need to know of a run."""

from __future__ import annotations

import dataclasses

from w2v2_jax.errors.values import check_least
from w2v2_jax.objectives.base import Expectations, Objective

WARN, STOP, ROLLBACK, OFF = "warn", "stop", "rollback", "off"
STARTED = 0.4  # the share of a run after which it must have left chance, or all blanks
EARLY = 100  # updates before which metrics mean little
# The longest wait is BASE's warm-up, 8 % of 400 000 updates (paper section 4.2): published runs
# have an accuracy of .49 after 50 000 (see reference_curves).
STARTED_AT_MOST = 32_000


@dataclasses.dataclass(frozen=True)
class HealthConfig:
    """How a run responds to the rules of `health.rules`; the lists hold names of rules.

    A rule that is in none of the lists warns. A non-finite update is always skipped.

    stop: rules that end the run with status 2.
    rollback: rules after which the run returns to the checkpoint before.
    off: rules that are turned off.
    cooldown: number of updates for which a rule is silent after a warning.
    started_after: number of updates after which a loss at chance, or only blanks, is a problem; 0
        means two fifths of the run, at most 32 000.
    data_wait: the share of time that waiting for data may take.
    non_finite_limit: the run ends if more of the last 1000 updates were not finite.
    damaged_limit: the run ends if a larger share of rows in the last 1000 updates was damaged.
    rollback_limit: the number of rollbacks that a run may have.
    skip_batches: number of batches, up to the one with the problem, that are never used after a
        rollback.
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
        """The response to a rule by the configuration."""
        return next((a for a in (OFF, STOP, ROLLBACK) if rule in getattr(self, a)), WARN)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What the rules know about a run: its length, when it must be better than chance, and what its
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
