"""Multilingual LibriSpeech: train, dev and test of a language, each with its transcripts.txt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.rows import Once
from w2v2_jax.prepare.unlisted_files import pass_over_unlisted
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

LISTED, AUDIO, SPLITS = "transcripts.txt", "audio", ("dev", "test", "train")
SUFFIXES = (".flac", ".opus", ".wav", ".mp3", ".ogg")
LANGUAGES = {
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "polish": "pl",
    "portuguese": "pt",
    "spanish": "es",
}
NAME = re.compile(r"(\d+)_(\d+)_\w+")  # SPEAKER_BOOK_NUMBER


def recognise(place: Path) -> str:
    """The evidence for a language of MLS; "" if there is none."""
    shown = ", ".join(f"{split.name}/{LISTED}" for split in _splits(place))
    return f"{shown} beside {AUDIO}/" if shown else ""


def _splits(place: Path) -> list[Path]:
    """The splits: the folder itself, or folders in it."""
    if not place.is_dir():
        return []
    place = Path(os.path.abspath(place))
    some = [place] if place.name in SPLITS else [place / name for name in SPLITS]
    return [split for split in some if (split / LISTED).is_file() and (split / AUDIO).is_dir()]


def mls(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """The lines of each split's `transcripts.txt`, `SPEAKER_BOOK_NUMBER<TAB>text`; the recording is
    audio/SPEAKER/BOOK/NAME.flac, or .opus. The language is that of a folder such as `mls_polish`.

    Recordings that no line names are passed over. Raises InputError for a line of another form or
    two texts of a name.
    """
    del options
    splits = _splits(Path(place))
    if not splits:
        raise InputError(f"{place}: no {' or '.join(SPLITS)} with {LISTED} and {AUDIO}/ in it")
    return _read(Path(os.path.abspath(place)), splits, account)


def _language(root: Path) -> str | None:
    """The language by the name of the folder, or of the folder around a split."""
    words = [word for name in (root.name, root.parent.name) for word in name.lower().split("_")]
    return next((LANGUAGES[word] for word in words if word in LANGUAGES), None)


def _read(root: Path, splits: list[Path], account: Account) -> Iterator[Utterance]:
    language, taken = _language(root), set()
    for split in splits:
        once, suffix = Once(account), SUFFIXES[0]
        for number, line in enumerate(text_lines(split / LISTED), 1):
            if not line.strip():
                continue
            name, _, text = line.strip().partition("\t")
            at = f"{split / LISTED}:{number}"
            match = NAME.fullmatch(name)
            if match is None:
                raise InputError(f"{at}: expected SPEAKER_BOOK_NUMBER<TAB>text, got {line[:80]!r}")
            if not once(name, text, at):
                continue
            place = split / AUDIO / match[1] / match[2] / name
            suffix = next((s for s in (suffix, *SUFFIXES) if _is_file(place, s)), suffix)
            relative = place.relative_to(root).as_posix() + suffix
            account.seen += 1
            taken.add(relative)
            yield Utterance(
                relative,
                f"{place}{suffix}",
                None,
                text.strip() or None,
                split.name,
                match[1],
                language,
            )
    pass_over_unlisted(root, taken, account, read=set())


def _is_file(place: Path, suffix: str) -> bool:
    return os.path.isfile(f"{place}{suffix}")
