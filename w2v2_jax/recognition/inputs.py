"""The recordings that a command line names (files, folders, lists), and names for outputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError, counted, report
from w2v2_jax.errors.absent import why_no_file

Refuse = Callable[[str, InputError], object]


def expand(
    arguments: Sequence[str], lists: Sequence[str] = (), *, on_error: Refuse | None = None
) -> dict[str, Path]:
    """Each file that the arguments name, once and in order -> its output's name without suffix.

    An argument is a file, a folder (the audio files in it and below, whose outputs keep its
    subfolders) or @LIST, a text file with one path per line, as are `lists`.

    on_error: called with what names no recording (a file that is not there, a list or folder that
    cannot be read, a folder without audio, "-") and the reason; the others are still used. Without
    it, or if there is nothing else, the InputError of the only or the first one is raised.
    """
    names: dict[str, Path] = {}
    refused: list[tuple[str, InputError]] = []

    def note(name: str, error: InputError) -> None:
        refused.append((name, error))

    for argument in [*arguments, *(f"@{path}" for path in lists)]:
        for path in _paths(argument, note):
            try:
                names |= _named(path, note)
            except InputError as error:
                note(path, error)
    if on_error is not None and (names or refused[1:]):
        for name, why in refused:
            on_error(name, why)
        if not names:
            conclude([name for name, _ in refused], len(refused))
    elif refused:
        raise refused[0][1]
    if not names:
        raise InputError("no file is named; give audio files, folders or @LIST")
    return names


def told(failed: list[str]) -> Refuse:
    """An `on_error` that prints the reason and adds the name to `failed`."""

    def refuse(name: str, error: InputError) -> None:
        failed.append(name)
        report(error)

    return refuse


def conclude(failed: Sequence[str], total: int) -> None:
    """Raises InputError if some of the `total` inputs failed, which `told` has named."""
    if failed:
        raise InputError(f"{len(failed)} of {counted(total, 'input')} cannot be used (see above)")


def _paths(argument: str, note: Refuse) -> list[str]:
    """The argument itself, or the paths of a list."""
    if not argument.startswith("@") or os.path.exists(argument):
        return [argument]
    try:
        return _listed(argument[1:])
    except InputError as error:
        note(argument, error)
        return []


def _named(argument: str, note: Refuse) -> dict[str, Path]:
    if argument == "-":
        raise InputError("standard input is not read; give a file, a folder or @LIST")
    if not os.path.isdir(argument):
        if why := why_no_file(argument):
            raise InputError(f"{argument}: {why}")
        return {argument: Path(Path(argument).name).with_suffix("")}
    files = sorted(_audio_below(argument, note))
    if not files:
        raise InputError(f"{argument}: no audio file in this folder ({' '.join(AUDIO_SUFFIXES)})")
    stems = Counter(file.with_suffix("") for file in files)
    # a.wav beside a.mp3: their outputs keep the suffix
    outputs = {f: f if stems[f.with_suffix("")] > 1 else f.with_suffix("") for f in files}
    return {str(Path(argument) / file): output for file, output in outputs.items()}


def _audio_below(folder: str, note: Refuse) -> Iterable[Path]:
    """Audio files of a folder and those below it, relative to it; links are followed once."""
    seen: set[str] = set()

    def refuse(error: OSError):
        note(str(error.filename), InputError(f"{error.filename}: {error.strerror}"))

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
