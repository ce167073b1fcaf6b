"""Compares a run with reference curves: a table of a few updates, and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.reference_curves import RECIPES, Reference, deciding, load
from w2v2_jax.evaluation.runs import read_run
from w2v2_jax.paths import read_json

# Metric -> split -> which way is better: +1 more, -1 less, 0 neither.
SHOWN = {
    "contrastive_accuracy": ("train", 1),
    "contrastive_loss": ("train", -1),
    "code_perplexity": ("train", 0),
    "prob_perplexity": ("train", 0),
    "negative_is_positive": ("train", 0),
    "masked_fraction": ("train", 0),
    "loss_per_label": ("train", -1),
    "blank_rate": ("train", 0),
    "gradient_norm": ("train", 0),
    "cer": ("valid", -1),
    "wer": ("valid", -1),
}
SMOOTH = 5  # logged records: one is a single batch
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the updates that run and reference share
ROUNDED = 1e-3  # stored values have four digits
NO_NUMBER = "not a number"
ALONE = 0.05  # for a published mean without a spread, this share of it counts as equal


class ComparedPoint(NamedTuple):
    """A metric at an update: the run's value, the reference seeds' lowest and highest."""

    metric: str
    split: str
    step: int
    value: float
    low: float
    high: float
    verdict: str


class Curve(NamedTuple):
    """One metric of the run, and the references' values [seeds, N] at their own updates."""

    steps: np.ndarray
    values: np.ndarray
    reference_steps: np.ndarray
    reference: np.ndarray


class Standing(NamedTuple):
    """The table and the curves it was read from; differs: settings that are not the reference's,
    path -> (run, reference); negatives: of the run's contrastive task, 0 if it has none."""

    reference: Reference
    rows: list[ComparedPoint]
    curves: dict[str, Curve]
    differs: dict[str, tuple[Any, Any]]
    negatives: int = 0


def choose(config: dict) -> str:
    """The reference that fits a run's configuration best; InputError if none has its objective."""
    model, objective = config.get("model", {}), config.get("objective")
    if not (isinstance(model, dict) and isinstance(objective, dict)):
        raise InputError("config.json: no configuration of a run")
    of_base = model.get("family") == "base"
    pretraining = "base" if of_base else "quickstart_pretrain"
    tuning = "quickstart_finetuned" if config.get("init_from") else "quickstart_scratch"
    objective = config["objective"]["name"]
    for name in (pretraining, tuning):
        if load(name).config["objective.name"] == objective:
            return name
    raise InputError(f"no reference has the objective {objective!r}; see --reference")


def smoothed(values: np.ndarray) -> np.ndarray:
    """Means over the last SMOOTH values of the last axis, of fewer at the beginning."""
    firsts = np.maximum(np.arange(values.shape[-1]) - SMOOTH + 1, 0)
    means = [values[..., f : k + 1].mean(-1) for k, f in enumerate(firsts)]
    return np.stack(means, -1) if means else values


def curve(records: list[dict], reference: Reference, metric: str) -> Curve | None:
    """The metric of run and reference, None if one of them lacks it."""
    split, _ = SHOWN[metric]
    of_split = [r for r in records if r["split"] == split and metric in r]
    # null is what a figure that was not finite is in JSON: it must not look like a missing record.
    mine = [(r["step"], np.nan if r[metric] is None else r[metric]) for r in of_split]
    theirs = reference.splits.get(split, {})
    if not mine or metric not in theirs:
        return None
    steps, values = np.array(mine).T
    smooth = smoothed if split == "train" and theirs[metric].shape[0] > 1 else np.asarray
    return Curve(steps, smooth(values), theirs["step"], smooth(theirs[metric]))


def _rows(metric: str, points: Curve) -> list[ComparedPoint]:
    """The metric at a quarter, half, ... of the updates both have. Before its first record a run
    has no figure."""
    split, better = SHOWN[metric]
    first, last = points.steps[0], points.steps[-1]
    shared = points.reference_steps[
        (points.reference_steps >= first) & (points.reference_steps <= last)
    ]
    rows = []
    for place in sorted({int(np.ceil(share * len(shared))) - 1 for share in SHARES}):
        if place < 0:
            continue
        step = shared[place]
        value = float(np.interp(step, points.steps, points.values))
        low, high = points.reference[:, place].min(), points.reference[:, place].max()
        slack = ALONE if len(points.reference) == 1 else ROUNDED
        low, high = low - slack * abs(low), high + slack * abs(high)
        side = int(value > high) - int(value < low)
        words = ("below", "within", "above")
        verdict = words[side + 1] if not better or not side else ""
        verdict = verdict or ("better" if side == better else "worse")
        if np.isnan(value):  # compares as neither above nor below
            verdict = NO_NUMBER
        rows.append(
            ComparedPoint(metric, split, int(step), value, float(low), float(high), verdict)
        )
    return rows


