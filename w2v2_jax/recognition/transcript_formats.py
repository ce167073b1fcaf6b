"""Transcripts as text files of other programs: subtitles, NIST's CTM, Praat's TextGrid, JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from w2v2_jax.decode.alignment import Word
from w2v2_jax.paths import json_text
from w2v2_jax.recognition.transcript import Result

CUE_SECONDS = 6.0  # a subtitle's longest stay
CUE_PAUSE = 0.6  # a pause that ends a subtitle
CUE_LETTERS = 84  # two lines of 42


class Cue(NamedTuple):
    """A subtitle: its times in seconds and its one or two lines."""

    start: float
    end: float
    text: str


def cues(words: Sequence[Word]) -> list[Cue]:
    """Words grouped into subtitles: ended by a pause, by length or by time."""
    groups: list[list[Word]] = []
    for word in words:
        if groups:
            group = groups[-1]
            letters = sum(len(w.word) + 1 for w in group) + len(word.word)
            fits = letters <= CUE_LETTERS and word.end - group[0].start <= CUE_SECONDS
            if fits and word.start - group[-1].end < CUE_PAUSE:
                group.append(word)
                continue
        groups.append([word])
    return [Cue(g[0].start, g[-1].end, _two_lines([w.word for w in g])) for g in groups]


def _two_lines(words: list[str]) -> str:
    whole = " ".join(words)
    if len(whole) <= CUE_LETTERS // 2 or len(words) == 1:
        return whole
    halves = [(" ".join(words[:k]), " ".join(words[k:])) for k in range(1, len(words))]
    return "\n".join(min(halves, key=lambda pair: max(map(len, pair))))


def clock(seconds: float, separator: str) -> str:
    """HH:MM:SS and milliseconds after the separator."""
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{separator}{rest % 1000:03}"


def to_txt(result: Result) -> str:
    """The text, one line."""
    return result.text + "\n"


def to_json(result: Result) -> str:
    """Path, duration, text, words and characters with times and confidences."""
    return json_text(result.as_dict(), indent=1) + "\n"


def to_srt(result: Result) -> str:
    """SubRip subtitles."""
    return "".join(
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(cues(result.words), 1)
    )


def to_vtt(result: Result) -> str:
    """WebVTT subtitles; the three characters that mean markup there are escaped."""
    parts = ["WEBVTT\n"]
    for cue in cues(result.words):
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "".join(parts)


def to_ctm(result: Result) -> str:
    """NIST CTM: file, channel, start, duration, word, confidence (sclite reads it)."""
    name = "_".join(result.path.split()) or "-"
    return "".join(
        f"{name} 1 {w.start:.3f} {w.end - w.start:.3f} {w.word} {w.confidence:.4f}\n"
        for w in result.words
    )


def to_textgrid(result: Result) -> str:
    """Praat's TextGrid with one tier of words and one of characters, whole from 0 to the end."""
    last = max([result.duration, *(w.end for w in result.words)])
    tiers = [
        ("words", [(w.start, w.end, w.word) for w in result.words]),
        ("characters", [(c.start, c.end, c.character) for c in result.characters]),
    ]
    head = (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {last:.6f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    )
    return head + "".join(
        _tier(number, name, spans, last) for number, (name, spans) in enumerate(tiers, 1)
    )


def _tier(number: int, name: str, spans: list[tuple[float, float, str]], last: float) -> str:
    intervals: list[tuple[float, float, str]] = []
    reached = 0.0
    for start, end, label in spans:
        if start > reached:
            intervals.append((reached, start, ""))
        intervals.append((max(start, reached), end, label))
        reached = end
    if reached < last or not intervals:
        intervals.append((reached, last, ""))
    lines = [
        f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n'
        f"        xmin = 0\n        xmax = {last:.6f}\n        intervals: size = {len(intervals)}\n"
    ]
    for index, (start, end, label) in enumerate(intervals, 1):
        quoted = label.replace('"', '""')
        lines.append(
            f"        intervals [{index}]:\n            xmin = {start:.6f}\n"
            f'            xmax = {end:.6f}\n            text = "{quoted}"\n'
        )
    return "".join(lines)


FORMATS: dict[str, tuple[str, Callable[[Result], str]]] = {
    "txt": (".txt", to_txt),
    "json": (".json", to_json),
    "srt": (".srt", to_srt),
    "vtt": (".vtt", to_vtt),
    "ctm": (".ctm", to_ctm),
    "textgrid": (".TextGrid", to_textgrid),
}
