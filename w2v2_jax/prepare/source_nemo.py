"""NeMo's manifests: JSON lines with `audio_filepath`, `text`, `duration` and perhaps `offset`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import (
    Once,
    column,
    files_of,
    first_object,
    json_rows,
    nearby,
    needed,
    number,
    split_of_list,
    text_of,
)
from w2v2_jax.prepare.utterance import Clip, SourceOptions, Utterance

AUDIO = "audio_filepath"
SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


def recognise(place: Path) -> str:
    """The evidence for a NeMo manifest; "" if there is none."""
    for path in _manifests(place):
        return f"{path.name} has lines with {AUDIO}"
    return ""


def nemo(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The rows of a manifest, or of all manifests of a folder; the manifest's name gives the split.
    Audio may lie anywhere: relative paths begin at the manifest's folder or one above it.

    Raises InputError with the line if it is no JSON object, lacks audio_filepath, has an offset or
    duration that is no number, a channel_selector that is no channel, or contradicts another line
    about the same part of a file.
    """
    del options
    paths = _manifests(Path(place))
    if not paths:
        raise InputError(f"{place}: no JSON lines with {AUDIO} here")
    return (utterance for path in paths for utterance in _read(path, account))


def _manifests(place: Path) -> list[Path]:
    return [path for path in files_of(place, SUFFIXES) if AUDIO in first_object(path)]


def _read(path: Path, account: Account) -> Iterator[Utterance]:
    once, split = Once(account), split_of_list(path)
    for line, row in json_rows(path):
        at = f"{path}:{line}"
        named = needed(row, AUDIO, at)
        if not isinstance(named, str):
            raise InputError(f"{at}: {AUDIO} is {named!r}; it must be a path")
        start = number(row.get("offset") or 0, "offset", at)
        seconds = row.get("duration")
        seconds = None if seconds is None else number(seconds, "duration", at)
        text = text_of(row.get("text"), at, account)
        speaker, language = (
            text_of(row.get(name), at) if (name := column(row, role)) else None
            for role in ("speaker", "language")
        )
        name = named if not row.get("offset") else f"{named}:{start:g}+{seconds or 0:g}"
        channel = _channel(row.get("channel_selector"), at)
        name = name if channel is None else f"{name}#{channel + 1}"
        if once(name, (seconds, text, speaker, language), at):
            account.seen += 1
            clip = Clip(nearby(named, path.parent, at), start, seconds, channel)
            yield Utterance(name, clip, None, text, split, speaker, language)


def _channel(value: object, place: str) -> int | None:
    """The channel that a row names, from 0; None if none or their mean."""
    if value is None or value == "average":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{place}: channel_selector is {value!r}; it must be a number from 0")
    return value
