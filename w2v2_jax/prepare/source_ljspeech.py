"""LJSpeech and corpora laid out like it: `metadata.csv` with fields separated by `|`, and wavs/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import Once, inside, text_of
from w2v2_jax.prepare.unlisted_files import pass_over_unlisted
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

LISTED = "metadata.csv"
FOLDERS = ("wavs", "wav", ".")


def recognise(place: Path) -> str:
    """The evidence for LJSpeech; "" if there is none."""
    path = place / LISTED if place.is_dir() else place
    if path.suffix != ".csv" or not path.is_file():
        return ""
    try:
        first = next((line for line in text_lines(path) if line.strip()), "")
    except InputError:
        return ""
    fields = first.split("|")
    likely = len(fields) in (2, 3) and len(fields[0].split()) == 1 and "," not in fields[0]
    return f"{path.name} has lines id|text|normalised text" if likely else ""


def ljspeech(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The rows of `metadata.csv`, `id|raw text[|normalised text]`; the recording is wavs/ID.wav.

    The text is the normalised one where a row has it. Recordings that no row names are passed over.
    Raises InputError for a row of another form or two texts of an id.
    """
    del options
    path = Path(place)
    path = path / LISTED if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; it must have lines id|text|normalised text")
    return _read(path, account, walked=Path(place).is_dir())


def _read(path: Path, account: Account, *, walked: bool) -> Iterator[Utterance]:
    _refuse_speakers(path)
    root, once, taken = path.parent, Once(account), set()
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        at, fields = f"{path}:{number}", [field.strip() for field in line.split("|")]
        if len(fields) not in (2, 3) or not fields[0]:
            raise InputError(f"{at}: expected id|text[|normalised text], got {line[:80]!r}")
        name = _file(root, inside(root, fields[0], at))
        text = text_of(fields[-1] or fields[1], at, account)
        if once(fields[0], text, at):
            account.seen += 1
            taken.add(name)
            yield Utterance(name, str(root / name), None, text)
    if walked:
        pass_over_unlisted(root, taken, account, read={path.name})


def _refuse_speakers(path: Path) -> None:
    """A third field with few distinct values is not a normalised text but a speaker."""
    rows = [line.split("|") for line in text_lines(path)]
    texts, thirds = ({row[k].strip() for row in rows if len(row) == 3} for k in (1, 2))
    if len(texts) > 1 and 2 * len(thirds) <= len(texts):
        raise InputError(
            f"{path}: the third field, such as {min(thirds)!r}, recurs and is no normalised text; "
            "use a metadata.csv with the header file_name,text,speaker"
        )


def _file(root: Path, name: str) -> str:
    """The recording of an id, which may have its suffix and its folder."""
    named = name.lower().endswith(AUDIO_SUFFIXES)
    for folder in FOLDERS:
        for suffix in ("",) if named else (".wav", ".flac", ".mp3", ".ogg"):
            path = Path(folder, name + suffix)
            if (root / path).is_file():
                return path.as_posix()
    return Path(FOLDERS[0], name if named else f"{name}.wav").as_posix()
