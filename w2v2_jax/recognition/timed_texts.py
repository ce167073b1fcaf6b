"""Texts with times, from files of other programs: SubRip and WebVTT subtitles, NIST's CTM.

Praat's TextGrid is in `textgrid`.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.recognition import textgrid
from w2v2_jax.texts import text_lines

CLOCK = r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"\s*{CLOCK}\s*-->\s*{CLOCK}(?:\s.*)?$")
MARKUP = re.compile(r"<[^<>\n]*>|\{\\[^{}\n]*\}")
VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]+)>")
SOUNDS = re.compile(r"\[[^\[\]]*\]|[♪♫][^♪♫]*[♪♫]?")  # of hearing-impaired subtitles
ASIDE = re.compile(r"\s*\([^()]*\)\s*$")
# What aligners and scorers write where no word is said: <eps>, <sil>, !SIL, (%hesitation).
NO_WORD = re.compile(r"<[^<>]*>|\(%[^()]*\)|!SIL")
ALTERNATIVES = re.compile(r"<ALT(_BEGIN|_END)?>", re.IGNORECASE)
PAUSE = 0.6  # seconds between two words that end a segment
LONGEST = 20.0  # seconds of words that are put together


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
    start: float
    end: float
    text: str
    place: str


def subtitles(path: Path) -> list[TimedText]:
    """The cues of an SRT or VTT file, without markup and without descriptions of sounds (a cue that
    only describes a sound has an empty text). InputError with the line if times cannot be read."""
    lines = list(text_lines(path))
    heads = [number for number, line in enumerate(lines) if "-->" in line]
    if not heads:
        raise InputError(f"{path}: no subtitles (lines with -->) in this file")
    srt = path.suffix.lower() == ".srt"
    cues = []
    for number, following in zip(heads, [*heads[1:], len(lines)], strict=True):
        place, match = f"{path}:{number + 1}", TIMES.match(lines[number])
        if match is None:
            raise InputError(
                f"{place}: expected 00:00:01,000 --> 00:00:02,000, got {lines[number]!r}"
            )
        text = lines[number + 1 : following]
        if srt:  # a blank line ends no text; the next cue's number does
            last = next((k for k in reversed(range(len(text))) if text[k].strip()), -1)
            counted = following < len(lines) and last >= 0 and text[last].strip().isdigit()
            text = text[:last] if counted else text
        else:
            text = text[: next((k for k, line in enumerate(text) if not line.strip()), len(text))]
        times = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        cues.append(_cue(*times, "\n".join(text), place))
    return cues


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return whole + int(fraction) / 10 ** len(fraction)


def _cue(start: float, end: float, text: str, place: str) -> TimedText:
    voice = VOICE.search(text)
    plain = html.unescape(MARKUP.sub("", text))
    lines = (
        re.sub(r"^\s*[-\u2013\u2014]\s+", "", line) for line in SOUNDS.sub(" ", plain).split("\n")
    )
    said = " ".join(" ".join(lines).split())
    said = "" if ASIDE.fullmatch(said) else said
    return TimedText(start, end, said, place, voice[1].strip() if voice else "")


def ctm(path: Path) -> dict[str, list[TimedText]]:
    """Recording -> its segments, which are words of a channel joined up to a pause. If words are in
    several channels, each channel is a speaker, such as "talk#1". InputError with the line if it is
    not "recording channel start duration word"."""
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
        channels = words.setdefault(recording, {}).setdefault(channel, [])
        if not NO_WORD.fullmatch(word):
            channels.append(Word(*times, word, place))
    if not words:
        raise InputError(f"{path}: no words in this file")
    return {recording: _of_channels(recording, some) for recording, some in words.items()}


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
        near = before and word.start - before[-1].end < PAUSE
        if near and word.end - before[0].start <= LONGEST:
            before.append(word)
        else:
            groups.append([word])
    return [
        TimedText(g[0].start, max(w.end for w in g), " ".join(w.text for w in g), g[0].place)
        for g in groups
    ]


def praat(path: Path, tier: str | None = None) -> list[TimedText]:
    """The intervals of a TextGrid's tier that hold a text; words of a word tier are joined to
    segments. tier: its name, which may be omitted if only one tier is likely."""
    chosen = textgrid.choose(textgrid.read(path), tier, str(path))
    spans = [Word(*span, f"{path}: {chosen.name}") for span in chosen.intervals if span[2].strip()]
    if textgrid.is_of_words(chosen):
        return grouped(spans)
    return [TimedText(*span._replace(text=" ".join(span.text.split()))) for span in spans]


READERS: dict[str, Callable[[Path], list[TimedText]]] = {
    ".srt": subtitles,
    ".vtt": subtitles,
    ".textgrid": praat,
}
