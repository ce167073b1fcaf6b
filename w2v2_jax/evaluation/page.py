"""An evaluation as one self-contained HTML file: players, alignments, plots.

It has no script, and a content policy forbids every request, whatever a transcript contains.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from w2v2_jax.evaluation.document import document, player, table
from w2v2_jax.evaluation.rates import RATES, rates_shown
from w2v2_jax.evaluation.scoring import align
from w2v2_jax.evaluation.svg import bars

LONGEST_PLAYED = 120  # seconds of one utterance
SPEAKERS_PLOTTED = 20
LEGEND = (
    '<p class="note">Reference above, hypothesis below: <span class="sub"><i>substituted</i></span>'
    ', <span class="ins"><i>inserted</i></span>, <span class="del"><b>deleted</b></span>. '
    "The utterances with the most errors come first.</p>"
)


def percent(rate: float) -> str:
    """A rate in per cent."""
    return f"{100 * rate:.2f} %" if math.isfinite(rate) else "&infin;"


def page(result: dict[str, Any], splits: list[dict], read: Callable[[int, str], np.ndarray]) -> str:
    """The whole file. result: of `evaluate`, with "made", the date and code; splits: its objects;
    read: (number of the split, utterance id) -> its int16 samples."""
    body = [
        f"<h1>{html.escape(str(result['checkpoint']))}</h1>",
        f'<p class="note">{html.escape(_origin(result, splits))}</p>',
        _summary(splits),
    ]
    for number, split in enumerate(splits):
        body.append(_section(split, functools.partial(read, number)))
    return document("Evaluation", "".join(body))


def _origin(result: dict[str, Any], splits: list[dict]) -> str:
    """What was evaluated, on which data, when, and with which code."""
    step = [] if result["step"] is None else [f"step {result['step']}"]
    data = f"data {', '.join(split['data'] for split in splits)}"
    return ", ".join([*step, data, *filter(None, [result.get("made")])])


def _summary(splits: list[dict]) -> str:
    rows = []
    for split in splits:
        for rate in rates_shown(split):
            low, high = split[f"{rate}_interval"]
            errors = split[f"{RATES[rate]}_errors"]
            counts = [errors[k] for k in ("substitutions", "insertions", "deletions")]
            rows.append(
                [
                    html.escape(split["data"]),
                    rate.upper(),
                    percent(split[rate]),
                    f"{percent(low)} to {percent(high)}",
                    *map(str, counts),
                    str(errors["reference_length"]),
                    str(split["num_utterances"]),
                ]
            )
    head = [
        "data",
        "",
        "rate",
        "95 % interval",
        "substituted",
        "inserted",
        "deleted",
        "of",
        "utterances",
    ]
    return table(head, rows)


def _section(split: dict, read: Callable[[str], np.ndarray]) -> str:
    utterances = {u["id"]: u for u in split["utterances"]}
    missing = split.get("without_reference", 0)
    note = f"<p>{missing} utterances without a reference are not scored.</p>" if missing else ""
    if short := split.get("without_frames", 0):
        note += f"<p>{short} too short for one frame: the whole reference counts as deleted.</p>"
    shown = [_article(utterances[name], split["unit"], read) for name in split["worst"]]
    return (
        f"<h2>{html.escape(split['data'])}</h2>{note}"
        f"<div class=plots>{''.join(_plots(split))}</div>"
        f"{_confusions(split['confusions'])}{LEGEND}{''.join(shown) or '<p>No errors.</p>'}"
    )


def _plots(split: dict) -> list[str]:
    name = split["rate_name"].upper()
    plots = []
    bins = split["by_length"]
    labels = [f"{b['from_seconds']}-{b['to_seconds'] or ''} s" for b in bins]
    plots.append(_rates(name, "length of the utterance", labels, bins))
    speakers = split["by_speaker"][:SPEAKERS_PLOTTED]
    if len(speakers) > 1:
        which = " (worst)" if len(split["by_speaker"]) > len(speakers) else ""
        labels = [s["speaker"] for s in speakers]
        plots.append(_rates(name, f"speaker{which}", labels, speakers))
    values = [min(u["rate"], 1.0) for u in split["utterances"]]
    counts, _ = np.histogram(values, bins=11, range=(0, 1.1))
    labels = [*(f"{10 * k}-{10 * k + 9} %" for k in range(10)), "100 % up"]
    title = f"Utterances by {name}"
    plots.append(
        bars(title, labels, counts.tolist(), axes=(f"{name} of an utterance", "utterances"))
    )
    return plots


def _rates(name: str, by: str, labels: list[str], entries: list[dict]) -> str:
    values = [100 * e["rate"] for e in entries]
    intervals = [e["interval"] and tuple(100 * bound for bound in e["interval"]) for e in entries]
    title, axes = f"{name} by {by}, 95 % intervals", (by, f"{name}, %")
    return bars(title, labels, values, axes=axes, intervals=intervals, unit=" %")


def _confusions(analysis: dict) -> str:
    tables = []
    for kind, head in (
        ("substitutions", ["said", "heard", "times"]),
        ("insertions", ["inserted", "times"]),
        ("deletions", ["not heard", "times"]),
    ):
        rows = [[html.escape(str(cell)) for cell in row] for row in analysis[kind][:15]]
        if rows:
            tables.append(f"<div>{table(head, rows)}</div>")
    return f"<div class=columns>{''.join(tables)}</div>"


def _article(utterance: dict, unit: str, read: Callable[[str], np.ndarray]) -> str:
    said = f"{unit}s_reference"
    reference = utterance.get(said, utterance["reference"].split())
    hypothesis = utterance.get(f"{unit}s_hypothesis", utterance["hypothesis"].split())
    pairs = "".join(_pair(r, h) for r, h in align(reference, hypothesis))
    speaker = f", speaker {html.escape(utterance['speaker'])}" if utterance["speaker"] else ""
    note = f"{utterance['seconds']:.1f} s{speaker}, {percent(utterance['rate'])}"
    return (
        f"<article><b>{html.escape(utterance['id'])}</b> <span class=note>{note}</span>"
        f"{_player(utterance, read)}<div>{pairs}</div></article>"
    )


def _pair(reference: str | None, hypothesis: str | None) -> str:
    kind = "ok" if reference == hypothesis else "sub"
    kind = "ins" if reference is None else "del" if hypothesis is None else kind
    above, below = (
        html.escape(x) if x is not None else "&middot;" for x in (reference, hypothesis)
    )
    return f'<span class="pair {kind}"><b>{above}</b><i>{below}</i></span>'


def _player(utterance: dict, read: Callable[[str], np.ndarray]) -> str:
    if utterance["seconds"] > LONGEST_PLAYED:
        return f'<p class="note">longer than {LONGEST_PLAYED} s, not included</p>'
    return player(np.asarray(read(utterance["id"])))
