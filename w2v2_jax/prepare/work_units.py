"""A source divided into parts that machines take one by one, and the hash of a part's content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, is_remote, to_path
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.clips import MOST_BYTES
from w2v2_jax.prepare.source_tfds import Rows, read_rows, tfds_rows
from w2v2_jax.prepare.sources import Resolved, open_source, resolve
from w2v2_jax.prepare.transcripts import key
from w2v2_jax.prepare.utterance import DEFAULT_SPLIT, Clip, Utterance
from w2v2_jax.prepare.workers import chunks
from w2v2_jax.texts import text_lines

PART = 512  # utterances: some 200 MB of samples, so that a lost worker loses little
BLOCK = 1 << 22


class Part(NamedTuple):
    """What one worker prepares at a time: recordings in files, or rows of a TFDS record file."""

    utterances: tuple[Utterance, ...] = ()
    rows: Rows | None = None


def parts(
    source: str | Resolved,
    *,
    account: Account | None = None,
    tfds_data_dir: str | None = None,
    ids: frozenset[str] | None = None,
    download: dict[str, Any] | None = None,
    phones: str = "61",
) -> Iterator[Part]:
    """The parts of a source; together they hold its utterances in the order of `open_source`.

    ids: the utterances to keep; TFDS rows are filtered only when their part is read. download:
    arguments of TFDS's DownloadConfig, for a data set that is not downloaded yet.
    """
    account = Account() if account is None else account
    source = source if isinstance(source, Resolved) else resolve(source)
    if source.kind == "tfds":
        account.read_as = (source.kind, source.why)
        rows_of = tfds_rows(
            source.place, account=account, tfds_data_dir=tfds_data_dir, download=download
        )
        return (Part(rows=rows) for rows in rows_of)
    opened = open_source(source, tfds_data_dir=tfds_data_dir, account=account, phones=phones)
    return (Part(tuple(some)) for some in chunks(picked(opened, ids), PART))


def read(part: Part, ids: frozenset[str] | None) -> Iterable[Utterance]:
    """The utterances of a part."""
    return part.utterances if part.rows is None else picked(read_rows(part.rows), ids)


def splits_of(part: Part) -> set[str]:
    """The splits of a part's utterances, as far as its source says."""
    if part.rows is not None:
        return {part.rows.split.partition("[")[0]}
    return {utterance.split or DEFAULT_SPLIT for utterance in part.utterances}


def read_ids(path: str | Path) -> frozenset[str]:
    """The utterance ids of a text file, one per line, without suffix; InputError when it cannot be
    read or holds none."""
    names = [name for line in text_lines(path) if (name := line.strip())]
    if not names:
        raise InputError(f"--ids {path} holds no utterance id")
    return frozenset(_without_suffix(name) for name in names)


def fitting_ids(wanted: frozenset[str], source: Resolved, **options: Any) -> frozenset[str]:
    """The wanted ids as `picked` takes them: with the folders where these decide.

    In many corpora each speaker's folder has a 001.wav. So an id picks the utterances whose path
    ends with it, or which it ends with. Only if there is none it picks the one utterance of that
    name in another folder; if there are several of that name it picks none.
    """
    if source.kind == "tfds":  # its rows are read when they are needed
        return frozenset(map(stem_of, wanted))
    stems = {stem_of(name) for name in wanted}
    there: dict[str, list[str]] = {}
    for utterance in open_source(source, **options):
        if (stem := stem_of(utterance.id)) in stems:
            there.setdefault(stem, []).append(_without_suffix(utterance.id))
    fitting = set()
    for name in wanted:
        named = there.get(stem_of(name), [])
        inside = [one for one in named if f"/{name}".endswith(f"/{one}")]
        if any(f"/{one}".endswith(f"/{name}") for one in named) or not named:
            fitting.add(name)
        elif inside:
            fitting.update(inside)
        else:
            fitting.add(named[0] if len(named) == 1 else name)
    return frozenset(fitting)


def ends_of(name: str) -> list[str]:
    """An id without suffix, whole, without its first folder, ... without any."""
    parts = _without_suffix(name).split("/")
    return ["/".join(parts[k:]) for k in range(len(parts))]


def picked(utterances: Iterable[Utterance], ids: frozenset[str] | None) -> Iterator[Utterance]:
    """The utterances of which an end is among `ids`; all if that is None."""
    return (u for u in utterances if ids is None or not ids.isdisjoint(ends_of(u.id)))


def stem_of(name: str) -> str:
    """A name without its folder and an audio file's suffix."""
    return _without_suffix(name).rsplit("/", 1)[-1]


def _without_suffix(name: str) -> str:
    path = key(name)
    return path.rsplit(".", 1)[0] if path.lower().endswith(AUDIO_SUFFIXES) else path


def content_hash(part: Part, salt: str) -> str:
    """The hash of the part's files and of what the source says about them, 16 hex digits.

    salt: what else decides the result. The files' location does not count.
    """
    digest = hashlib.sha256(salt.encode())
    if part.rows is not None:
        rows = part.rows._replace(data_dir=None, file="")
        digest.update(json.dumps(rows).encode() + _file_hash(part.rows.file))
    files: dict[str, bytes] = {}  # many utterances lie in one file
    for utterance in part.utterances:
        audio: Any = utterance.audio
        where = audio._replace(path="") if isinstance(audio, Clip) else ""
        digest.update(json.dumps(utterance._replace(audio=where)).encode())
        path = audio.path if isinstance(audio, Clip) else audio
        if isinstance(audio, Clip) and audio.inside and audio.inside[0] == "bytes":
            digest.update(_slice_hash(path, *audio.inside[1:]))
            continue
        if path not in files:
            files[path] = _file_hash(path)
        digest.update(files[path])
    return digest.hexdigest()[:16]


def _slice_hash(path: str, first: int, count: int) -> bytes:
    try:
        with to_path(path).open("rb") as file:
            file.seek(first)
            return hashlib.sha256(file.read(min(count, MOST_BYTES))).digest()
    except OSError as error:
        return type(error).__name__.encode()


def _file_hash(path: str) -> bytes:
    """A file that cannot be read also has a hash: its utterances become rejects."""
    digest = hashlib.sha256()
    if not is_remote(path) and not os.path.isfile(path):
        return b"no file"  # a pipe would be waited for
    try:
        with to_path(path).open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        return type(error).__name__.encode()
    return digest.digest()


def save(part: Part, path: AnyPath) -> None:
    """As JSON."""
    located = [u._replace(audio=_absolute(u.audio)) for u in part.utterances]
    path.write_text(json.dumps({"utterances": located, "rows": part.rows}), "utf-8")


def _absolute(audio: Any) -> Any:
    if isinstance(audio, Clip):
        return audio._replace(path=_absolute(audio.path))
    return audio if is_remote(audio) else str(Path(audio).absolute())


def load(path: AnyPath) -> Part:
    """What `save` wrote."""
    content = json.loads(path.read_text("utf-8"))
    utterances = tuple(
        Utterance(name, _located(audio), *rest) for name, audio, *rest in content["utterances"]
    )
    return Part(utterances, Rows(*content["rows"]) if content["rows"] else None)


def _located(audio: str | list) -> str | Clip:
    if isinstance(audio, str):
        return audio
    *rest, inside = audio
    return Clip(*rest)._replace(inside=None if inside is None else tuple(inside))