def stand(
    workdir: Path, name: str | None = None, *, recipe: Callable[[str], dict] | None = None
) -> Standing:
    """Compares a workdir's metrics with a reference, by default the one that fits best. recipe:
    a reference's name -> the configuration of its recipe, for the settings that it does not store.

    Raises InputError if the workdir is none, or shares no metric or update with the reference.
    """
    if not (workdir / "config.json").is_file():
        raise InputError(f"{workdir} is no training workdir: it has no config.json")
    try:
        config = read_json(workdir / "config.json")
        chosen = name or choose(config)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{workdir}: no training workdir ({error})") from error
    if chosen not in RECIPES:
        raise InputError(f"--reference {chosen!r} is not known; use one of {', '.join(RECIPES)}")
    reference, records = load(chosen), read_run(workdir).records
    by_metric = {metric: curve(records, reference, metric) for metric in SHOWN}
    curves = {metric: one for metric, one in by_metric.items() if one is not None}
    rows = [row for metric, one in curves.items() for row in _rows(metric, one)]
    if not rows:
        raise InputError(f"{workdir}: {_nothing_shared(list(curves.values()), chosen)}")
    theirs = (deciding(recipe(chosen)) if recipe else {}) | reference.config
    mine = deciding(config)
    compared = theirs | mine if recipe else theirs
    differs = {
        path: (mine.get(path), theirs.get(path))
        for path in compared
        if json.dumps(mine.get(path)) != json.dumps(theirs.get(path))
    }
    return Standing(reference, rows, curves, differs, _negatives(config))


def _nothing_shared(curves: list[Curve], name: str) -> str:
    """Why a run cannot be held against a reference."""
    if not curves:
        return f"has no metric that reference {name} has; name another one by --reference"
    mine, theirs = (
        f"{min(steps[0] for steps in each):.0f} to {max(steps[-1] for steps in each):.0f}"
        for each in ([c.steps for c in curves], [c.reference_steps for c in curves])
    )
    return (
        f"its figures are of updates {mine}, those of reference {name} of {theirs}: train on, or "
        "name another one by --reference"
    )


def _negatives(config: dict) -> int:
    objective = config.get("objective")
    number = objective.get("num_negatives", 100) if isinstance(objective, dict) else 0
    return number if isinstance(number, int) and number > 0 else 0


def table(standing: Standing) -> str:
    """The lines to print."""
    lines = [f"reference {standing.reference.name}: {standing.reference.about}"]
    for path, (mine, theirs) in standing.differs.items():
        here, there = ("not set" if value is None else value for value in (mine, theirs))
        lines.append(f"  differs: config.{path} is {here} here, {there} there")
    lines.append(f"{'metric':<22}{'update':>8}{'run':>10}{'reference':>24}")
    for row in standing.rows:
        band = f"{row.low:.4g} .. {row.high:.4g}"
        lines.append(f"{row.metric:<22}{row.step:>8}{row.value:>10.4g}{band:>24}  {row.verdict}")
    return "\n".join(lines)


def figure(standing: Standing, path: Path, title: str, *, made: str = "") -> None:
    """A PNG with one panel per metric: the references' seeds and their span, the run above. made:
    date and code, which stand below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(standing.curves))
    lines = -(-len(standing.curves) // columns)
    drawing = Figure(figsize=(4.2 * columns, 2.8 * lines), layout="constrained")
    FigureCanvasAgg(drawing)
    grid = drawing.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(standing.curves) :]:
        axes.set_axis_off()
    for axes, (metric, one) in zip(grid, standing.curves.items(), strict=False):
        low, high = one.reference.min(0), one.reference.max(0)
        axes.fill_between(one.reference_steps, low, high, color="#888888", alpha=0.25, lw=0)
        for seed in one.reference:
            axes.plot(one.reference_steps, seed, color="#888888", lw=0.8)
        axes.plot(one.steps, one.values, color="#c02020", lw=1.6)
        axes.set_title(f"{metric} ({SHOWN[metric][0]})", fontsize=9)
        axes.set_xlabel("update", fontsize=8)
        if metric == "contrastive_accuracy" and standing.negatives:
            axes.axhline(1 / (standing.negatives + 1), color="#777777", ls="--", lw=1)
            axes.set_ylabel(f"dashed: chance, 1/{standing.negatives + 1}", fontsize=8)
        axes.tick_params(labelsize=7)
    drawing.suptitle(f"{title} (red) and {standing.reference.name} (grey)", fontsize=10)
    drawing.supxlabel(made, fontsize=7, color="#777777")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)
