"""A prepared corpus as one HTML file: statistics, odd utterances with players, what splits share.

Its size is limited for any corpus: tables and players are limited in number, and plots have bins.
"""

from __future__ import annotations

import collections
import html
import unicodedata
from collections.abc import Sequence

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.evaluation.document import document, player, table
from w2v2_jax.evaluation.svg import bars
from w2v2_jax.prepare.explore_figures import (
    ODD,
    Figures,
    Place,
    Shared,
    alike_texts,
    characters,
    odd,
    same_audio,
    same_text,
)

MOST_SPLITS = 8  # with plots
MOST_ROWS = 25  # of a table
MOST_CHARACTERS = 120
RARE = 5  # occurrences
MOST_TEXT = 240  # letters shown of one text
PLAYED_SECONDS = 6.0  # of an utterance
AUDIO_BYTES = 3_500_000  # of all players together
BINS = 20


class _Players:
    """Makes players until the limit of bytes for all is reached."""

    def __init__(self, splits: Sequence[Figures]):
        self._splits, self._left = splits, AUDIO_BYTES

    def __call__(self, place: Place) -> str:
        corpus = self._splits[place.split].corpus
        length = min(int(corpus.num_samples[place.number]), int(PLAYED_SECONDS * SAMPLE_RATE))
        made = player(np.asarray(corpus.read(place.number, 0, length)))
        if len(made) > self._left:
            return '<p class="note">no player, as the page has reached its limit</p>'
        self._left -= len(made)
        return made


def explore_page(splits: Sequence[Figures], title: str, *, each: int) -> str:
    """The whole file. each: utterances shown of every kind of odd ones."""
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(splits),
        *(_plots(one) for one in splits[:MOST_SPLITS]),
        _speakers(splits),
        _languages(splits),
        _characters(splits),
        "<h2>Odd utterances</h2>",
        f'<p class="note">Players hold the first {PLAYED_SECONDS:g} s.</p>',
    ]
    play = _Players(splits)
    for kind in ODD:
        articles = [
            _article(splits, place, kind, value, play) for place, value in odd(splits, kind, each)
        ]
        if articles:
            body.append(f"<h3>{html.escape(kind)}</h3>{''.join(articles)}")
    body += [_same(splits), _alike(splits)]
    return document(title, "".join(body))


def _shown(text: str, most: int = MOST_TEXT) -> str:
    return html.escape(text if len(text) <= most else f"{text[:most]} ...")


def _summary(splits: Sequence[Figures]) -> str:
    rows = []
    for one in splits:
        with_text = sum(1 for text in one.texts if text)
        middle = np.percentile(one.seconds, [5, 50, 95]) if len(one.seconds) else [0, 0, 0]
        rows.append(
            [
                html.escape(one.corpus.split),
                str(len(one.texts)),
                f"{one.seconds.sum() / 3600:.2f}",
                str(with_text),
                str(len(set(one.speakers) - {""})),
                str(len(set(one.languages) - {""})),
                " / ".join(f"{x:.1f}" for x in middle),
            ]
        )
    head = [
        "split",
        "utterances",
        "hours",
        "with a text",
        "speakers",
        "languages",
        "seconds: 5 %, median, 95 %",
    ]
    more = len(splits) - MOST_SPLITS
    note = f'<p class="note">Plots are of the first {MOST_SPLITS} splits.</p>' if more > 0 else ""
    return table(head, rows) + note


def _plots(one: Figures) -> str:
    measured = ""
    if one.measured < len(one.texts):
        measured = f"measured on {one.measured} of {len(one.texts)}"
    known = (
        ("seconds of an utterance", one.seconds, ""),
        ("letters per second", one.letters_per_second, ""),
        ("level in dB (0: full scale)", one.level_db, ""),
        ("signal to noise in dB, estimated", one.snr_db, measured),
        ("bandwidth in Hz, estimated", one.bandwidth_hz, measured),
        ("share of samples at full scale, in thousandths", 1000 * one.clipped_share, measured),
    )
    plots = [
        _histogram(f"{name} {note}".strip(), values)
        for name, values, note in known
        if not np.isnan(values).all()
    ]
    name = html.escape(one.corpus.split)
    return f"<h2>{name}</h2><div class=plots>{''.join(plots)}</div>"


