"""Draws docs/picture.svg, the system of the paper in one picture: python docs/picture.py"""

from pathlib import Path

BOX = (
    '<rect x="{x}" y="{y}" width="{w}" height="44" rx="7" fill="{fill}" stroke="#44546a"/>'
    '<text x="{tx}" y="{ty}" class="name">{name}</text>'
    '<text x="{tx}" y="{uy}" class="shape">{shape}</text>'
)
WIDTH, HEIGHT = 860, 236
BLUE, GREEN, ORANGE, GREY = "#dce9f7", "#dff0dc", "#fbe6cf", "#eeeeee"
BOXES = (
    # x, y, width, name, shape, colour
    (10, 96, 112, "waveform", "[B, S] 16 kHz", GREY),
    (152, 96, 132, "feature encoder", "7 convolutions", BLUE),
    (314, 96, 118, "features z", "[B, T, 512] 50 Hz", BLUE),
    (466, 30, 120, "span mask", "49 % of frames", ORANGE),
    (616, 30, 132, "Transformer", "context c [B, T, D]", BLUE),
    (466, 162, 120, "quantizer", "2 x 320 entries", GREEN),
    (616, 162, 132, "targets q", "Gumbel-softmax", GREEN),
)
ARROWS = (
    ((122, 118), (152, 118)),
    ((284, 118), (314, 118)),
    ((432, 110), (466, 58)),
    ((432, 126), (466, 178)),
    ((586, 52), (616, 52)),
    ((586, 184), (616, 184)),
    ((682, 74), (682, 96)),
    ((682, 162), (682, 140)),
)


def box(x: int, y: int, width: int, name: str, shape: str, fill: str) -> str:
    middle = x + width / 2
    return BOX.format(
        x=x, y=y, w=width, fill=fill, tx=middle, ty=y + 19, uy=y + 35, name=name, shape=shape
    )


def arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="arrow"/>'


def picture() -> str:
    """The SVG as text."""
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle;fill:#1f2a38}"
        ".name{font-size:14px}.shape{font-size:11px;fill:#5a6675}"
        ".arrow{stroke:#44546a;stroke-width:1.4;marker-end:url(#tip)}"
    )
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#44546a"/></marker>'
    )
    loss = (
        '<rect x="596" y="96" width="172" height="44" rx="7" fill="#fff" stroke="#b03a2e"/>'
        '<text x="682" y="115" class="name">contrastive + diversity</text>'
        '<text x="682" y="131" class="shape">which of 101 is it?</text>'
    )
    ctc = (
        '<rect x="782" y="30" width="68" height="44" rx="7" fill="#fff" stroke="#b03a2e"/>'
        '<text x="816" y="49" class="name">CTC</text>'
        '<text x="816" y="65" class="shape">fine-tuning</text>'
    )
    parts = [box(*values) for values in BOXES] + [arrow(*ends) for ends in ARROWS]
    parts += [loss, ctc, arrow((748, 52), (782, 52))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="From a waveform to features; masked features through the Transformer to '
        'context, features through the quantizer to targets; the contrastive loss compares them">'
        f"<style>{style}</style><defs>{tip}</defs>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".svg")
    path.write_text(picture(), "utf-8")
    print(f"wrote {path}")
