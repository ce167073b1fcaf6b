"""LibriTTS and LibriTTS-R: subsets as in LibriSpeech, and a text beside each recording."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import folders, pass_over, written_name
from w2v2_jax.prepare.source_librispeech import SUBSET, has_file, subsets
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

NORMALISED, ORIGINAL = ".normalized.txt", ".original.txt"
TABLES = (".trans.tsv", ".book.tsv")  # tables of a chapter, with the same texts
UNMET = f"no {NORMALISED} beside it"


def recognise(place: Path) -> str:
    """The evidence for LibriTTS; "" if there is none."""
    named = [s for s in subsets(place, SUBSET) if has_file(s, NORMALISED)]
    return f"{NORMALISED} in {', '.join(s.name for s in named)}" if named else ""


def libritts(place: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Recordings under the folders of subsets, each subset a split of its name. The text is that of
    `NAME.normalized.txt`, in which numbers are spelled; the speaker is the first part of the name.

    Raises InputError without such a folder.
    """
    del options
    if not subsets(Path(place), SUBSET):
        raise InputError(f"{place}: no folder of a subset such as train-clean-100 or dev-clean")
    return _walk(Path(place), account)


def _walk(root: Path, account: Account) -> Iterator[Utterance]:
    above = Path(os.path.abspath(root)).name
    for directory, files in folders(str(root), account):
        texts = {file for file in files if file.endswith(NORMALISED)}
        folder = os.path.relpath(directory, root)
        for file in files:
            relative = written_name(os.path.normpath(os.path.join(folder, file)))
            if not file.lower().endswith(AUDIO_SUFFIXES) or file.startswith("."):
                if file.endswith((*TABLES, NORMALISED, ORIGINAL)):
                    account.pass_over("transcripts", relative)
                else:
                    pass_over(file, relative, account)
                continue
            stem = os.path.splitext(file)[0]
            beside = stem + NORMALISED
            if beside not in files:
                account.remarks.add(UNMET, relative)
            texts.discard(beside)
            text = _text(Path(directory, beside)) if beside in files else None
            parts = [above, *relative.split("/")[:-1]]
            split = next((part for part in reversed(parts) if SUBSET.fullmatch(part)), None)
            if split is None:
                account.remarks.add("in no subset's folder", relative)
            account.seen += 1
            path = os.path.join(directory, file)
            yield Utterance(relative, path, None, text, split, stem.split("_")[0])
        for left in sorted(texts):
            account.remarks.add("a text without audio of its name", os.path.join(folder, left))


def _text(path: Path) -> str:
    return " ".join(" ".join(text_lines(path)).split())
