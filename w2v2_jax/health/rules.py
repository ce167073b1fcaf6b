"""The rules: symptoms in the metrics, each with the source or the run that set its bound.

"The reference runs" are the three seeds of the quickstart (`reference_curves`). No rule gives a
warning for them. The bounds were chosen from these runs and from earlier recipes that failed. The
name of a rule is its anchor in docs/symptoms.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from w2v2_jax.health.config import EARLY, HealthConfig, RunFacts
from w2v2_jax.objectives.base import Expectations

FEW, SOME = 3, 5  # logged records over which a mean is taken
# fairseq's data2vec: updates before which it checks nothing, min_target_var and min_pred_var, which
# are bounds on standard deviations.
REGRESSION_AFTER, LEAST_TARGETS, LEAST_PREDICTIONS = 5000, 0.1, 0.01


class RuleInput(NamedTuple):
    """The input of a rule: logged records, oldest first; the values of `steps` per update, newest
    last (arrays of floats, nan where there was none); the run and its health section."""

    logged: Sequence[dict[str, float]]
    steps: dict[str, np.ndarray]
    run: RunFacts
    config: HealthConfig

    @property
    def expected(self) -> Expectations:
        return self.run.expected


class Rule(NamedTuple):
    """check: what is wrong in words, or None. every_step: checked after every update, otherwise
    after logged ones. local: about this host's own time, so it may only warn. cure: whether a
    rollback that leaves batches out can help."""

    name: str
    check: Callable[[RuleInput], str | None]
    every_step: bool = False
    local: bool = False
    cure: bool = False


def _mean(seen: RuleInput, name: str, records: int) -> float | None:
    """The mean of a metric over the last records that all have it; None if it is not finite."""
    values = [record.get(name, math.nan) for record in list(seen.logged)[-records:]]
    mean = float(np.mean(values)) if len(values) == records else math.nan
    return mean if math.isfinite(mean) else None


def _started(seen: RuleInput) -> bool:
    return bool(seen.logged) and seen.logged[-1]["step"] > seen.run.started_after


def chance_loss(seen: RuleInput) -> str | None:
    """fairseq's users report a loss stuck at log2 101 (issues 3661, 3718, 3744). The reference
    runs leave ln 101 by more than 1 % for good after 192, 352 and 560 of 1600 updates."""
    loss, negatives = _mean(seen, "contrastive_loss", FEW), seen.expected.negatives
    if loss is None or not negatives or not _started(seen):
        return None
    chance = math.log(negatives + 1)
    if loss < 0.99 * chance:
        return None
    return f"contrastive loss {loss:.3f} is chance (ln {negatives + 1} = {chance:.3f})"


def degenerate_accuracy(seen: RuleInput) -> str | None:
    """fairseq issues 3735 and 3687: accuracy exactly 0 or 1. By chance (1 of K + 1) no hit in n
    frames has probability e^(-n / (K + 1)): 1 in a million after 14 (K + 1) of them."""
    last = seen.logged[-1].get("contrastive_accuracy")  # None: all logits of all frames tie
    frames = 0.0
    for record in reversed(seen.logged):
        now = record.get("contrastive_accuracy")
        if "contrastive_loss" not in record or now not in (None, 0, 1) or now != last:
            break
        frames += record["weight"]
    if not seen.expected.negatives or frames < 14 * (seen.expected.negatives + 1):
        return None
    what = "undefined: all similarities are equal" if last is None else f"exactly {last:g}"
    return f"contrastive accuracy is {what} over {frames:.0f} masked frames"


def equal_negatives(seen: RuleInput) -> str | None:
    """All negatives equal the positive: loss 0 (fairseq issue 3735). The reference runs have at
    most .026, an earlier recipe that recognised well .060, one that collapsed to 17 codes .087."""
    rate = _mean(seen, "negative_is_positive", FEW)
    return f"{rate:.1%} of the negatives equal their positive" if rate and rate > 0.075 else None


def collapsed_codes(seen: RuleInput) -> str | None:
    """One code per codebook, perplexity 2 (Hugging Face issues 14387, 14471). Of 640 codes the
    reference runs use at least 89, an earlier recipe that recognised well 43, and a collapsed one
    13. The bound is the collapsed value plus 5 % of the distance to all codes: 34 of 640."""
    if not seen.logged or seen.logged[-1]["step"] < EARLY:
        return None
    codebooks, codes = seen.expected.codebooks, seen.expected.codes
    bound = codebooks + 0.05 * (codes - codebooks)
    for name in ("code_perplexity", "prob_perplexity"):
        value = _mean(seen, name, FEW)
        if value is not None and value < bound:
            words = name.replace("_", " ")
            return f"{words} {value:.1f} of {codes} codes is below {bound:.1f}"
    return None


def uniform_codes(seen: RuleInput) -> str | None:
    """Equally frequent codes say nothing about speech. Reference runs: at most 471 of 640 (.74)."""
    value = _mean(seen, "prob_perplexity", FEW)
    codes = seen.expected.codes
    if value is None or not codes or not _started(seen) or value < 0.95 * codes:
        return None
    return f"prob perplexity {value:.1f} of {codes}: all codes are equally likely"


def collapsed_targets(seen: RuleInput) -> str | None:
    """A teacher with equal outputs for all frames: fairseq ends such a run (data2vec_audio.py)."""
    return _still(seen, "target", LEAST_TARGETS)


def collapsed_predictions(seen: RuleInput) -> str | None:
    """Predictions that are the same for every frame: fairseq ends such a run too."""
    return _still(seen, "prediction", LEAST_PREDICTIONS)


def _still(seen: RuleInput, what: str, least: float) -> str | None:
    """Checked after fairseq's 5000 updates, or in a short run when it must have started."""
    value = _mean(seen, f"{what}_deviation", FEW)
    after = min(REGRESSION_AFTER, seen.run.started_after)
    if value is None or seen.logged[-1]["step"] <= after or value >= least:
        return None
    return f"the deviation of {what}s within a row is {value:.2g}, below {least:g}"


