"""The quickstart's picture: learning curves, a mask over a spectrogram, codebook use."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.decode.alignment import SECONDS_PER_FRAME
from w2v2_jax.evaluation.runs import Run, series
from w2v2_jax.report.results import Results, Units

COLOURS = {"blue": "#2166ac", "red": "#c8552b", "green": "#3a8f5c", "grey": "#777777"}
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 10,
}


def _curve(axes, run: Run, metric: str, *, label: str, colour: str, scale: float = 1.0) -> None:
    """Training as a thin line, validation as a line with marks."""
    steps, values = series(run, "train", metric)
    valid_steps, valid_values = series(run, "valid", metric)
    if len(steps):
        text = label if not len(valid_steps) else f"{label}, train"
        axes.plot(steps, scale * values, color=COLOURS[colour], lw=1, alpha=0.55, label=text)
    if len(valid_steps):
        text = label if not len(steps) else f"{label}, validation"
        axes.plot(
            valid_steps, scale * valid_values, ".-", color=COLOURS[colour], lw=1.8, label=text
        )


def _finish(axes, title: str, unit: str, *, chance: tuple[float, str] | None = None) -> None:
    """Title, axes and a legend below them, where it covers no curve. chance: value and name of a
    dashed line."""
    if chance:
        axes.axhline(chance[0], color=COLOURS["grey"], ls="--", lw=1, label=chance[1])
    axes.set_title(title)
    axes.set(xlabel="update", ylabel=unit)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _draw_pretraining(panels: dict[str, Any], results: Results) -> None:
    run, candidates = results.pretrain, results.num_negatives + 1
    axes = panels["losses"]
    _curve(axes, run, "contrastive_loss", label="contrastive", colour="blue")
    _curve(axes, run, "diversity_loss", label="diversity", colour="red")
    _finish(
        axes,
        "Pretraining losses",
        "loss (contrastive: nats)",
        chance=(math.log(candidates), f"chance, ln {candidates}"),
    )
    axes = panels["accuracy"]
    _curve(axes, run, "contrastive_accuracy", label="accuracy", colour="blue")
    _finish(
        axes,
        "Contrastive accuracy",
        "share of masked frames",
        chance=(1 / candidates, f"chance, 1/{candidates}"),
    )
    axes = panels["perplexity"]
    _curve(axes, run, "code_perplexity", label="codes chosen", colour="blue")
    _curve(axes, run, "prob_perplexity", label="probabilities", colour="red")
    limit = (results.num_codes, f"all {results.num_codes} codes")
    _finish(axes, "Codebook perplexity", "codes", chance=limit)


def _draw_finetuning(panels: dict[str, Any], results: Results) -> None:
    for name, metric, scale in (("ctc", "loss", 1.0), ("cer", "cer", 100.0)):
        axes = panels[name]
        pair = (results.scratch, "from scratch", "red"), (results.finetuned, "pretrained", "blue")
        for run, label, colour in pair:
            _curve(axes, run, metric, label=label, colour=colour, scale=scale)
    _finish(panels["ctc"], "Fine-tuning: CTC loss", "nats per utterance")
    _finish(panels["cer"], "Fine-tuning: character error rate", "%")


def _draw_units(panels: dict[str, Any], units: Units) -> None:
    import librosa

    axes = panels["codes"]
    colours = itertools.cycle(COLOURS.values())
    for number, (counts, colour) in enumerate(zip(units.code_counts, colours, strict=False), 1):
        used = f"codebook {number}: {np.count_nonzero(counts)} of {len(counts)} used"
        ranks = np.arange(1, len(counts) + 1)
        axes.plot(ranks, np.sort(counts)[::-1], color=colour, lw=2, label=used)
    _finish(axes, "Codebook use", "times chosen")
    axes.set_xlabel("entry of each codebook, by rank")

    axes = panels["mask"]
    mel = librosa.feature.melspectrogram(
        y=units.waveform.astype(np.float32), sr=SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=80
    )
    decibels = 10 * np.log10(np.maximum(mel, mel.max() * 1e-7 + 1e-12))  # [80, frames]
    seconds = len(units.waveform) / SAMPLE_RATE
    axes.imshow(decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 80))
    edges = np.flatnonzero(np.diff(np.pad(units.mask.astype(int), 1))).reshape(-1, 2)
    for first, end in edges * SECONDS_PER_FRAME:
        axes.axvspan(first, end, color="white", alpha=0.55, lw=0)
    axes.set_title(f"Log-mel spectrogram of a test clip, {units.mask.mean():.0%} masked (pale)")
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds))
    axes.grid(False)


def draw(results: Results, path: Path, *, made: str = "") -> None:
    """Writes the figure: 1600 x 1200 pixels, or 1600 x 800 without the units. made: the date, code
    and data that are printed below it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    top = ["losses"] * 2 + ["accuracy"] * 2 + ["perplexity"] * 2
    rows = [top, ["ctc"] * 3 + ["cer"] * 3]
    if results.units is not None:
        rows = [top, ["ctc"] * 2 + ["cer"] * 2 + ["codes"] * 2, ["mask"] * 6]
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplot_mosaic(
            rows, figsize=(16, 4 * len(rows)), dpi=100, layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        _draw_pretraining(panels, results)
        _draw_finetuning(panels, results)
        if results.units is not None:
            _draw_units(panels, results.units)
        figure.supxlabel(made, fontsize=9, color=COLOURS["grey"])
        figure.savefig(path)
        pyplot.close(figure)
