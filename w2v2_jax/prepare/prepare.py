"""From a source to a prepared corpus: decode once, check everything, write complete splits."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.data.writer import CorpusWriter, ShardPlan
from w2v2_jax.errors import InputError, counted
from w2v2_jax.paths import SPLIT, AnyPath, absolute, is_remote, write_json
from w2v2_jax.prepare import beam as on_beam
from w2v2_jax.prepare import resumable as pieces
from w2v2_jax.prepare.account import PIECES, Account
from w2v2_jax.prepare.compress import check_codec, compress_split
from w2v2_jax.prepare.holdout import Holdable, Holdout, check_by, holdable
from w2v2_jax.prepare.measure import (
    IntakeResult,
    Limits,
    channel_of,
    spooled_bytes,
    take_in,
)
from w2v2_jax.prepare.publish import (
    check_absent,
    put_in_place,
    tell_leftovers,
    untouched,
    work_folder,
)
from w2v2_jax.prepare.report import describe, find_leaks, render, unspoken
from w2v2_jax.prepare.sources import Resolved, open_source, resolve
from w2v2_jax.prepare.splits import Sorter, check_split
from w2v2_jax.prepare.spoken import Transcripts
from w2v2_jax.prepare.work_units import Part, fitting_ids, parts, picked, read_ids, splits_of
from w2v2_jax.prepare.workers import in_order
from w2v2_jax.recognition.vad import silero
from w2v2_jax.system.progress import bar
from w2v2_jax.texts.choice import read_choice


def prepare(
    source: str, out: str | Path, *, split: str | None, holdout: dict[str, float],
    min_seconds: float, require_text: bool, workers: int, overwrite: bool,
    tfds_data_dir: str | None = None, ids: Path | None = None, progress: bool = True,
    resumable: bool = False, beam: list[str] | None = None, kind: str | None = None,
    phones: str = "61", channel: str = "mix", vad: bool = False, text: str | None = None,
    compress: str = "", holdout_by: str = "text",
) -> list[dict[str, Any]]:  # fmt: skip
    """Writes OUT/<split>/ for every split of the source; prints and returns their reports.

    split: the split for every utterance, instead of the source's ("train" if it names none).
    holdout: shares to hold out, by split name, decided by a hash of the transcript or the audio
        (`prepare.holdout.holdable`). The same audio is kept only once in a split.
    holdout_by: what stays on one side: "text", "speaker" or "clip".
    ids: a text file of utterance ids, one per line; others are not used (`work_units.fitting_ids`).
    resumable: whether finished pieces are kept under OUT, so that the same call can continue.
    beam: options of the Beam runner.
    kind: one of SOURCES; by default it is recognised by `sources.resolve`.
    phones: as in SourceOptions.
    channel: "mix", "left", "right", a number from 1, or "split" (each an utterance without
        transcript).
    vad: whether long recordings are cut, see `speech_cuts`.
    compress: "flac" or "".
    text: rules of `--text` (`texts.choice`); with None, a line says which characters of the texts
        are not spoken.
    All ways write the same bytes to another place, which is renamed at the end, so an interruption
    leaves no incomplete corpus.
    Raises InputError if nothing is usable, or if a split exists and `overwrite` is False.
    """
    resumable = resumable or beam is not None
    out = absolute(out)
    _check_packages(out, compress, beam)
    _check(out, split, holdout, min_seconds, workers, overwrite, resumable)
    check_by(holdout_by, holdout)
    transcripts = Transcripts(read_choice(text), required=require_text, chosen=text is not None)
    limits = _limits(min_seconds, require_text, channel, vad)
    resolved = _resolved(source, kind)
    options: dict[str, Any] = {"tfds_data_dir": tfds_data_dir, "phones": phones}
    chosen = fitting_ids(read_ids(ids), resolved, **options) if ids is not None else None
    account = Account(ids=chosen, out=str(out))
    finish = functools.partial(_finish, source=str(resolved), compress=compress, workers=workers)
    sorter = functools.partial(
        _sorter, resolved, out=out, split=split, holdout=holdout, by=holdout_by,
        overwrite=overwrite, account=account, options=options, transcripts=transcripts,
    )  # fmt: skip
    if not resumable:
        if split is None and not overwrite:
            _look_ahead(resolved, out, chosen, options)
        utterances = picked(open_source(resolved, account=account, **options), chosen)
        take = functools.partial(take_in, utterances, limits=limits, workers=workers)
        return _at_once(out, sorter(), finish, take, progress=progress)
    download = None if beam is None else on_beam.download_config(beam)
    work_parts = parts(resolved, account=account, ids=chosen, download=download, **options)
    work_parts = _of_free_splits(work_parts, out, split, overwrite)
    make = functools.partial(pieces.make_piece, limits=limits, ids=chosen)
    run = _runner(beam, workers=workers, progress=progress)
    return _in_pieces(str(resolved), out, sorter(), finish, work_parts, make, run)


def _of_free_splits(
    work_parts: Iterator[Part], out: AnyPath, split: str | None, overwrite: bool
) -> Iterator[Part]:
    """The parts, none of which is decoded yet; InputError for a split that is there already."""
    checked = set()
    for part in work_parts:
        for name in splits_of(part) if split is None else (split,):
            if name not in checked:
                check_split(out, name, overwrite)
                checked.add(name)
        yield part


def _look_ahead(source: Resolved, out: AnyPath, ids: frozenset[str] | None, options: dict) -> None:
    """InputError for a split of the source that is there already, before anything is decoded. It
    costs a second listing where there is one; rows of TFDS are not listed without being read."""
    if source.kind != "tfds" and any(out.glob(f"*/{SPLIT}")):
        for _ in _of_free_splits(parts(source, ids=ids, **options), out, None, overwrite=False):
            pass


def _runner(beam: list[str] | None, *, workers: int, progress: bool) -> pieces.Run:
    """What processes the pieces: processes of this machine, or Beam with its options."""
    if beam is None:
        return functools.partial(_run_here, workers=workers, progress=progress)
    return functools.partial(on_beam.run, options=beam)


def _limits(min_seconds: float, require_text: bool, channel: str, vad: bool) -> Limits:
    if vad:
        silero()  # report a missing package here, not in every worker
    least = round(min_seconds * SAMPLE_RATE)
    return Limits(least, require_text, *channel_of(channel), vad=vad)


def _resolved(source: str, kind: str | None) -> Resolved:
    """The source with its kind, which is printed if it was not given."""
    resolved = resolve(source, kind)
    if resolved.why:
        print(f"{resolved.place} is read as {resolved.kind}: {resolved.why}")
    return resolved


def _sorter(source: Resolved, *, holdout, by: str, account: Account, options: dict, **rest):
    """What sorts utterances into splits; asked once the source is open."""
    rule = Holdable(True, True)
    if holdout:
        rule = holdable(source, split=rest["split"], ids=account.ids, **options)
    return functools.partial(Sorter, holdout=Holdout(holdout, rule, by), account=account, **rest)


def _at_once(
    out: str | Path,
    sorter,
    finish,
    take: Callable[..., Generator[IntakeResult, None, None]],
    progress: bool,
):
    out = Path(out)
    tell_leftovers(out)

    def add(writer, entry, measures):
        writer.add(entry, spooled_bytes(measures))

    with work_folder(out) as work:
        (work / "spool").mkdir()
        sorted_out = sorter(work / "splits", writer=CorpusWriter, add=add)
        try:
            # Closed before the folder is removed: its workers still write there.
            with contextlib.closing(take(spool=work / "spool")) as outcomes:
                sorted_out.add_all(_with_progress(outcomes, progress=progress))
        finally:
            for writer in sorted_out.writers.values():
                writer.abort()
        return finish(sorted_out, work=work)


def _in_pieces(source: str, out: AnyPath, sorter, finish, work_parts, make, run: pieces.Run):
    """Pieces, then the plan of the shards, then the shards: only the plan is one machine's work."""
    work = out / f"{PIECES}{hashlib.sha256(source.encode()).hexdigest()[:8]}"

    def add(plan, entry, measures):
        plan.add(entry, measures.spool, measures.offset)

    with pieces.held(work):
        tell_leftovers(out, work)
        try:
            count = pieces.write_parts(work_parts, work)
        except InputError:
            pieces.remove_unstarted(work)
            raise
        pieces.run_all(make, count, run, "pieces", work=str(work))
        sorted_out = sorter(out if is_remote(out) else work / "splits", writer=ShardPlan, add=add)
        sorted_out.add_all(pieces.read_pieces(work, count))
        count = pieces.write_jobs(sorted_out.writers.values(), work)
        pieces.run_all(pieces.write_shard, count, run, "shards", work=str(work))
        reports = finish(sorted_out, work=work)
    if is_remote(work):
        work.rmtree()
    else:
        shutil.rmtree(work)
    return reports


