"""Where utterances come from: the table of sources, and which of them a place is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError, nearest
from w2v2_jax.errors.absent import is_absent, why_absent
from w2v2_jax.prepare import (
    source_common_voice,
    source_folder,
    source_kaldi,
    source_lhotse,
    source_libri_light,
    source_librispeech,
    source_libritts,
    source_ljspeech,
    source_manifest,
    source_metadata,
    source_mls,
    source_nemo,
    source_parquet,
    source_tarball,
    source_tfds,
    source_timit,
)
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.utterance import SourceOptions, Utterance


class Source(NamedTuple):
    """read: (place, account=, options=) -> its utterances, lazily and always in the same order.
    recognise: what speaks for a path's being such a source, "" if nothing does. what: a few
    words on it."""

    read: Callable[..., Iterator[Utterance]]
    recognise: Callable[[Path], str]
    what: str


SOURCES = {
    "folder": Source(
        source_folder.folder,
        source_folder.recognise,
        "recordings with transcripts.tsv, *.trans.txt or name.txt beside them",
    ),
    "manifest": Source(
        source_manifest.manifest,
        source_manifest.recognise,
        "fairseq's FILE.tsv with FILE.wrd or FILE.ltr; slices of archives",
    ),
    "tfds": Source(source_tfds.tfds, lambda _: "", "NAME[:SPLIT] of TensorFlow Datasets"),
    "common_voice": Source(
        source_common_voice.common_voice,
        source_common_voice.recognise,
        "train.tsv, validated.tsv ... and clips/, a language or several",
    ),
    "metadata": Source(
        source_metadata.metadata,
        source_metadata.recognise,
        "Hugging Face's metadata.csv or .jsonl; train.csv ... with a header",
    ),
    "parquet": Source(
        source_parquet.parquet,
        source_parquet.recognise,
        "Hugging Face data sets in parquet or arrow files",
    ),
    "nemo": Source(source_nemo.nemo, source_nemo.recognise, "JSON lines with audio_filepath"),
    "kaldi": Source(source_kaldi.kaldi, source_kaldi.recognise, "wav.scp, segments, text, utt2spk"),
    "ljspeech": Source(
        source_ljspeech.ljspeech,
        source_ljspeech.recognise,
        "metadata.csv with id|text|normalised text, and wavs/",
    ),
    "timit": Source(source_timit.timit, source_timit.recognise, "phones from .PHN, TRAIN and TEST"),
    "librispeech": Source(
        source_librispeech.librispeech,
        source_librispeech.recognise,
        "train-clean-100, dev-clean ... as splits",
    ),
    "libri_light": Source(
        source_libri_light.libri_light,
        source_libri_light.recognise,
        "1h, 9h, 10h, 10min, or small, medium, large",
    ),
    "libritts": Source(
        source_libritts.libritts,
        source_libritts.recognise,
        "train-clean-100 ... with name.normalized.txt beside each recording",
    ),
    "mls": Source(
        source_mls.mls, source_mls.recognise, "train, dev, test with transcripts.txt and audio/"
    ),
    "tarball": Source(
        source_tarball.tarball,
        source_tarball.recognise,
        "librispeech, libri_light or a folder in a tar archive",
    ),
    "lhotse": Source(
        source_lhotse.lhotse,
        source_lhotse.recognise,
        "cuts, or recordings and supervisions, .jsonl or .jsonl.gz",
    ),
}


class Resolved(NamedTuple):
    """A source by its name. why: what it was recognised by, "" if a person named it."""

    kind: str
    place: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"


def resolve(source: str, kind: str | None = None) -> Resolved:
    """The source that "KIND:PLACE", or a path alone, means; `kind` decides if it is given.

    A folder is what is found in it: `folder:DIR` too, unless DIR has a transcripts.tsv. Raises
    InputError for an unknown kind (lists SOURCES), no such path, or a path that may be several.
    """
    scheme, colon, place = source.partition(":")
    named = scheme if colon and place and scheme in SOURCES else None
    place = place if named else source
    if kind is not None and kind not in SOURCES:
        raise InputError(f"--as {kind!r} is unknown; use one of {', '.join(SOURCES)}")
    if kind is not None and named not in (None, "folder", kind):
        raise InputError(f"--as {kind}: --source {source!r} says {named}")
    if kind or named not in (None, "folder"):
        return Resolved(kind or named or "", place)
    if named is None and not os.path.exists(place):
        misspelt = colon and scheme not in SOURCES
        meant = nearest(scheme, SOURCES, source.removeprefix(scheme)) if misspelt else ""
        if meant:
            raise InputError(f"--source {source!r} is unknown; {meant}")
        if not is_absent(place):
            raise InputError(f"--source {source}: {why_absent(place)}")
        known = ", ".join(f"{name}:..." for name in SOURCES)
        raise InputError(f"--source {source!r} is unknown; use a path or one of {known}")
    if named and (not os.path.isdir(place) or source_folder.has_table(place)):
        return Resolved(named, place)
    return _recognised(place)


def _recognised(named: str) -> Resolved:
    path, place = Path(named), named
    reasons = _reasons(path)
    if not reasons and path.is_dir() and (inner := _only_folder(path)):
        path, place, reasons = inner, str(inner), _reasons(inner)
    if len(reasons) == 1:
        ((kind, why),) = reasons.items()
        return Resolved(kind, place, why)
    if reasons:
        shown = " or ".join(f"{name} ({why})" for name, why in reasons.items())
        raise InputError(f"--source {place} may be {shown}; say which: --as {next(iter(reasons))}")
    if path.is_dir():
        return Resolved("folder", named)
    if place.lower().endswith(AUDIO_SUFFIXES):
        raise InputError(f"--source {place} is one recording; name its folder")
    known = "; ".join(f"{name}: {source.what}" for name, source in SOURCES.items())
    raise InputError(f"--source {place} is not a known kind of source; known are {known}")


def _reasons(path: Path) -> dict[str, str]:
    return {name: why for name, source in SOURCES.items() if (why := source.recognise(path))}


def _only_folder(path: Path) -> Path | None:
    """The folder that an archive unpacks to: the only one here, and no recording beside it."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    inner = [entry for entry in entries if entry.is_dir()]
    audio = any(entry.name.lower().endswith(AUDIO_SUFFIXES) for entry in entries)
    return inner[0] if len(inner) == 1 and not audio else None


def open_source(
    source: str | Resolved,
    *,
    account: Account | None = None,
    kind: str | None = None,
    **options,
) -> Iterator[Utterance]:
    """Utterances of "folder:DIR", "manifest:FILE.tsv", "tfds:NAME[:SPLIT]" ... or of a path, lazily
    and always in the same order; `account` gets what is passed over on the way.

    options: those of SourceOptions. Raises InputError as `resolve`, or for a bad place.
    """
    resolved = source if isinstance(source, Resolved) else resolve(source, kind)
    account = Account() if account is None else account
    account.read_as = account.read_as or (resolved.kind, resolved.why)
    read = SOURCES[resolved.kind].read
    return read(resolved.place, account=account, options=SourceOptions(**options))
