"""The recordings that a command line names (files, folders, lists), and names for outputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError


def expand(arguments: Sequence[str], lists: Sequence[str] = ()) -> dict[str, Path]:
    """Each file that the arguments name, once and in order -> its output's name without suffix.

    An argument is a file, a folder (the audio files in it and below, whose outputs keep its
    subfolders) or @LIST, a text file with one path per line, as are `lists`. A file that does not
    exist is included, and its reader reports it. Raises InputError for a list that cannot be read,
    a folder without audio, and "-".
    """
    names: dict[str, Path] = {}
    for argument in [*arguments, *(f"@{path}" for path in lists)]:
        if argument.startswith("@") and not os.path.exists(argument):
            for path in _listed(argument[1:]):
                names |= _named(path)
        else:
            names |= _named(argument)
    if not names:
        raise InputError("no file is named; give audio files, folders or @LIST")
    return names


def _named(argument: str) -> dict[str, Path]:
    if argument == "-":
        raise InputError("standard input is not read; give a file, a folder or @LIST")
    if not os.path.isdir(argument):
        return {argument: Path(Path(argument).name).with_suffix("")}
    files = sorted(_audio_below(argument))
    if not files:
        raise InputError(f"{argument}: no audio file in this folder ({' '.join(AUDIO_SUFFIXES)})")
    stems = Counter(file.with_suffix("") for file in files)
    # a.wav beside a.mp3: their outputs keep the suffix
    outputs = {f: f if stems[f.with_suffix("")] > 1 else f.with_suffix("") for f in files}
    return {str(Path(argument) / file): output for file, output in outputs.items()}


def _audio_below(folder: str) -> Iterable[Path]:
    """Audio files of a folder and those below it, relative to it; links are followed once."""
    seen: set[str] = set()

    def refuse(error: OSError):
        raise InputError(f"{error.filename}: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        if os.path.realpath(place) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        for name in files:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield Path(place, name).relative_to(folder)


def _listed(path: str) -> list[str]:
    """The paths in a list; a relative path starts at the current folder, or else at the list's."""
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"list {path}: {reason}; use UTF-8 text with one path per line") from error
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise InputError(f"list {path}: names no file")
    beside = [str(Path(path).parent / name) for name in paths]
    return [
        other if not os.path.exists(name) and os.path.exists(other) else name
        for name, other in zip(paths, beside, strict=True)
    ]
