"""A self-contained HTML file: its style, tables and players.

It has no script, and a content policy forbids every request, whatever its texts contain.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data:"
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222;
background:#fff}h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2.2rem;padding-top:1rem;
border-top:1px solid #ddd}table{border-collapse:collapse;margin:.6rem 0}th,td{padding:.2rem .7rem;
text-align:right;border-bottom:1px solid #eee}th:first-child,td:first-child{text-align:left}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:1rem}
.columns{display:flex;flex-wrap:wrap;gap:2.5rem}svg{width:100%;height:auto}.bar{fill:#2166ac}
.grid{stroke:#e4e4e4}.whisker{stroke:#111;stroke-width:1.6}.title{font-weight:600;font-size:14px}
.tick,.label,.axis{font-size:11px;fill:#555}.tick{text-anchor:end}
.axis{text-anchor:middle}article{margin:1rem 0;
padding:.7rem .9rem;border:1px solid #e2e2e2;border-radius:.4rem}audio{width:100%;height:2.2rem}
.pair{display:inline-block;vertical-align:top;margin:0 .3rem .3rem 0;text-align:center}
.pair b,.pair i{display:block;font-weight:400;font-style:normal;min-height:1.4em;padding:0 .15rem}
.sub i{background:#fbe0c8}.ins i{background:#cfe6f7}.del b{background:#f6cccc}
.note{color:#666;font-size:.9rem}.wide{overflow-x:auto}.columns>div{min-width:0}
article,td,h1{overflow-wrap:anywhere}.texts td{text-align:left;min-width:5rem}
@media(max-width:40rem){body{margin:1rem auto;font-size:14px}
th,td{padding:.2rem .4rem}.columns{gap:1rem}}
"""


def document(title: str, body: str) -> str:
    """The whole file; body: HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: bool = False) -> str:
    """Cells are HTML already. A table that is wider than the screen scrolls in its own box.
    texts: cells are sentences and names rather than numbers."""
    cells = lambda row, tag: "".join(f"<{tag}>{cell}</{tag}>" for cell in row)  # noqa: E731
    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    kind = " class=texts" if texts else ""
    return f"<div class=wide><table{kind}><tr>{cells(head, 'th')}</tr>{lines}</table></div>"


def player(samples: np.ndarray) -> str:
    """An `<audio>` that holds int16 samples [S] at 16 kHz as FLAC."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<audio controls preload="metadata" src="data:audio/flac;base64,{data}"></audio>'
