"""Where utterances come from: a folder, a fairseq manifest, a TensorFlow Datasets corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import folder
from w2v2_jax.prepare.source_tfds import tfds
from w2v2_jax.prepare.utterance import Utterance
from w2v2_jax.texts import text_lines


def open_source(
    source: str, *, tfds_data_dir: str | None = None, account: Account | None = None
) -> Iterator[Utterance]:
    """Utterances of "folder:DIR", "manifest:FILE.tsv" or "tfds:NAME[:SPLIT]", lazily and always in
    the same order; `account` gets what is passed over on the way.

    Raises InputError for an unknown scheme (lists SOURCES) or a bad place."""
    scheme, colon, place = source.partition(":")
    if not colon or not place or scheme not in SOURCES:
        known = ", ".join(f"{name}:..." for name in SOURCES)
        raise InputError(f"--source {source!r} is unknown; use one of {known}")
    account = Account() if account is None else account
    return SOURCES[scheme](place, tfds_data_dir=tfds_data_dir, account=account)


def manifest(where: str, *, tfds_data_dir: str | None, account: Account) -> Iterator[Utterance]:
    """A fairseq manifest: the root on line 1 (a folder, gs://... or s3://...), then
    `relative path<TAB>frames`; the split is the file's stem. Transcripts, line by line, from
    FILE.wrd, else FILE.ltr (letters apart, `|` between words). Raises InputError when the labels'
    lines do not match or a path leaves the root."""
    del tfds_data_dir
    path = Path(where)
    if not path.is_file():
        raise InputError(f"--source manifest:{where}: no such file")
    count = sum(1 for line in text_lines(path) if line.strip()) - 1
    if count < 1:
        raise InputError(f"{path}: an empty manifest: line 1 is the root, then one file a line")
    return _manifest_rows(path, _manifest_texts(path, count), account)


def _manifest_texts(path: Path, count: int) -> Iterator[str] | None:
    for suffix in (".wrd", ".ltr"):
        labels = path.with_suffix(suffix)
        if labels.is_file():
            lines = sum(1 for _ in text_lines(labels))
            if lines != count:
                raise InputError(f"{labels}: {lines} lines of labels for {count} files of {path}")
            return (line if suffix == ".wrd" else _words(line) for line in text_lines(labels))
    return None


def _words(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def _manifest_rows(path: Path, texts: Iterator[str] | None, account: Account):
    lines = ((n, line) for n, line in enumerate(text_lines(path), 1) if line.strip())
    number, root = next(lines)
    root = root.strip().rstrip("/")
    if "\0" in root:
        raise InputError(f"{path}:{number}: {root!r} is no folder: it holds a NUL")
    if not is_remote(root):
        root = os.path.abspath(path.parent / (root or "/"))
    before: dict[str, tuple[int, int]] = {}  # of a labelled manifest: line and hash of the text
    for number, line in lines:
        relative, tab, frames = line.partition("\t")
        if not tab or not frames.strip().isdigit():
            raise InputError(
                f"{path}:{number}: expected path<TAB>frames (no tab in either), got {line!r}"
            )
        inside = os.path.normpath(relative)
        outside = os.path.isabs(relative) or "\0" in relative
        if outside or inside.split("/")[0] == "..":
            raise InputError(f"{path}:{number}: {relative!r} leads outside the root {root}")
        text = None if texts is None else next(texts)
        if text is not None:
            first, known = before.setdefault(inside, (number, hash(text)))
            if known != hash(text):
                raise InputError(
                    f"{path}:{number}: {relative!r} has another text on line {first}; keep one"
                )
        account.seen += 1
        yield Utterance(relative, f"{root}/{inside}", None, text, path.stem, None)


SOURCES = {"folder": folder, "manifest": manifest, "tfds": tfds}