def _run_here(function: Callable, count: int, *, workers: int, progress: bool) -> dict[str, int]:
    """The function of 0 .. count - 1 in processes of this machine: how often each result came."""
    done: dict[str, int] = {}
    results = in_order(function, range(count), workers=min(workers, max(count, 1)))
    with bar(count, "", disable=not progress) as shown:
        for word in results:
            done[word] = done.get(word, 0) + 1
            shown.update()
    return done


def _check_packages(out, compress, beam) -> None:
    check_codec(compress, out)
    if beam is not None:
        on_beam.import_beam()


def _check(out, split, holdout, min_seconds, workers, overwrite, resumable) -> None:
    if is_remote(out) and not resumable:
        raise InputError(f"--out {out}: use --resumable or --beam to write to an object store")
    for name in [*([] if split is None else [split]), *holdout]:
        check_split(out, name, overwrite)
    if any(not 0 < share < 1 for share in holdout.values()) or sum(holdout.values()) >= 1:
        given = ", ".join(f"{name}={share:g}" for name, share in holdout.items())
        raise InputError(f"--holdout {given}: shares must be above 0 and add up to less than 1")
    if (split or "train") in holdout:
        raise InputError(
            f"--holdout {split or 'train'}: this is the split from which the share is taken"
        )
    if not 0 <= min_seconds < math.inf or workers < 1:
        raise InputError(f"--min-seconds {min_seconds} and --workers {workers} must be positive")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file, not a directory")


