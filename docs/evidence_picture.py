"""Draws docs/results/evidence/ten_minutes.svg, error rates with ten minutes of labels, from the
stored rates beside it: python docs/evidence_picture.py"""

import json
from pathlib import Path

from w2v2_jax.evaluation import svg

RESULTS = Path(__file__).parent / "results" / "evidence"
# name, file, start; a bar each, in the order of the page's tables
BARS = (
    ("from scratch, the fine-tuning recipe", "cells", "scratch"),
    ("from scratch, from_scratch", "filterbank", "scratch"),
    ("wav2vec 2.0, five convolutions", "cells", "pretrain"),
    ("continuous targets, five convolutions", "changes", "continuous_targets_5000"),
    ("wav2vec 2.0, filterbank", "filterbank", "pretrain"),
    ("continuous targets, filterbank", "filterbank", "continuous_targets"),
    ("wav2vec 2.0, five, tuned strongly", "strong", "pretrain"),
    ("continuous targets, five, tuned strongly", "strong", "continuous_targets"),
    ("from scratch, smaller updates", "small_updates_ten", "scratch_8s"),
    ("wav2vec 2.0, smaller updates", "published", "pretrain"),
    ("continuous targets, smaller updates", "small_updates_ten", "continuous_targets_8s"),
)
WIDTH, LEFT, RIGHT, TOP, STEP = 860, 292, 60, 40, 30
GREY, BLUE = "#b9c0c9", "#5b8fc7"


def bar(number: int, name: str, rates: list[float], colour: str) -> str:
    """A bar of the mean, a point for each seed."""
    scale = (WIDTH - LEFT - RIGHT) / 80
    mean, y = sum(rates) / len(rates), TOP + STEP * number
    points = "".join(
        f'<circle cx="{LEFT + scale * rate:.1f}" cy="{y + 10}" r="3.5" fill="#27313d"/>'
        for rate in rates
    )
    return (
        f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{name}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{scale * mean:.1f}" height="20" fill="{colour}"/>{points}'
        f'<text x="{LEFT + scale * max(rates) + 10:.1f}" y="{y + 15}">{mean:.1f}</text>'
    )


def draw() -> str:
    """The picture, from the rates that are stored now."""
    height = TOP + STEP * len(BARS) + 8
    parts = [
        f'<text x="{LEFT}" y="24" font-weight="bold">character error rate in %, ten minutes of '
        "transcripts, each seed a point</text>",
    ]
    for number, (name, file, start) in enumerate(BARS):
        cells = json.loads((RESULTS / f"{file}.json").read_text())
        rates = [100 * c["cer"] for c in cells if (c["start"], c["labels"]) == (start, "10m")]
        parts.append(bar(number, name, rates, GREY if start.startswith("scratch") else BLUE))
    return svg.document(WIDTH, height, parts)


if __name__ == "__main__":
    (RESULTS / "ten_minutes.svg").write_text(draw())
