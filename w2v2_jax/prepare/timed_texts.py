"""Texts with times, from files of other programs: SubRip and WebVTT subtitles, NIST's CTM.

Praat's TextGrid is in `textgrid`.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.decode.spelling import STAR_WORD
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import textgrid
from w2v2_jax.prepare.word_labels import Remark, ignore, said, said_in, starred
from w2v2_jax.texts import text_lines

CLOCK = r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"\s*{CLOCK}\s*-->\s*{CLOCK}(?:\s.*)?$")
# Only what looks like a tag: "a < b then c > d" and "5 < 6 and 7 > 3" are words.
MARKUP = re.compile(
    rf"(?!{STAR_WORD})</?[a-z][a-z0-9_-]*(?:\.[^\s<>]*)?\s*/?>"
    r"|<(?:font|span|p|div)\s[^<>\n=]*=[^<>\n]*>"
    r"|<(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}>|</>|\{\\[^{}\n]*\}",
    re.IGNORECASE,
)
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# WebVTT's start tags with an annotation: the name of a voice, a language.
ANNOTATED = re.compile(r"<(v|lang)(?:\.[^\s<>]*)?\s([^<>]*)>", re.IGNORECASE)
SOUNDS = re.compile(r"\[[^\[\]]*\]|[♪♫][^♪♫]*[♪♫]?")  # of hearing-impaired subtitles
ASIDE = re.compile(r"\s*\([^()]*\)\s*$")
ALTERNATIVES = re.compile(r"<ALT(_BEGIN|_END)?>", re.IGNORECASE)
UNSURE = ("NA", "-")  # in place of a confidence
PAUSE = 0.6  # seconds between two words that end a segment
LONGEST = 20.0  # seconds of words that are put together
ADJOINING = 0.1  # seconds between two cues, at most, of captions that roll
EXACT = 1e-6  # seconds: differences of decimal numbers are not exact
VOICES = "a cue of several speakers, taken without a speaker"
REPEATED = "lines repeated from the cue before, left out"
KEPT = "lines repeated from the cue before, kept: most cues repeat none"


class TimedText(NamedTuple):
    """A text and its times in seconds; place: file:line, for errors and reports. channel: its name
    in a CTM file, "" elsewhere."""

    start: float
    end: float
    text: str
    place: str
    speaker: str = ""
    channel: str = ""


class Word(NamedTuple):
    """start, end: in seconds. place: file:number."""

    start: float
    end: float
    text: str
    place: str


class Cue(NamedTuple):
    """lines: those with a text."""

    start: float
    end: float
    lines: list[str]
    place: str
    speaker: str


def subtitles(path: Path, remark: Remark = ignore) -> list[TimedText]:
    """The cues of an SRT or VTT file, without markup, without descriptions of sounds (a cue that
    only describes a sound has an empty text) and, in captions that roll, without the lines that
    repeat the cue before. InputError with the line if times cannot be read."""
    lines = list(text_lines(path))
    heads = [number for number, line in enumerate(lines) if "-->" in line]
    if not heads:
        raise InputError(f"{path}: no subtitles (lines with -->) in this file")
    cues = []
    for number, following in zip(heads, [*heads[1:], len(lines)], strict=True):
        place, match = f"{path}:{number + 1}", TIMES.match(lines[number])
        if match is None:
            raise InputError(
                f"{place}: expected 00:00:01,000 --> 00:00:02,000, got {lines[number]!r}"
            )
        text = lines[number + 1 : following]
        if path.suffix.lower() != ".srt" and "" in text:  # a line of a space ends no text
            text = text[: text.index("")]
        elif following < len(lines):  # a blank line of an SRT ends none; the next cue's number does
            last = next((k for k in reversed(range(len(text))) if text[k].strip()), -1)
            text = text[:last] if last >= 0 and text[last].strip().isdigit() else text
        times = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        webvtt = path.suffix.lower() != ".srt"
        voices, words = _voices("\n".join(text), webvtt=webvtt)
        cues.append(_cue(*times, words, place, voices, remark))
    return _unrolled(cues, remark)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return whole + int(fraction) / 10 ** len(fraction)


def _voices(text: str, *, webvtt: bool) -> tuple[set[str], str]:
    """The names of the voices of a cue, and its text without their tags and those of languages. In
    WebVTT `<v and w>` is a voice; in SubRip, which has no such tag, only if `</v>` ends it."""
    voices: set[str] = set()

    def taken(tag: re.Match) -> str:
        name = tag[1].lower()
        if not webvtt and f"</{name}>" not in text[tag.end() :].lower():
            return tag[0]
        if name == "v" and tag[2].strip():
            voices.add(html.unescape(tag[2].strip()))
        return " " if name == "v" else ""  # no space need be between two voices

    return voices, ANNOTATED.sub(taken, text)


def _cue(start: float, end: float, text: str, place: str, voices: set[str], remark: Remark) -> Cue:
    if len(voices) > 1:
        remark(VOICES, place)
    plain = html.unescape(MARKUP.sub("", starred(BREAK.sub("\n", text))))
    lines = (
        re.sub(r"^\s*[-\u2013\u2014]\s+", "", line) for line in SOUNDS.sub(" ", plain).split("\n")
    )
    said = [words for line in lines if (words := " ".join(line.split()))]
    if ASIDE.fullmatch(" ".join(said)):
        said = []
    return Cue(start, end, said, place, voices.pop() if len(voices) == 1 else "")


def _unrolled(cues: list[Cue], remark: Remark) -> list[TimedText]:
    """The texts of cues. Captions that roll show a line again, above the next; where at least half
    of the cues that adjoin another repeat it, the repeated lines are left out, and cues of nothing
    else too. Elsewhere the same may have been said twice."""
    repeats, adjoining = [0] * len(cues), 0
    for number, (before, cue) in enumerate(itertools.pairwise(cues), 1):
        if not (before.lines and cue.lines and cue.start <= before.end + ADJOINING):
            continue
        adjoining += 1
        most = min(len(before.lines), len(cue.lines))
        same = (k for k in range(most, 0, -1) if cue.lines[:k] == before.lines[-k:])
        repeats[number] = next(same, 0)
    rolling = 2 * sum(map(bool, repeats)) >= adjoining
    texts = []
    for cue, repeated in zip(cues, repeats, strict=True):
        if repeated:
            remark(REPEATED if rolling else KEPT, f"{cue.place}: {cue.lines[0]}")
        lines = cue.lines[repeated if rolling else 0 :]
        if lines or not cue.lines:
            said = " ".join(lines)
            texts.append(TimedText(cue.start, cue.end, said, cue.place, cue.speaker))
    return texts


def ctm(path: Path, remark: Remark = ignore) -> dict[str, list[TimedText]]:
    """Recording -> its segments, which are words of a channel joined up to a pause. If words are in
    several channels, each channel is a speaker, such as "talk#1". InputError with the line if it is
    not "recording channel start duration word", with or without a confidence."""
    words: dict[str, dict[str, list[Word]]] = {}
    for number, line in enumerate(text_lines(path), 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        place = f"{path}:{number}"
        if any(map(ALTERNATIVES.fullmatch, fields)):
            raise InputError(f"{place}: {line!r}: alternatives are not read; keep one of them")
        try:
            recording, channel, start, seconds, word = fields[:5]
            times = float(start), float(start) + float(seconds)
        except ValueError:
            times = (math.nan, math.nan)
        if not (math.isfinite(sum(times)) and 0 <= times[0] <= times[1]):
            raise InputError(
                f"{place}: expected recording channel start duration word, got {line!r}"
            )
        if len(fields) > 5 and not _is_confidence(fields[5]):
            raise InputError(
                f"{place}: {fields[5]!r} is no confidence; expected one word per line, got {line!r}"
            )
        channels = words.setdefault(recording, {}).setdefault(channel, [])
        if word := said(word, place, remark):
            channels.append(Word(*times, word, place))
    if not words:
        raise InputError(f"{path}: no words in this file")
    return {recording: _of_channels(recording, some) for recording, some in words.items()}


def _is_confidence(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return field.upper() in UNSURE


def _of_channels(recording: str, channels: dict[str, list[Word]]) -> list[TimedText]:
    segments = [
        segment._replace(
            speaker=f"{recording}#{channel}" if len(channels) > 1 else "", channel=channel
        )
        for channel, words in channels.items()
        for segment in grouped(sorted(words))
    ]
    return sorted(segments)


def grouped(words: Iterable[Word]) -> list[TimedText]:
    """Words joined to segments, which end at a pause or after LONGEST seconds."""
    groups: list[list[Word]] = []
    for word in words:
        before = groups[-1] if groups else []
        near = before and word.start - before[-1].end < PAUSE - EXACT
        if near and word.end - before[0].start <= LONGEST + EXACT:
            before.append(word)
        else:
            groups.append([word])
    return [
        TimedText(g[0].start, max(w.end for w in g), " ".join(w.text for w in g), g[0].place)
        for g in groups
    ]


def praat(path: Path, tier: str | None = None, remark: Remark = ignore) -> list[TimedText]:
    """The intervals of a TextGrid's tier that hold a text; words of a word tier are joined to
    segments. tier: its name, which may be omitted if only one tier is likely."""
    chosen = textgrid.choose(textgrid.read(path), tier, str(path))
    place = f"{path}: {chosen.name}"
    spans = [
        Word(start, end, words, place)
        for start, end, text in chosen.intervals
        if (words := said_in(text, place, remark))
    ]
    return grouped(spans) if textgrid.is_of_words(chosen) else [TimedText(*s) for s in spans]
