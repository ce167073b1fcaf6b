"""Kaldi's data directories: wav.scp, and perhaps segments, text, utt2spk, utt2lang."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import nearby, number, split_in_name
from w2v2_jax.prepare.utterance import Clip, SourceOptions, Utterance
from w2v2_jax.texts import optional_lines

RECORDINGS = "wav.scp"
CHANNELS = {"A": 0, "B": 1, "0": 0, "1": 1}


def recognise(place: Path) -> str:
    """The evidence for Kaldi; "" if there is none."""
    shown = [d.relative_to(place).as_posix() for d in _directories(place)]
    return f"{RECORDINGS} in {', '.join(shown[:3])}" if shown else ""


def kaldi(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The utterances of a data directory, or of those in it (`data/train`, `data/dev` ...), whose
    names are the splits. Without `segments` each recording is one utterance.

    Raises InputError with the line for a command in wav.scp (none is run), an archive, a line of
    another form, a segment of an unknown recording or two lines of one name that differ.
    """
    del options
    directories = _directories(Path(place))
    if not directories:
        raise InputError(f"{place}: no {RECORDINGS} here or in a folder of it")
    return (u for directory in directories for u in _read(directory, account))


def _directories(place: Path) -> list[Path]:
    if place.name == RECORDINGS and place.is_file():
        return [place.parent]
    if (place / RECORDINGS).is_file():
        return [place]
    patterns = (f"*/{RECORDINGS}", f"data/*/{RECORDINGS}")
    return sorted({path.parent for pattern in patterns for path in place.glob(pattern)})


def _read(directory: Path, account: Account) -> Iterator[Utterance]:
    recordings = _table(directory / RECORDINGS, account)
    texts, speakers, languages = (
        _table(directory / name, account) for name in ("text", "utt2spk", "utt2lang")
    )
    segments = directory / "segments"
    wanted = segments if os.path.lexists(segments) else directory / RECORDINGS
    split, used = split_in_name(directory.name), set()
    for name, (rest, line) in _table(wanted, account).items():
        at = f"{wanted}:{line}"
        if wanted == segments:
            audio: Clip | str = _segment(rest, recordings, directory, at)
            used.add(rest.split()[0])
        else:
            audio = _file(rest, directory, at)
        account.seen += 1
        if texts and name not in texts:
            account.remarks.add("no line in text", name)
        text, speaker, language = (
            table.pop(name, ("", 0))[0] or None for table in (texts, speakers, languages)
        )
        yield Utterance(name, audio, None, text, split, speaker, language)
    for name, (_, line) in texts.items():
        account.remarks.add("text: no such utterance", f"{directory / 'text'}:{line}: {name}")
    for name in recordings if wanted == segments else ():
        if name not in used:
            account.pass_over("no segment names it", f"{directory / RECORDINGS}: {name}")


def _table(path: Path, account: Account) -> dict[str, tuple[str, int]]:
    """Name -> the rest of its line, and the line's number."""
    table: dict[str, tuple[str, int]] = {}
    for line, content in enumerate(optional_lines(path), 1):
        name, *rest = content.split(None, 1) or [""]
        if not name:
            continue
        value = (rest[0].strip() if rest else "", line)
        first, before = table.setdefault(name, value)
        if first != value[0]:
            raise InputError(f"{path}:{line}: {name!r} has another line {before}; keep one")
        if before != line:
            account.remarks.add("line twice", f"{path}:{line}: {name}")
    return table


def _segment(rest: str, recordings: dict, directory: Path, at: str) -> Clip:
    fields = rest.split()
    if len(fields) not in (3, 4):
        raise InputError(f"{at}: expected utterance recording start end, got {rest!r}")
    recording, start = fields[0], number(fields[1], "the start", at)
    end = None if fields[2] == "-1" else number(fields[2], "the end", at)  # -1: the recording's
    if recording not in recordings:
        raise InputError(f"{at}: no recording {recording!r} in {RECORDINGS}")
    if end is not None and end <= start:
        raise InputError(f"{at}: the segment ends at {end:g} s and begins at {start:g} s")
    file, line = recordings[recording]
    path = _file(file, directory, f"{directory / RECORDINGS}:{line}")
    if len(fields) == 4 and fields[3] not in CHANNELS:
        raise InputError(f"{at}: channel {fields[3]!r}; use one of {', '.join(CHANNELS)}")
    channel = CHANNELS[fields[3]] if len(fields) == 4 else None
    return Clip(path, start, None if end is None else end - start, channel)


def _file(rest: str, directory: Path, at: str) -> str:
    plain = re.fullmatch(r"cat\s+(\S+)\s*\|", rest)
    path = plain[1] if plain else rest
    if path.endswith("|") or path.startswith("|"):
        raise InputError(
            f"{at}: {rest[:80]!r} is a command, which is not run; write the recordings as files "
            "(wav-copy) and name those"
        )
    if re.search(r"\.ark:\d+$", path):
        raise InputError(f"{at}: {path!r} is in an archive; write the recordings as files")
    return nearby(path, directory, at)