def masked_share(seen: RuleInput) -> str | None:
    """Hugging Face's default masks 5 % instead of 49 (docs/traps.md#t8). Over five records the
    reference runs stay within 4 % of the expected share. Short rows exceed it, as every row has at
    least two spans."""
    share = _mean(seen, "masked_fraction", SOME)
    # Fine-tuning logs it without an expected value: short clips have the least number of spans.
    expected = seen.expected.masked
    if share is None or not expected or abs(share / expected - 1) < 0.3:
        return None
    return f"{share:.1%} of the frames are masked, {expected:.1%} expected"


def mean_span(seen: RuleInput) -> str | None:
    """The paper prints 14.7 frames for BASE. Over five records the reference runs stay within
    10 % of the 6.9 frames expected."""
    span = _mean(seen, "mean_span", SOME)
    expected = seen.expected.span
    if span is None or not expected or abs(span / expected - 1) < 0.4:
        return None
    return f"masked runs are {span:.1f} frames long, {expected:.1f} expected"


def encoder_gradient(seen: RuleInput) -> str | None:
    """The feature encoder has no gradient, or all of it. Its share of the gradient's norm is .09 to
    .90 in the quickstart's pretraining and .21 to .78 in fine-tuning."""
    encoder, whole = (_mean(seen, f"{n}gradient_norm", SOME) for n in ("feature_", ""))
    if not seen.run.trains_features or encoder is None or not whole:
        return None
    share = encoder / whole
    if 1e-4 < share < 0.999:
        return None
    return f"the feature encoder's gradient norm is {encoder:.2g} of {whole:.2g}"


def _spike(seen: RuleInput, name: str, ratio: float) -> tuple[float, float] | None:
    """(value, median of up to 200 before) if the newest value exceeds the median by `ratio` and by
    ten times the spread (median absolute deviation); there must be at least 30."""
    values = seen.steps[name]
    if not len(values) or not math.isfinite(values[-1]):
        return None
    before = values[-201:-1]
    before = before[np.isfinite(before)]
    if len(before) < 30:
        return None
    median = float(np.median(before))
    if values[-1] <= ratio * median:
        return None
    spread = float(np.median(np.abs(before - median)))
    return (float(values[-1]), median) if values[-1] > median + 10 * spread else None


