"""Fairseq's manifests: a root and one file per line, which may be a slice of an archive."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import TEXT_SUFFIXES
from w2v2_jax.prepare.utterance import Clip, SourceOptions, Utterance
from w2v2_jax.texts import text_lines

SLICE = re.compile(r"(.+\.\w+):(\d{1,18}):(\d{1,18})")  # archive:first byte:bytes


def recognise(place: Path) -> str:
    """The evidence for a manifest; "" if there is none."""
    paths = _manifests(place)
    return f"{paths[0].name} has a root and lines path<TAB>frames" if paths else ""


def _manifests(place: Path) -> list[Path]:
    paths = [place] if place.is_file() else sorted(place.glob("*.tsv"))
    return [path for path in paths if path.suffix == ".tsv" and _is_manifest(path)]


def _is_manifest(path: Path) -> bool:
    try:
        lines = (line for line in text_lines(path) if line.strip())
        first, second = next(lines, ""), next(lines, "")
    except InputError:
        return False
    return "\t" not in first and re.fullmatch(r"[^\t]+\t\s*\d+\s*", second) is not None


def manifest(where: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """A fairseq manifest, or all of a folder: the root on line 1 (a folder, gs://... or s3://...),
    then `relative path<TAB>frames`; the split is the file's stem. A path `x.zip:offset:length` is a
    recording of `length` bytes within a file. Transcripts, line by line, from FILE.wrd, else
    FILE.ltr (letters apart, `|` between words); where both are and differ, the account is told. A
    recording of another length is remarked. Raises InputError when the labels' lines do not
    match or a path leaves the root."""
    del options
    path = Path(where)
    if path.is_dir() and (paths := _manifests(path)):
        every = [_one(path, account) for path in paths]
        return (utterance for utterances in every for utterance in utterances)
    if not path.is_file():
        raise InputError(f"--source manifest:{where}: no such file")
    return _one(path, account)


def _one(path: Path, account: Account) -> Iterator[Utterance]:
    count = sum(1 for line in text_lines(path) if line.strip()) - 1
    if count < 1:
        raise InputError(f"{path}: an empty manifest: line 1 is the root, then one file per line")
    return _manifest_rows(path, _manifest_texts(path, count, account), account)


def _manifest_texts(path: Path, count: int, account: Account) -> Iterator[str] | None:
    for suffix in (".wrd", ".ltr"):
        labels = path.with_suffix(suffix)
        if os.path.lexists(labels):
            lines = sum(1 for _ in text_lines(labels))
            if lines != count:
                raise InputError(f"{labels}: {lines} lines of labels for {count} files of {path}")
            _remark_letters(path, account)
            return (line if suffix == ".wrd" else _words(line) for line in text_lines(labels))
    for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")):
        if other.suffix in (*TEXT_SUFFIXES, ".txt") and other != path:
            account.unread.add(f"*{other.suffix}", other.name)
    return None


def _remark_letters(path: Path, account: Account) -> None:
    """Lines of FILE.wrd, which is read, that say something else than those of FILE.ltr."""
    words, letters = path.with_suffix(".wrd"), path.with_suffix(".ltr")
    if not (words.is_file() and letters.is_file()):
        return
    pairs = itertools.zip_longest(text_lines(words), text_lines(letters), fillvalue="")
    for number, (line, spelled) in enumerate(pairs, 1):
        if " ".join(line.split()) != _words(spelled):
            account.remarks.add(f"not the words of {letters.name}", f"{words}:{number}: {line}")


def _words(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def _manifest_rows(path: Path, texts: Iterator[str] | None, account: Account):
    lines = ((n, line) for n, line in enumerate(text_lines(path), 1) if line.strip())
    number, root = next(lines)
    root = root.strip().rstrip("/")
    if "\0" in root:
        raise InputError(f"{path}:{number}: {root!r} is not a folder: it contains a NUL")
    if not is_remote(root):
        root = os.path.abspath(path.parent / (root or "/"))
    before: dict[str, tuple[int, int]] = {}  # of a labelled manifest: line and hash of the text
    for number, line in lines:
        relative, tab, frames = line.partition("\t")
        if not tab or not re.fullmatch(r"\s*\d{1,18}\s*", frames):
            raise InputError(
                f"{path}:{number}: expected path<TAB>frames (no tab in either), got {line!r}"
            )
        inside = os.path.normpath(relative)
        outside = os.path.isabs(relative) or "\0" in relative
        if outside or inside.split("/")[0] == "..":
            raise InputError(f"{path}:{number}: {relative!r} lies outside the root {root}")
        text = None if texts is None else next(texts)
        if text is not None:
            first, known = before.setdefault(inside, (number, hash(text)))
            if known != hash(text):
                raise InputError(
                    f"{path}:{number}: {relative!r} has another text on line {first}; keep one"
                )
        account.seen += 1
        audio = _audio(f"{root}/{inside}")
        yield Utterance(relative, audio, None, text, path.stem, frames=int(frames))


def _audio(path: str) -> str | Clip:
    match = SLICE.fullmatch(path)
    if not match or (not is_remote(path) and os.path.isfile(path)):
        return path
    return Clip(match[1], inside=("bytes", int(match[2]), int(match[3])))
