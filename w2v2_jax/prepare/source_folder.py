"""A folder of recordings: every file becomes an utterance, or is passed over and counted."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterator
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import PARTIAL, PIECES, Account
from w2v2_jax.prepare.made_by_model import BY_A_MODEL, Made
from w2v2_jax.prepare.transcripts import (
    SHARED_TEXT,
    Table,
    Transcript,
    read_trans_txt,
    read_transcripts_tsv,
)
from w2v2_jax.prepare.utterance import SourceOptions, Utterance
from w2v2_jax.texts import text_lines

LISTED = "transcripts.tsv"
ENDS = (".txt", ".TXT", ".Txt")  # of the text beside a recording; the first that is there is read
# Suffixes of files that may hold transcripts in a format that is not read here.
TEXT_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".lst", ".list", ".trn", ".trs", ".lab", ".textgrid", ".xml",
    ".stm", ".ctm", ".srt", ".vtt", ".eaf", ".mlf", ".scp", ".wrd", ".ltr", ".phn", ".cha", ".tab",
    ".ref", ".yaml", ".yml", ".gz", ".transcript", ".text",
)  # fmt: skip
# Suffixes of recordings in a format that is not read here.
OTHER_AUDIO = re.compile(
    r"\.(wv|ape|tta|ac3|dts|spx|voc|ra|rm|dss|mpc|shn|gsm|g722|vox|mpe?g|ts|avi|flv|wmv|raw|pcm)"
)
CONVERT = "in a format that is not read: convert them with ffmpeg -i IN OUT.flac"
TEXT_NAMES = ("text", "transcripts", "transcript", "segments", "utt2spk", "prompts")


def has_table(place: str | Path) -> bool:
    """Whether a folder has a transcripts.tsv; one that cannot be read is refused later."""
    return os.path.lexists(os.path.join(place, LISTED))


def recognise(place: Path) -> str:
    """The evidence for this source; "" if there is none."""
    return LISTED if has_table(place) else ""


def folder(where: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """Audio files under a directory; ids are their relative paths. Links to folders are followed.

    The transcript is the first found of `transcripts.tsv` at the top (relative path, text, and
    optionally split and speaker, separated by tabs), a LibriSpeech `*.trans.txt` beside the file,
    and `name.txt` beside it. Files that transcripts.tsv names but that are missing come as well, so
    that they are counted as unreadable.
    """
    del options
    root = Path(where)
    if not root.is_dir():
        raise InputError(f"--source folder:{where}: no such directory")
    return _walk(root, read_transcripts_tsv(root / LISTED, account), account)


def _walk(root: Path, listed: Table, account: Account) -> Iterator[Utterance]:
    count, made = 0, Made()
    for directory, files in folders(str(root), account):
        made.enter(Path(directory), files)
        chapter = read_trans_txt(Path(directory), files, account)
        beside = frozenset(file for file in files if file.lower().endswith(".txt"))
        texts = set(beside)  # that belong to no recording so far
        stems = collections.Counter(os.path.splitext(file)[0] for file in files if _is_audio(file))
        for file in files:
            path = Path(directory, file)
            relative = written_name(path.relative_to(root).as_posix())
            if not _is_audio(file):
                pass_over(file, relative, account)
                continue
            by_name = listed.take(relative)
            transcript = by_name or chapter.take(path.stem)
            own = next((path.stem + end for end in ENDS if path.stem + end in beside), "")
            texts.discard(own)
            if transcript is None and own:
                transcript = Transcript(_whole_text(path.with_name(own)))
                if made.by_a_model(path.with_name(own)):
                    account.remarks.add(BY_A_MODEL, relative)
            elif transcript is None and listed:
                account.remarks.add(f"no line in {LISTED}", relative)
            if transcript is not None and by_name is None and stems[path.stem] > 1:
                account.remarks.add(SHARED_TEXT, relative)
            count += 1
            account.seen += 1
            yield Utterance(relative, str(path), None, *(transcript or (None, None, None)))
        _remark_unused(os.path.relpath(directory, root), chapter, texts, account)
    for relative, transcript in listed.unused():
        count += 1
        account.seen += 1
        account.remarks.add(f"{LISTED}: no such file", listed.with_nearest(relative))
        yield Utterance(relative, str(root / relative), None, *transcript)
    if not count:
        passed = account.passed_over.table()
        raise InputError(
            f"{root}: no audio files ({' '.join(AUDIO_SUFFIXES)}) in this folder"
            + (f"; passed over: {passed}" if passed else "")
        )


def _is_audio(file: str) -> bool:
    return file.lower().endswith(AUDIO_SUFFIXES) and not file.startswith(".")


def folders(root: str, account: Account) -> Iterator[tuple[str, list[str]]]:
    """Every folder with the names of its files, in a fixed order. Folders behind links come last,
    unless they were read already or contain the root (a loop). The folder of the prepared corpus is
    left out."""
    waiting, read = [root], set()
    own = os.path.realpath(account.out) if account.out else None
    while waiting:
        top = waiting.pop(0)
        target = os.path.realpath(top)
        around = os.path.join(target, "") if top != root else None
        if target in read or (around and os.path.realpath(root).startswith(around)):
            account.pass_over("folder seen before", _shown(top, root))
            continue
        for directory, names, files in os.walk(top, onerror=_unreadable(account, root)):
            if (place := os.path.realpath(directory)) in read:
                account.pass_over("folder seen before", _shown(directory, root))
                names.clear()
                continue
            read.add(place)
            if place == own and directory != root:
                names.clear()
                continue
            links = []
            for name in sorted(names):
                path = os.path.join(directory, name)
                if place == own and name.startswith((PARTIAL, PIECES)):
                    continue
                if name.startswith("."):
                    account.pass_over("hidden", _shown(path, root))
                elif os.path.islink(path):
                    links.append(path)
            names[:] = sorted(
                n
                for n in names
                if not n.startswith(".") and not os.path.islink(os.path.join(directory, n))
            )
            waiting += links
            yield directory, sorted(files)


def walk(top: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk without hidden folders, but also through links, each folder once; links come after
    the folders beside them. A link to a folder around the top is not followed."""
    read = {own := os.path.realpath(top)}
    for directory, names, files in os.walk(top, followlinks=True):
        kept = []
        for name in sorted(names, key=lambda n: (os.path.islink(os.path.join(directory, n)), n)):
            place = os.path.realpath(os.path.join(directory, name))
            around = own.startswith(os.path.join(place, ""))
            if not name.startswith(".") and place not in read and not around:
                read.add(place)
                kept.append(name)
        names[:] = kept
        yield directory, names, files


