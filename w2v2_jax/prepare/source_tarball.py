"""Archives of LibriSpeech, Libri-Light or any folder, read as they were downloaded."""

from __future__ import annotations

import collections
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import pass_over, written_name
from w2v2_jax.prepare.source_libri_light import EITHER
from w2v2_jax.prepare.source_librispeech import SUBSET
from w2v2_jax.prepare.transcripts import SHARED_TEXT, Line, Table, Transcript, chapter_line
from w2v2_jax.prepare.utterance import Clip, SourceOptions, Utterance
from w2v2_jax.texts import decoded_lines

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
NAMES = re.compile(f"{SUBSET.pattern}|{EITHER.pattern}")
MOST_TEXT = 64 << 20  # bytes of one file of transcripts


def recognise(place: Path) -> str:
    """The evidence for an archive; "" if there is none."""
    return "an archive" if place.is_file() and place.name.lower().endswith(SUFFIXES) else ""


def tarball(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The recordings in a tar archive, compressed or not, with the transcripts of `*.trans.txt` or
    `name.txt` beside them. A folder that has the name of a subset of LibriSpeech or Libri-Light is
    the split. Nothing is unpacked to disk. Raises InputError if the file is no archive, or is
    damaged.
    """
    del options
    path = Path(place)
    if not path.is_file():
        raise InputError(f"{place}: no such file; name an archive ({' '.join(SUFFIXES)})")
    names, table = _contents(path, account)
    return _read(path, names, table, account)


def _contents(path: Path, account: Account) -> tuple[list[str], Table]:
    """Names of the files in the archive, and every transcript by the name without its suffix."""
    names, table = [], Table()
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                names.append(member.name)
                if member.name.endswith(".txt") and member.size <= MOST_TEXT:
                    _take_texts(archive.extractfile(member), member.name, table, account)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as an archive: {error}") from error
    return names, table


def _take_texts(file, name: str, table: Table, account: Account) -> None:
    folder = os.path.dirname(name)
    lines = decoded_lines(file, name)
    if not name.endswith(".trans.txt"):
        text = " ".join(" ".join(lines).split())
        table.add(Line(name.removesuffix(".txt"), Transcript(text), f"{name}:1"), account)
        return
    for number, content in enumerate(lines, 1):
        line = chapter_line(content, f"{name}:{number}")
        if line is not None:
            table.add(line._replace(name=os.path.join(folder, line.name)), account)


def _read(path: Path, names: list[str], table: Table, account: Account) -> Iterator[Utterance]:
    count = 0
    stems = collections.Counter(
        os.path.splitext(name)[0] for name in names if name.lower().endswith(AUDIO_SUFFIXES)
    )
    for name in names:
        file = os.path.basename(name)
        if not file.lower().endswith(AUDIO_SUFFIXES) or file.startswith("."):
            pass_over(file, written_name(name), account)
            continue
        stem = os.path.splitext(name)[0]
        text, _, speaker = table.take(stem) or (None, None, None)
        if text is not None and stems[stem] > 1:
            account.remarks.add(SHARED_TEXT, written_name(name))
        folders = reversed(name.split("/")[:-1])
        split = next((part for part in folders if NAMES.fullmatch(part)), None)
        count += 1
        account.seen += 1
        clip = Clip(str(path), inside=("member", name))
        yield Utterance(written_name(name), clip, None, text, split, speaker)
    for name, _ in table.unused():
        account.remarks.add("a transcript without a recording", table.with_nearest(name))
    if not count:
        raise InputError(f"{path}: no recording in this archive ({' '.join(AUDIO_SUFFIXES)})")
