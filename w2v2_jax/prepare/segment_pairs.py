"""Which text belongs to which recording: two files, or files of the same name in two folders."""

from __future__ import annotations

import os
import re
import string
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_absent
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.timed_texts import TimedText, ctm, praat, subtitles
from w2v2_jax.prepare.word_labels import ignore

# If there are several texts of the same name, the first of these suffixes is taken.
TEXT_SUFFIXES = (".textgrid", ".srt", ".vtt", ".ctm", ".txt")

SUBTITLES = (".srt", ".vtt")
WITH_TIMES = (".textgrid", ".ctm", *SUBTITLES)

LETTERS = string.ascii_uppercase
OTHERS = "segments of another recording in a CTM"
NO_TEXT, NO_RECORDING = "no text of its name", "no recording of its name"
RENAMED = "another name in a CTM, taken all the same"
# Many programs write 1 whatever they heard, also `w2v2 transcribe`.
FIRST_ALONE = "only channel 1 in a CTM, taken for the mean of all channels"


class Pair(NamedTuple):
    """name: the path within the folder, without suffix. text: a file of any kind. recording: the
    name that a CTM file gives the recording, None if there is no such name. shared: whether a CTM
    file is about other recordings too."""

    name: str
    audio: str
    text: Path
    recording: str | None = None
    shared: bool = False


def find_pairs(audio: str, text: str, unpaired: Tally) -> list[Pair]:
    """The recordings that have a text. `unpaired` collects the recordings without a text, the
    texts without a recording, and second files of a name. One CTM file may cover a whole folder of
    recordings.

    Raises InputError if there is no pair, or if the two options do not go together.
    """
    for option, path in (("--audio", audio), ("--text", text)):
        if reason := why_absent(path, "file or folder"):
            raise InputError(f"{option} {path}: {reason}")
        if not os.path.isfile(path) and not os.path.isdir(path):
            raise InputError(f"{option} {path}: not a plain file, such as a pipe; name a file")
    if os.path.isfile(audio) and os.path.isfile(text):
        return [Pair(Path(audio).stem, audio, Path(text), Path(audio).stem)]
    if os.path.isfile(audio):
        recordings = {Path(audio).stem: [audio]}
    else:
        recordings = _by_name(audio, AUDIO_SUFFIXES)
    if os.path.isfile(text) and text.lower().endswith(".ctm"):
        return _of_ctm(recordings, Path(text), unpaired)
    if os.path.isfile(text):
        raise InputError(f"--audio {audio} is a folder: name a folder of texts, or a .ctm file")
    return _of_folders(recordings, _by_name(text, TEXT_SUFFIXES), (audio, text), unpaired)


def _by_name(folder: str, suffixes: tuple[str, ...]) -> dict[str, list[str]]:
    """Path within the folder, without suffix -> its files, in the order of the suffixes."""
    named: dict[str, list[str]] = {}
    for directory, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if file.lower().endswith(suffixes) and not file.startswith("."):
                path = os.path.join(directory, file)
                stem = os.path.splitext(os.path.relpath(path, folder))[0]
                named.setdefault(stem, []).append(path)
    order = {suffix: place for place, suffix in enumerate(suffixes)}
    for files in named.values():
        files.sort(key=lambda file: order[os.path.splitext(file)[1].lower()])
    return named


def _of_folders(
    recordings: dict[str, list[str]],
    texts: dict[str, list[str]],
    places: tuple[str, str],
    unpaired: Tally,
) -> list[Pair]:
    pairs = []
    for name, files in recordings.items():
        for other in files[1:]:
            unpaired.add("a second recording of a name", other)
        if name not in texts:
            unpaired.add(NO_TEXT, files[0])
            continue
        pairs.append(Pair(name, files[0], Path(texts[name][0]), Path(name).name))
        for other in texts[name][1:]:
            unpaired.add("a second text of a name", other)
    for name in texts.keys() - recordings.keys():
        unpaired.add(NO_RECORDING, texts[name][0])
    if not pairs:
        raise InputError(
            f"--audio {places[0]} and --text {places[1]}: no file of one has the name of a file of "
            f"the other; texts end in {' '.join(TEXT_SUFFIXES)}"
        )
    return pairs


def _of_ctm(recordings: dict[str, list[str]], path: Path, unpaired: Tally) -> list[Pair]:
    named = set(ctm(path, unpaired.add))
    pairs = []
    for name, files in recordings.items():
        known = [called for called in (name, Path(name).name) if called in named]
        if known:
            pairs.append(Pair(name, files[0], path, known[0], shared=True))
        else:
            unpaired.add(NO_TEXT, files[0])
    for called in sorted(named - {pair.recording for pair in pairs}):
        unpaired.add(NO_RECORDING, f"{path}: {called}")
    if not pairs:
        raise InputError(f"{path}: names none of the recordings; it has {min(named)}")
    return pairs


def timed_text(pair: Pair, tier: str | None, unpaired: Tally) -> list[TimedText] | None:
    """The texts of a pair with their times, None for a running text. `unpaired` gets the rows of a
    CTM file that are of other recordings, or by another name of this one, and what was left out of
    the texts."""
    suffix = pair.text.suffix.lower()
    if suffix == ".ctm":
        remark = ignore if pair.shared else unpaired.add  # counted once, in `_of_ctm`
        return _of_recording(pair, ctm(pair.text, remark), unpaired)
    if suffix == ".textgrid":
        return praat(pair.text, tier, unpaired.add)
    return subtitles(pair.text, unpaired.add) if suffix in SUBTITLES else None


def by_channel(
    timed: list[TimedText], channels: int, unpaired: Tally
) -> dict[int | None, list[TimedText]]:
    """The texts of each channel, counted from 0, of a recording with so many; None: of the mean.

    Raises InputError for a channel that the recording lacks.
    """
    names = {text.channel for text in timed}
    if channels == 1 or names <= {""}:
        return {None: timed}
    if names == {"1"}:
        unpaired.add(FIRST_ALONE, timed[0].place, len(timed))
        return {None: timed}
    texts: dict[int | None, list[TimedText]] = {}
    for text in timed:
        texts.setdefault(_channel(text, channels), []).append(text)
    return texts


def _channel(text: TimedText, channels: int) -> int:
    """The channel that is called 1 or A, 2 or B ..., counted from 0."""
    name = text.channel.upper()
    number = int(name) if re.fullmatch("[0-9]{1,3}", name) else LETTERS.find(name) + 1
    if not 1 <= number <= channels:
        raise InputError(
            f"{text.place}: no channel {text.channel!r} in a recording with {channels}; "
            f"use 1 to {channels}, or A to {LETTERS[min(channels, len(LETTERS)) - 1]}"
        )
    return number - 1


def _of_recording(
    pair: Pair, recordings: dict[str, list[TimedText]], unpaired: Tally
) -> list[TimedText]:
    if pair.recording in recordings:
        others = () if pair.shared else sorted(recordings.keys() - {pair.recording})
        for called in others:
            detail = f"{pair.text}: {called}"
            unpaired.add(OTHERS, detail, len(recordings[called]))
        return recordings[pair.recording]
    if len(recordings) > 1:
        raise InputError(f"{pair.text}: no words of {pair.recording}, but of others")
    ((called, segments),) = recordings.items()
    unpaired.add(RENAMED, f"{pair.text}: {called} for {pair.recording}")
    return segments