def _histogram(title: str, values: np.ndarray) -> str:
    """Utterances by a figure; the outer bins hold what lies beyond the 0.5 and 99.5 percentiles."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [0.5, 99.5])
    if high <= low:
        low, high = low, low + 1.0  # one bar, at the left
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    labels = [f"{edge:.3g}" if k % 4 == 0 else "" for k, edge in enumerate(edges[:-1])]
    return bars(title, labels, counts.tolist(), axes=(title, "utterances"))


def _by_name(splits: Sequence[Figures], names: str) -> list[tuple[str, int, float]]:
    """Name, utterances and hours, the most hours first."""
    counts: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    for one in splits:
        for name, length in zip(getattr(one, names), one.seconds.tolist(), strict=True):
            counts[name] += 1
            seconds[name] += length
    return [(name, counts[name], total / 3600) for name, total in seconds.most_common()]


def _named(splits: Sequence[Figures], names: str, title: str) -> str:
    known = _by_name(splits, names)
    if not any(name for name, *_ in known):
        return f"<h2>{title}</h2><p>The corpus names none.</p>"
    total = sum(hours for *_, hours in known)
    rows = [
        [
            html.escape(name) or "<i>not named</i>",
            str(count),
            f"{hours:.3f}",
            f"{100 * hours / max(total, 1e-9):.1f} %",
        ]
        for name, count, hours in known[:MOST_ROWS]
    ]
    more = len(known) - MOST_ROWS
    note = f'<p class="note">and {more} more</p>' if more > 0 else ""
    head = [title.lower()[:-1], "utterances", "hours", "of all"]
    return f"<h2>{title}</h2>{table(head, rows)}{note}"


def _speakers(splits: Sequence[Figures]) -> str:
    return _named(splits, "speakers", "Speakers")


def _languages(splits: Sequence[Figures]) -> str:
    return _named(splits, "languages", "Languages")


def _characters(splits: Sequence[Figures]) -> str:
    counted = characters(splits)
    if not counted:
        return "<h2>Characters</h2><p>No utterance has a text.</p>"
    shown = " ".join(f"<b>{html.escape(c)}</b>&nbsp;{n}" for c, n, _ in counted[:MOST_CHARACTERS])
    rare = [one for one in counted if one[1] <= RARE]
    rows = [
        [
            html.escape(c),
            f"U+{ord(c):04X} {unicodedata.name(c, 'no name').lower()}",
            str(n),
            html.escape(splits[place.split].corpus.id(place.number)),
            _shown(splits[place.split].texts[place.number], 80),
        ]
        for c, n, place in rare[-MOST_ROWS:]
    ]
    head = ["rare", "name", "times", "utterance", "its text"]
    told = (
        f"<p>{len(rare)} occur at most {RARE} times.</p>{table(head, rows, texts=True)}"
        if rows
        else ""
    )
    return f"<h2>Characters</h2><p>{len(counted)} different: {shown}</p>{told}"


def _article(splits: Sequence[Figures], place: Place, kind: str, value: float, play) -> str:
    one = splits[place.split]
    number = place.number
    name = ODD[kind][0].replace("_", " ")
    figure = "" if name == "seconds" else f", {name} {value:.4g}"
    speaker = f", speaker {html.escape(one.speakers[number])}" if one.speakers[number] else ""
    note = f"{html.escape(one.corpus.split)}, {one.seconds[number]:.1f} s{figure}{speaker}"
    return (
        f"<article><b>{html.escape(one.corpus.id(number))}</b> <span class=note>{note}</span>"
        f"{play(place)}<div>{_shown(one.texts[number])}</div></article>"
    )


def _called(splits: Sequence[Figures], place: Place) -> str:
    corpus = splits[place.split].corpus
    return html.escape(f"{corpus.split}: {corpus.id(place.number)}")


def _same(splits: Sequence[Figures]) -> str:
    parts = ["<h2>Duplicates and leaks</h2>"]
    for title, shared in (("audio", same_audio(splits)), ("text", same_text(splits))):
        across = [s for s in shared if len({p.split for p in s.places}) > 1]
        parts.append(
            f"<h3>The same {title}</h3><p>{len(shared)} times, {len(across)} of them in more than "
            f"one split.</p>{_shared_table(splits, shared) if shared else ''}"
        )
    return "".join(parts)


def _shared_table(splits: Sequence[Figures], shared: list[Shared]) -> str:
    rows = []
    for one in shared[:MOST_ROWS]:
        names = [splits[p.split].corpus.split for p in one.places]
        counts = ", ".join(f"{name} {n}" for name, n in collections.Counter(names).items())
        text = splits[one.places[0].split].texts[one.places[0].number]
        some = "<br>".join(_called(splits, place) for place in one.places[:3])
        rows.append([html.escape(counts), some, _shown(text, 120)])
    return table(["splits", "utterances, the first three", "text"], rows, texts=True)


def _alike(splits: Sequence[Figures]) -> str:
    pairs = alike_texts(splits)
    across = sum(1 for pair in pairs if pair.first.split != pair.second.split)
    rows = [
        [
            f"{100 * pair.similarity:.0f} %",
            f"{_called(splits, pair.first)}<br>{_called(splits, pair.second)}",
            f"{_shown(splits[pair.first.split].texts[pair.first.number], 120)}<br>"
            f"{_shown(splits[pair.second.split].texts[pair.second.number], 120)}",
        ]
        for pair in pairs[:MOST_ROWS]
    ]
    told = table(["alike", "utterances", "texts"], rows, texts=True) if rows else ""
    return (
        f"<h3>Almost the same text</h3><p>{len(pairs)} pairs, {across} of them in two splits.</p>"
        f"{told}"
    )
