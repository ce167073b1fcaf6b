"""Draws docs/results/evidence/hours_heard.svg, word error rates with ten minutes of labels against
the hours of audio that pretraining heard: python docs/hours_picture.py"""

import json
import math
from pathlib import Path

from w2v2_jax.evaluation import hours_heard, svg

RESULTS = Path(__file__).parent / "results" / "evidence"
# name, file, start, hours heard; a point for each seed
HERE = (
    ("wav2vec 2.0, five convolutions", "cells", "pretrain", 33.3),
    ("the same, tuned strongly", "strong", "pretrain", 33.3),
    ("continuous targets, tuned strongly", "strong", "continuous_targets", 33.3),
    ("wav2vec 2.0, one H200", "gpu_cells", "pretrain", 287),
)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 400, 60, 24, 40, 52
FIRST, LAST, HIGHEST = 10, 4e5, 120
COLOURS = ("#5b8fc7", "#27313d", "#c7645b", "#6aa56a")


def place(hours: float, rate: float) -> tuple[float, float]:
    across = (math.log10(hours) - math.log10(FIRST)) / (math.log10(LAST) - math.log10(FIRST))
    return (
        round(LEFT + (WIDTH - LEFT - RIGHT) * across, 1),
        round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - rate / HIGHEST), 1),
    )


def axes() -> list[str]:
    parts = []
    for rate in range(0, HIGHEST + 1, 20):
        _, y = place(FIRST, rate)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#e3e6ea"/>'
            f'<text x="{LEFT - 8}" y="{y + 5}" text-anchor="end">{rate}</text>'
        )
    for hours in (10, 100, 1000, 10_000, 100_000):
        x, y = place(hours, 0)
        parts.append(f'<text x="{x}" y="{y + 20}" text-anchor="middle">{hours:,}</text>')
    title = "word error rate in % without a language model, ten minutes of transcripts"
    below = "hours of audio heard in pretraining (with repetitions)"
    parts.append(f'<text x="{LEFT}" y="24" font-weight="bold">{title}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{below}</text>')
    return parts


def curves() -> list[str]:
    """The published points, test-clean filled and test-other hollow."""
    parts = []
    for point in hours_heard.PUBLISHED:
        for rate, fill in zip(point.ten_minutes, ("#b9c0c9", "white"), strict=True):
            x, y = place(point.hours, rate)
            parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{fill}" stroke="#8a939e"/>')
    return parts


def draw() -> str:
    """The picture, from the rates that are stored now."""
    parts = [*axes(), *curves()]
    names = [
        ("published BASE, LibriSpeech test-clean", "#b9c0c9"),
        ("the same, test-other", "white"),
    ]
    for (name, file, start, hours), colour in zip(HERE, COLOURS, strict=True):
        cells = json.loads((RESULTS / f"{file}.json").read_text())
        names.append((name, colour))
        for cell in cells:
            if (cell["start"], cell["labels"]) == (start, "10m"):
                x, y = place(hours, 100 * cell["wer"])
                parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')
    for number, (name, colour) in enumerate(names):
        y = HEIGHT - BOTTOM - 20 * (len(names) - number) + 4
        parts.append(
            f'<circle cx="{LEFT + 16}" cy="{y - 5}" r="5" fill="{colour}" stroke="#8a939e"/>'
            f'<text x="{LEFT + 28}" y="{y}">{name}</text>'
        )
    return svg.document(WIDTH, HEIGHT, parts)


if __name__ == "__main__":
    (RESULTS / "hours_heard.svg").write_text(draw())
