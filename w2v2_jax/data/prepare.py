"""From a source to a prepared corpus: decode once, check everything, write whole splits or none."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from w2v2_jax.data.intake import Limits, Outcome, spooled_bytes, take_in
from w2v2_jax.data.report import Rejects, describe, find_leaks, render, transcript_key
from w2v2_jax.data.sources import open_source
from w2v2_jax.data.store import SAMPLE_RATE, Corpus, CorpusWriter, Entry, list_splits, open_corpus
from w2v2_jax.data.utterance import Utterance
from w2v2_jax.errors import InputError

DEFAULT_SPLIT = "train"
PARTIAL = ".partial-"


def prepare(
    source: str,
    out: str | Path,
    *,
    split: str | None,
    holdout: dict[str, float],
    min_seconds: float,
    require_text: bool,
    workers: int,
    overwrite: bool,
    tfds_data_dir: str | None = None,
    ids: Path | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Writes OUT/<split>/ for every split of the source; prints and returns their reports.

    split: puts every utterance there, instead of where the source says ("train" if it does not).
    holdout: share of the utterances to set apart, by split name. It is decided by the hash of the
    transcript (of the audio where there is none), so it never changes as a corpus grows and no
    sentence stands on both sides. Utterances with the same audio in a split are kept once.
    ids: a text file of utterance ids, one a line (a path's folder and suffix do not count, so
    that the lists of Libri-Light's limited splits pick from LibriSpeech); others are passed over.
    Everything is written beside and renamed at the end: a kill leaves no half corpus.
    Raises InputError when nothing is usable, or a split exists and `overwrite` is False.
    """
    out = Path(out)
    _check(out, split, holdout, min_seconds, workers, overwrite)
    limits = Limits(round(min_seconds * SAMPLE_RATE), require_text)
    utterances = open_source(source, tfds_data_dir=tfds_data_dir)
    if ids is not None:
        utterances = picked(utterances, read_ids(ids))
    out.mkdir(parents=True, exist_ok=True)
    _mention_leftovers(out)
    work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=out))
    try:
        (work / "spool").mkdir()
        outcomes = take_in(utterances, limits=limits, workers=workers, spool=work / "spool")
        intake = _Intake(work / "splits", out, split, holdout, overwrite)
        intake.add_all(_with_progress(outcomes, progress))
        corpora = intake.close(source)
        reports = _write_reports(corpora, intake.rejects, out)
        _publish(corpora, work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return reports


def read_ids(path: str | Path) -> frozenset[str]:
    """The utterance ids of a text file; InputError when it cannot be read or holds none."""
    try:
        names = Path(path).read_text("utf-8").split()
    except (OSError, ValueError) as error:
        raise InputError(f"--ids {path}: cannot be read: {error}") from error
    if not names:
        raise InputError(f"--ids {path} holds no utterance id")
    return frozenset(_stem(name) for name in names)


def picked(utterances: Iterable[Utterance], ids: frozenset[str]) -> Iterator[Utterance]:
    """The utterances whose id is among `ids`."""
    return (utterance for utterance in utterances if _stem(utterance.id) in ids)


def _stem(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    return base.rsplit(".", 1)[0] if base.endswith((".flac", ".wav", ".ogg", ".mp3")) else base


class _Intake:
    """Routes outcomes to the writers of their splits."""

    def __init__(self, directory: Path, out: Path, split, holdout, overwrite):
        self.directory, self.out, self.overwrite = directory, out, overwrite
        self.split, self.holdout = split, holdout
        self.rejects: dict[str, Rejects] = collections.defaultdict(Rejects)
        self.writers: dict[str, CorpusWriter] = {}
        self._seen: dict[tuple[str, int], str] = {}

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        try:
            for outcome in outcomes:
                self._add(outcome)
        finally:
            for writer in self.writers.values():
                writer.abort()

    def _add(self, outcome: Outcome) -> None:
        utterance, measures = outcome.utterance, outcome.measures
        split = self.split or utterance.split or DEFAULT_SPLIT
        if measures is None:
            self.rejects[split].add(outcome.reason, outcome.detail)
            return
        key = split, measures.audio_sha256
        if key in self._seen:
            detail = f"{utterance.id}: same audio as {self._seen[key]}"
            self.rejects[split].add("duplicate", detail)
            return
        self._seen[key] = utterance.id
        entry = Entry(utterance.id, utterance.text or "", utterance.speaker or "", *measures[:5])
        writer = self._writer(held_out_split(split, entry, self.holdout))
        writer.add(entry, spooled_bytes(measures))

    def _writer(self, split: str) -> CorpusWriter:
        if split not in self.writers:
            _check_split(self.out, split, self.overwrite)
            self.writers[split] = CorpusWriter(self.directory / split)
        return self.writers[split]

    def close(self, source: str) -> list[Corpus]:
        if not self.writers:
            tables = [f"split {s}:\n{r.table()}" for s, r in sorted(self.rejects.items())]
            raise InputError(
                f"{source}: no usable utterance, nothing is written. Rejected: " + "\n".join(tables)
            )
        for split, writer in self.writers.items():
            writer.close(split=split, source=source)
        for split in sorted({*self.holdout, *self.rejects} - {*self.writers}):
            print(f"split {split}: no usable utterance, not written\n{self.rejects[split].table()}")
        return [open_corpus(self.directory / split) for split in sorted(self.writers)]


def held_out_split(split: str, entry: Entry, holdout: dict[str, float]) -> str:
    """The split an utterance goes to, by the hash of its transcript, or else of its audio."""
    if split in holdout:
        return split
    place, end = (transcript_key(entry.text) or entry.audio_sha256) / 2**64, 0.0
    for name, share in holdout.items():
        end += share
        if place < end:
            return name
    return split


def _check(out, split, holdout, min_seconds, workers, overwrite) -> None:
    for name in [*([split] if split else []), *holdout]:
        _check_split(out, name, overwrite)
    if any(not 0 < share < 1 for share in holdout.values()) or sum(holdout.values()) >= 1:
        raise InputError(f"--holdout {holdout}: shares must be above 0 and add up to less than 1")
    if min_seconds < 0 or workers < 1:
        raise InputError(f"--min-seconds {min_seconds} and --workers {workers} must be positive")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file, not a directory")


def _check_split(out: Path, split: str, overwrite: bool) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", split):
        raise InputError(
            f"split {split!r}: use letters, digits, '_', '-', '+' and '.'; see --split"
        )
    if (out / split).exists() and not overwrite:
        raise InputError(f"{out / split} exists already; use --overwrite or another --split")


def _mention_leftovers(out: Path) -> None:
    for left in sorted(out.glob(f"{PARTIAL}*")):
        print(f"{left}: of an unfinished run; delete it if none is running", file=sys.stderr)


def _with_progress(outcomes: Iterator[Outcome], progress: bool) -> Iterator[Outcome]:
    from tqdm import tqdm

    hidden = None if progress else True  # None: shown on a terminal only
    with tqdm(unit=" utterances", file=sys.stderr, disable=hidden, mininterval=1) as bar:
        samples = 0
        for outcome in outcomes:
            samples += outcome.measures.num_samples if outcome.measures else 0
            bar.set_postfix_str(f"{samples / SAMPLE_RATE / 3600:.2f} h", refresh=False)
            bar.update()
            yield outcome


def _write_reports(corpora: list[Corpus], rejects, out: Path) -> list[dict[str, Any]]:
    new = {corpus.split for corpus in corpora}
    old = [open_corpus(out / split) for split in list_splits(out) if split not in new]
    reports = []
    for corpus in corpora:
        others = [c for c in [*corpora, *old] if c is not corpus]
        report = describe(corpus, rejects[corpus.split], find_leaks(corpus, others))
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        (corpus.directory / "report.json").write_text(text, "utf-8")
        print(render(report, rejects[corpus.split]))
        reports.append(report)
    return reports


def _publish(corpora: list[Corpus], work: Path, out: Path) -> None:
    """Renames finished splits into place; what they replace goes with the work directory."""
    for corpus in corpora:
        target = out / corpus.split
        if target.exists():
            os.rename(target, work / f"replaced-{corpus.split}")
        os.rename(corpus.directory, target)
        info = corpus.info
        print(
            f"wrote {target}: {info['utterances']} utterances, {info['hours']:.3f} h, "
            f"{info['shards']} shards"
        )
