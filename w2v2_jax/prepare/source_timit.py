"""TIMIT: sentences with their phones, in TRAIN and TEST."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.phones import fold_timit, fold_timit_48
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import folders, pass_over, walk, written_name
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

PHONES: dict[str, Callable[[list[str]], list[str]]] = {
    "61": lambda phones: phones,
    "48": fold_timit_48,
    "39": fold_timit,
}
SPLITS = ("train", "test")
EVERYBODY = ("sa1", "sa2")
COMPANIONS = (".phn", ".wrd", ".txt")
LOOKED_AT = 64  # folders, until a .phn is met


def recognise(place: Path) -> str:
    """The evidence for TIMIT; "" if there is none."""
    for count, (directory, names, files) in enumerate(walk(place)):
        phones = next((f for f in sorted(files) if f.lower().endswith(".phn")), None)
        if phones:
            return f"phones in {os.path.relpath(os.path.join(directory, phones), place)}"
        names.sort(key=lambda name: (name.lower() not in SPLITS, name))
        if count == LOOKED_AT:
            break
    return ""


def timit(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Every recording with a .PHN beside it. The text is its phones, separated by spaces; the
    speaker is its folder; the split is `train` or `test`, after the folder TRAIN or TEST above it.

    Phones are the corpus's 61, or folded to 48 (for training) or 39 (Lee and Hon 1989).
    Raises InputError for a folder without such recordings, a bad line or an unknown phone.
    """
    if not recognise(Path(place)):
        raise InputError(f"{place}: no recording with a .PHN of its name beside it")
    if options.phones not in PHONES:
        raise InputError(f"--phones {options.phones!r}: use one of {', '.join(PHONES)}")
    return _read(Path(place), PHONES[options.phones], account)


def _read(root: Path, fold: Callable, account: Account) -> Iterator[Utterance]:
    for directory, files in folders(str(root), account):
        parts = [part.lower() for part in Path(os.path.abspath(directory)).parts]
        split = next((part for part in reversed(parts) if part in SPLITS), None)
        phones = {_stem(f): f for f in files if f.lower().endswith(".phn")}
        taken: set[str] = set()
        for file in files:
            relative = Path(directory, file).relative_to(root).as_posix()
            stem = _stem(file)
            if not file.lower().endswith(AUDIO_SUFFIXES) or file.startswith("."):
                if file.lower().endswith(COMPANIONS) and (stem in taken or stem in phones):
                    account.pass_over("transcripts", written_name(relative))
                else:
                    pass_over(file, written_name(relative), account)
                continue
            if stem in taken:
                account.pass_over("a recording in another form too", written_name(relative))
                continue
            taken.add(stem)
            account.seen += 1
            if stem in EVERYBODY:
                account.remarks.add("SA1 or SA2, which all speakers say", relative)
            text = None
            if stem in phones:
                text = " ".join(fold(_phones(Path(directory, phones[stem]))))
            else:
                account.remarks.add("no .PHN beside it", relative)
            speaker = os.path.basename(os.path.abspath(directory))
            name = written_name(relative)
            yield Utterance(name, str(Path(directory, file)), None, text, split, speaker)


def _stem(file: str) -> str:
    """The name in lower case without any suffixes: the Kaggle copy has SA1.WAV.wav."""
    return file.lower().partition(".")[0]


def _phones(path: Path) -> list[str]:
    phones = []
    for number, line in enumerate(text_lines(path), 1):
        fields = line.split()
        if fields and (len(fields) != 3 or not (fields[0] + fields[1]).isdigit()):
            raise InputError(f"{path}:{number}: expected first, last sample, phone: {line!r}")
        phones += fields[2:]
    return phones