def _shown(path: str, root: str) -> str:
    return written_name(os.path.relpath(path, root))


def _unreadable(account: Account, root: str):
    def note(error: OSError) -> None:
        place = _shown(os.fsdecode(error.filename), root)
        account.pass_over("folder unreadable", f"{place}: {error.strerror}")

    return note


def pass_over(file: str, relative: str, account: Account) -> None:
    """Counts a file that is no recording; texts of an unknown format are counted separately."""
    suffix = os.path.splitext(file)[1].lower()
    if file.startswith("."):
        account.pass_over("hidden", relative)
    elif suffix == ".txt" or relative == LISTED:
        account.pass_over("transcripts", relative)
    else:
        if suffix in TEXT_SUFFIXES or file.lower() in TEXT_NAMES:
            account.unread.add(f"*{suffix}" if suffix else file, relative)
        if OTHER_AUDIO.fullmatch(suffix):
            account.remarks.add(CONVERT, relative)
        account.pass_over(f"suffix {written_name(suffix)}" if suffix else "no suffix", relative)


def _remark_unused(directory: str, chapter: Table, texts: set[str], account: Account) -> None:
    for name in sorted(texts):
        if not name.endswith(".trans.txt"):
            detail = written_name(os.path.normpath(os.path.join(directory, name)))
            account.remarks.add("a .txt without audio of its name", detail)
            account.unread.add("*.txt", detail)
    for stem, _ in chapter.unused():
        detail = written_name(os.path.normpath(os.path.join(directory, chapter.with_nearest(stem))))
        account.remarks.add("*.trans.txt: no such file", detail)


def written_name(name: str) -> str:
    """A name as text that fits on one line: bytes that are not UTF-8 and control characters are
    written as \\xff."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda c: ascii(c[0])[1:-1], text)


def _whole_text(path: Path) -> str:
    return " ".join(" ".join(text_lines(path)).split())
