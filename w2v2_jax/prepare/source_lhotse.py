"""Lhotse's manifests: cuts, or recordings with their supervisions, as JSON lines."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import (
    Once,
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

SUFFIXES = (".jsonl", ".jsonl.gz")


def recognise(place: Path) -> str:
    """The evidence for lhotse; "" if there is none."""
    every = _manifests(place)
    shown = [f"{path.name} holds {kind}" for kind, paths in every.items() for path in paths]
    return ", ".join(shown[:2])


def lhotse(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """One utterance for each supervision, and for each cut or recording that has none. Reads all
    cuts of a folder, or if there are none its recordings and supervisions, or one such file. The
    file's name gives the split.

    What cannot be read directly is passed over with the reason: mixed cuts, recordings that come
    from a command, and those whose speed or volume is to be changed. Raises InputError with the
    line for a row of another form.
    """
    del options
    every = _manifests(Path(place))
    if every["cuts"]:
        for path in (*every["recordings"], *every["supervisions"]):
            account.pass_over("the cuts hold it", path.name)
        return (u for path in every["cuts"] for u in _cuts(path, account))
    if not every["recordings"]:
        raise InputError(f"{place}: no cuts and no recordings of lhotse (.jsonl, .jsonl.gz)")
    return _pairs(every["recordings"], every["supervisions"], account)


def _manifests(place: Path) -> dict[str, list[Path]]:
    """The manifests, grouped by the kind of their rows."""
    every: dict[str, list[Path]] = {"cuts": [], "recordings": [], "supervisions": []}
    for path in files_of(place, SUFFIXES):
        row = first_object(path)
        if "recording_id" in row and "start" in row:
            every["supervisions"].append(path)
        elif "sources" in row and "sampling_rate" in row:
            every["recordings"].append(path)
        elif "type" in row or {"supervisions", "recording", "start"} <= set(row):
            every["cuts"] += [path] if str(row.get("type", "Cut")).endswith("Cut") else []
    return every


def _cuts(path: Path, account: Account) -> Iterator[Utterance]:
    once, split = Once(account), split_of_list(path)
    for line, cut in json_rows(path):
        at = f"{path}:{line}"
        name = str(needed(cut, "id", at))
        kind = cut.get("type", "MonoCut")
        recording = cut.get("recording")
        if kind not in ("MonoCut", "MultiCut") or not isinstance(recording, dict):
            reason = "cut without a recording" if kind in ("MonoCut", "MultiCut") else kind
            account.pass_over(f"lhotse: {reason}", name)
            continue
        start = number(needed(cut, "start", at), "start", at)
        seconds = number(needed(cut, "duration", at), "duration", at)
        spans = cut.get("supervisions") or []
        whole = [{"id": name, "start": 0, "duration": seconds}]
        for span in spans or whole:
            own = name if len(spans) < 2 else str(needed(span, "id", at))
            channel: Any = span.get("channel", cut.get("channel"))
            inner = Clip(
                "",
                start + number(span.get("start", 0), "start", at),
                number(needed(span, "duration", at), "duration", at),
                channel,
            )
            yield from _utterance(own, span, recording, inner, split, once, path, at, account)


def _pairs(
    recordings: list[Path], supervisions: list[Path], account: Account
) -> Iterator[Utterance]:
    spans = collections.defaultdict(list)
    for path in supervisions:
        for line, span in json_rows(path):
            at = f"{path}:{line}"
            spans[str(needed(span, "recording_id", at))].append((span, at))
    once = Once(account)
    for path in recordings:
        split = split_of_list(path)
        for line, recording in json_rows(path):
            at = f"{path}:{line}"
            name = str(needed(recording, "id", at))
            for span, place in spans.pop(name, None) or [({"id": name}, at)]:
                start = number(span.get("start", 0), "start", place)
                seconds = span.get("duration")
                seconds = None if seconds is None else number(seconds, "duration", place)
                clip = Clip("", start, seconds, span.get("channel"))
                own = str(needed(span, "id", place))
                yield from _utterance(own, span, recording, clip, split, once, path, place, account)
    for name, left in spans.items():
        for _, at in left:
            account.pass_over("lhotse: supervision of no recording", f"{at}: {name}")


def _utterance(
    name: str,
    span: dict,
    recording: dict,
    clip: Clip,
    split,
    once: Once,
    path: Path,
    at: str,
    account: Account,
) -> Iterator[Utterance]:
    """The utterance of a span, or none if its recording cannot be read."""
    source, reason = _source(recording, clip.channel, at)
    if source is None:
        account.pass_over(f"lhotse: {reason}", name)
        return
    clip = clip._replace(path=nearby(source, path.parent, at), channel=_channel(recording, clip))
    text = text_of(span.get("text"), at, account)
    speaker, language = (text_of(span.get(key), at) for key in ("speaker", "language"))
    if once(name, (clip, text, speaker, language), at):
        account.seen += 1
        yield Utterance(name, clip, None, text, split, speaker, language)


def _source(recording: dict, channel: Any, at: str) -> tuple[str | None, str]:
    """The file of the recording that has the channel, or the reason why it cannot be read."""
    sources = needed(recording, "sources", at)
    if not isinstance(sources, list) or not all(isinstance(s, dict) for s in sources):
        raise InputError(f"{at}: sources is {sources!r:.80}; it must be a list of objects")
    if recording.get("transforms"):
        return None, "recording to be transformed"
    fitting = [s for s in sources if channel is None or channel in (s.get("channels") or [channel])]
    chosen = (fitting or sources or [{}])[0]
    if chosen.get("type") != "file" or not isinstance(chosen.get("source"), str):
        return None, f"source of the type {chosen.get('type')}"
    return chosen["source"], ""


def _channel(recording: dict, clip: Clip) -> int | None:
    """The channel's index in its file, from 0; None if the file has a single channel, or if several
    channels are wanted."""
    if isinstance(clip.channel, bool) or not isinstance(clip.channel, int):
        return None
    for source in recording["sources"]:
        channels = source.get("channels") or []
        if clip.channel in channels:
            return channels.index(clip.channel) if len(channels) > 1 else None
    return clip.channel