def loss_spike(seen: RuleInput) -> str | None:
    """A loss far above the 200 before, as PaLM's (Chowdhery et al. 2022, section 5.1). Of the
    medians before them, the reference runs' contrastive losses reach 1.04 (an earlier recipe's
    1.08), and their CTC losses per label 4.4, because some clips are memorised and others hard."""
    spike = _spike(seen, "loss", seen.expected.loss_spike)
    return spike and f"loss {spike[0]:.3g} after a median of {spike[1]:.3g}"


def gradient_spike(seen: RuleInput) -> str | None:
    """A gradient far above the 200 before; nothing clips it (docs/traps.md#t36). Update by update
    the quickstart's reach 4.6 times the median in pretraining and 11.5 times in fine-tuning."""
    spike = _spike(seen, "gradient_norm", 20.0)
    return spike and f"gradient norm {spike[0]:.3g} after a median of {spike[1]:.3g}"


def non_finite(seen: RuleInput) -> str | None:
    """A loss or gradient that is not finite (fairseq issues 968, 1529, 3684, 4755)."""
    if seen.steps["non_finite"][-1] <= 0:
        return None
    recent = int(seen.steps["non_finite"][-1000:].sum())
    return f"loss or gradient is not finite, the update is skipped ({recent} of the last 1000)"


def damaged_audio(seen: RuleInput) -> str | None:
    """Rows whose samples fail their checksum carry no weight; none is normal."""
    if seen.steps["damaged"][-1] <= 0:
        return None
    recent = float(seen.steps["damaged"][-1000:].mean())
    return f"damaged audio, its rows are left out ({recent:.2%} of the rows of the last updates)"


def all_blank(seen: RuleInput) -> str | None:
    """CTC writes only blanks (fairseq issues 2685, 3340). A plateau is normal at first: that of the
    reference runs ends after 120 to 440 of 1600 updates."""
    rate = _mean(seen, "blank_rate", FEW)
    if rate is None or not _started(seen) or rate < 0.99:
        return None
    return f"{rate:.1%} of the frames are blank"


def unalignable(seen: RuleInput) -> str | None:
    """Transcripts longer than their audio allows (docs/traps.md#t47). No reference run has one."""
    share = _mean(seen, "unalignable", SOME)
    return (
        f"{share:.1%} of the transcripts do not fit their audio" if share and share > 0.02 else None
    )


def data_wait(seen: RuleInput) -> str | None:
    """Steps wait for data (fairseq issues 3342, 4452). On two busy cores single records of the
    reference runs reach 6 %, but never five in a row 5 %. The first is left out, because the
    readers are starting then."""
    share = _mean(seen, "data_wait", SOME)
    if share is None or len(seen.logged) <= SOME or share < seen.config.data_wait:
        return None
    return f"{share:.1%} of the time is spent waiting for data"


RULES = (
    Rule("non-finite", non_finite, every_step=True),
    Rule("loss-spike", loss_spike, every_step=True, cure=True),
    Rule("gradient-spike", gradient_spike, every_step=True, cure=True),
    Rule("damaged-audio", damaged_audio, every_step=True),
    Rule("chance-loss", chance_loss),
    Rule("degenerate-accuracy", degenerate_accuracy),
    Rule("equal-negatives", equal_negatives),
    Rule("collapsed-codes", collapsed_codes),
    Rule("uniform-codes", uniform_codes),
    Rule("collapsed-targets", collapsed_targets),
    Rule("collapsed-predictions", collapsed_predictions),
    Rule("masked-share", masked_share),
    Rule("mean-span", mean_span),
    Rule("encoder-gradient", encoder_gradient),
    Rule("all-blank", all_blank),
    Rule("unalignable", unalignable),
    Rule("data-wait", data_wait, local=True),
)
