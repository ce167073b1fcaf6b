"""Every objective by its name; a new objective needs a row here and its own file."""

from __future__ import annotations

from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.classification import Classification, FrameClassification, XVector
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.ema_teacher import EMATeacher
from w2v2_jax.objectives.random_targets import RandomTargets

OBJECTIVES: dict[str, type[Objective]] = {
    Contrastive.name: Contrastive,
    CTC.name: CTC,
    RandomTargets.name: RandomTargets,
    EMATeacher.name: EMATeacher,
    Classification.name: Classification,
    FrameClassification.name: FrameClassification,
    XVector.name: XVector,
}