def _finish(
    sorted_out: Sorter, *, source: str, work: AnyPath, compress: str, workers: int
) -> list[dict[str, Any]]:
    corpora = sorted_out.close(source)
    if compress:
        for corpus in corpora:
            compress_split(corpus.directory, workers=workers)
        corpora = [open_corpus(corpus.directory) for corpus in corpora]
    reports = _write_reports(corpora, sorted_out)
    published = _publish(corpora, work, sorted_out.out, overwrite=sorted_out.overwrite)
    for report in reports:  # printed when all splits are in place
        tallies = {name: tally[report["split"]] for name, tally in sorted_out.tallies.items()}
        print(render(report, **tallies))
    print("\n".join(published))
    if sorted_out.overwrite and (line := untouched(sorted_out.out, {c.split for c in corpora})):
        print(line)
    if not sorted_out.transcripts.chosen and (line := unspoken(reports)):
        print(line)
    print(sorted_out.account.table(used=sorted_out.used, rejected=sorted_out.rejected))
    return reports


def _with_progress(outcomes: Iterator[IntakeResult], *, progress: bool) -> Iterator[IntakeResult]:
    with bar(None, " utterances", disable=not progress) as shown:
        samples = 0
        for outcome in outcomes:
            samples += outcome.measures.num_samples if outcome.measures else 0
            shown.set_postfix_str(f"{samples / SAMPLE_RATE / 3600:.2f} h", refresh=False)
            shown.update()
            yield outcome


def _write_reports(corpora: list[Corpus], sorted_out: Sorter) -> list[dict[str, Any]]:
    new, out = {corpus.split for corpus in corpora}, sorted_out.out
    intake = sorted_out.account.balance(used=sorted_out.used, rejected=sorted_out.rejected)
    old = [open_corpus(out / split) for split in list_splits(out) if split not in new]
    reports = []
    for corpus in corpora:
        others = [c for c in [*corpora, *old] if c is not corpus]
        tallies = {name: tally[corpus.split] for name, tally in sorted_out.tallies.items()}
        leaks = find_leaks(corpus, others)
        report = describe(corpus, **tallies, leaks=leaks, intake=intake)
        write_json(corpus.directory / "report.json", report)
        reports.append(report)
    return reports


def _publish(corpora: list[Corpus], work: AnyPath, out: AnyPath, *, overwrite: bool) -> list[str]:
    """Renames finished splits into place and prints a line per split; splits that they replace are
    removed with the work directory. In an object store they are written in place, with corpus.json
    last."""
    lines = []
    for corpus in corpora:  # all are tried before the first is moved
        if (target := out / corpus.split) != corpus.directory:
            check_absent(target, overwrite=overwrite)
    for corpus in corpora:
        target = out / corpus.split
        if target != corpus.directory:
            put_in_place(corpus.directory, target, work, overwrite=overwrite)
        info = corpus.info
        lines.append(
            f"wrote {target}: {counted(info['utterances'], 'utterance')}, "
            f"{info['hours']:.3f} h, {counted(info['shards'], 'shard')}"
        )
    return lines
