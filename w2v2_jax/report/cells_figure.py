"""Error rates by the amount of labels, a line for each start, as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2v2_jax.report.figure import COLOURS, STYLE

SUFFIXES = (".png", ".svg", ".pdf")
LINES = ("-", "--", ":", "-.")  # as many starts as a colour has kinds of lines, each its own marker
MARKERS = "osD^"
MOST_PANELS = 6  # of more sources, only the whole test set is drawn
ORDER = {"10m": 0, "1h": 1, "all": 2}  # further ones come after, by name


def panels_of(cells: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Source ("" is the whole test set, where there are none or too many to draw) -> its cells,
    with its rates."""
    sources = sorted({source for cell in cells for source in cell["sources"]})
    if not 0 < len(sources) <= MOST_PANELS:
        sources = [""]
    return {
        source: [
            cell | cell["sources"].get(source, {})
            for cell in cells
            if not source or source in cell["sources"]
        ]
        for source in sources
    }


def draw(cells: list[dict[str, Any]], path: Path, *, rate: str = "cer") -> None:
    """Writes one panel for each source: a point for each seed, a line through the means.

    cells: as `cells.read_cells` gives them. rate: one that they have; an infinite one is not drawn.
    path: its ending, one of SUFFIXES, chooses the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = sorted({c["labels"] for c in cells}, key=lambda name: (ORDER.get(name, 3), name))
    starts = sorted({c["start"] for c in cells}, key=lambda name: (name != "scratch", name))
    colours = [colour for name, colour in COLOURS.items() if name != "grey"]
    panels = panels_of(cells)
    with pyplot.rc_context(STYLE):
        size = dict(figsize=(5.5 * len(panels), 4), dpi=100, layout="constrained")
        figure, axes = pyplot.subplots(1, len(panels), sharey=True, squeeze=False, **size)
        for axis, (source, of_source) in zip(axes[0], panels.items(), strict=True):
            for number, start in enumerate(starts):
                values = {
                    k: [
                        100 * c[rate]
                        for c in of_source
                        if (c["start"], c["labels"]) == (start, name)
                    ]
                    for k, name in enumerate(labels)
                }
                values = {k: found for k, found in values.items() if found}
                means = [sum(found) / len(found) for found in values.values()]
                colour = colours[number % len(colours)]
                kind = number // len(colours) % len(LINES)
                look = dict(color=colour, lw=2, ls=LINES[kind], marker=MARKERS[kind])
                axis.plot(list(values), means, label=start, **look)
                for k, found in values.items():
                    axis.scatter([k] * len(found), found, color=colour, s=14, alpha=0.6)
            axis.set(title=source or "test", xlabel="transcribed speech")
            axis.set_xticks(range(len(labels)), labels)
        axes[0][0].set_ylabel(f"{rate.upper()} %")
        axes[0][0].legend()
        figure.savefig(path)
        pyplot.close(figure)
