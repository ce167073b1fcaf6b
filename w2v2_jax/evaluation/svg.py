"""Bar charts as inline SVG, and whole SVG files: no library, no script, nothing fetched."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 8, 30, 76


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to at least the largest value, some five of them."""
    raw = (largest or 1.0) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
    return [k * step for k in range(math.ceil((largest or 1.0) / step) + 1)]


def document(width: int, height: int, parts: Iterable[str]) -> str:
    """A whole SVG file on white, for a page that shows it as a picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="14" fill="#27313d">'
    )
    return "".join(
        [head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>\n"]
    )


def bars(
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    axes: tuple[str, str] = ("", ""),
    intervals: Sequence[tuple[float, float] | None] = (),
    unit: str = "",
) -> str:
    """An `<svg>` of one bar per label; intervals are drawn as whiskers; infinite values are cut.

    axes: what the horizontal and the vertical axis show.
    """
    whiskers = intervals or [None] * len(values)
    tops = [v for v in (*values, *(w[1] for w in whiskers if w)) if math.isfinite(v)]
    ticks = _ticks(max(tops, default=1.0))
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = plot_width / max(len(labels), 1)

    def y(value: float) -> float:
        return TOP + plot_height * (1 - min(value, ticks[-1]) / ticks[-1])

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f'<text x="{LEFT}" y="18" class="title">{html.escape(title)}</text>',
        f'<text x="{LEFT + plot_width / 2:.1f}" y="{HEIGHT - 6}" class="axis">'
        f"{html.escape(axes[0])}</text>",
        f'<text x="14" y="{TOP + plot_height / 2:.1f}" class="axis" transform="rotate(-90 14 '
        f'{TOP + plot_height / 2:.1f})">{html.escape(axes[1])}</text>',
    ]
    for tick in ticks:
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
            f'class="grid"/><text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" class="tick">'
            f"{tick:g}{html.escape(unit)}</text>"
        )
    for k, (label, value, whisker) in enumerate(zip(labels, values, whiskers, strict=True)):
        x, middle = LEFT + k * slot + slot * 0.15, LEFT + (k + 0.5) * slot
        parts.append(
            f'<rect x="{x:.1f}" y="{y(value):.1f}" width="{slot * 0.7:.1f}" '
            f'height="{TOP + plot_height - y(value):.1f}" class="bar"><title>'
            f"{html.escape(label)}: {value:.4g}{html.escape(unit)}</title></rect>"
        )
        if whisker:
            low, high = whisker
            parts.append(
                f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(low):.1f}" '
                f'y2="{y(high):.1f}" class="whisker"/>'
            )
        tilt = f'transform="rotate(-35 {middle:.1f} {HEIGHT - BOTTOM + 14})"' if slot < 60 else ""
        anchor = "end" if tilt else "middle"
        parts.append(
            f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 14}" class="label" '
            f'text-anchor="{anchor}" {tilt}>{html.escape(label[:14])}</text>'
        )
    return "".join([*parts, "</svg>"])
