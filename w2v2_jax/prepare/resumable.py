"""Preparation in pieces, which any machine can make and a later run reuses.

In a work folder that all workers see:
  part-000000.json              what a worker decodes (`parts.Part`)
  piece-000000-<hash>.i16/.json its usable samples end to end, and every utterance's outcome; the
                                hash is of the part's content, so a changed file is decoded again
  job-000000.json               a shard of the corpus: which bytes of which pieces it consists of
  done-<split>-<shard>-<hash>   that such a shard is written
A file appears complete or not at all, and .json after .i16. Doing a step twice does no harm.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from w2v2_jax.data.shards import shard_name
from w2v2_jax.data.writer import ShardPlan
from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, is_remote, size_of, to_path
from w2v2_jax.prepare import work_units
from w2v2_jax.prepare.measure import IntakeResult, Limits, Measures, decode
from w2v2_jax.prepare.utterance import Utterance
from w2v2_jax.prepare.work_units import Part
from w2v2_jax.prepare.workers import submitted

VERSION = 4  # of what decoding makes of the same bytes
COPY_BYTES = 1 << 24
THREADS = 16  # small files in an object store are slow one after the other
MADE, KEPT = "made", "kept"


@contextlib.contextmanager
def held(work: AnyPath) -> Iterator[None]:
    """Makes the folder; a second run in it is an InputError (an object store knows no locks)."""
    work.mkdir(parents=True, exist_ok=True)
    if is_remote(work):
        yield
        return
    with open(work / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{work} is in use by another run of the same source") from None
        yield


def write_parts(work_parts: Iterable[Part], work: AnyPath) -> int:
    """Writes what the workers read; returns the number of parts."""
    return _write_each(work, work_parts, "part", work_units.save)


def remove_unstarted(work: AnyPath) -> None:
    """Removes the folder of a run that has made no piece."""
    if not is_remote(work) and not any(work.glob("piece-*")):
        shutil.rmtree(work)


def _write_each(work: AnyPath, items: Iterable, kind: str, write: Callable) -> int:
    put = lambda numbered: write(numbered[1], work / f"{kind}-{numbered[0]:06d}.json")  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return sum(1 for _ in submitted(pool, put, enumerate(items), ahead=4 * THREADS))


def make_piece(number: int, *, work: str, limits: Limits, ids: frozenset[str] | None) -> str:
    """Decodes part `number`, unless its piece is there; says which (MADE or KEPT)."""
    folder = to_path(work)
    part = work_units.load(folder / f"part-{number:06d}.json")
    chosen = hashlib.sha256(" ".join(sorted(ids or ())).encode()).hexdigest()
    key = work_units.content_hash(part, json.dumps([VERSION, limits, chosen]))
    stem = f"piece-{number:06d}-{key}"
    samples, record = folder / f"{stem}.i16", folder / f"{stem}.json"
    if _is_made(record, samples):
        return KEPT
    for old in folder.glob(f"piece-{number:06d}-*"):
        old.unlink(missing_ok=True)
    with _scratch(folder) as scratch:
        local = scratch / "samples"
        outcomes = decode(work_units.read(part, ids), local, limits)
        size = local.stat().st_size if local.exists() else 0
        if size:
            _move(local, samples)
        fields = [_to_json(outcome) for outcome in outcomes]
        _write_whole({"bytes": size, "outcomes": fields}, record, scratch)
    return MADE


def _is_made(record: AnyPath, samples: AnyPath) -> bool:
    """Whether a piece is there, whole. What is damaged is made again."""
    try:
        content = json.loads(record.read_text("utf-8"))
        return isinstance(content["outcomes"], list) and _whole(samples, content["bytes"])
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _whole(path: AnyPath, size: int) -> bool:
    return not size or (path.exists() and size_of(path) == size)


def _to_json(outcome: IntakeResult) -> list:
    utterance, measures, *rest = outcome
    told = [utterance.id, utterance.text, utterance.split, utterance.speaker, utterance.language]
    numbers = None if measures is None else [*measures[:5], None, *measures[6:]]
    return [*told, numbers, *rest]


def _from_json(fields: list, samples: str) -> IntakeResult:
    name, *told, numbers, reason, detail, remarks, further, recording = fields
    measures = None if numbers is None else Measures(*numbers)._replace(spool=samples)
    utterance = Utterance(name, b"", None, *told)
    return IntakeResult(utterance, measures, reason, detail, tuple(remarks), further, recording)


def read_pieces(work: AnyPath, count: int) -> Iterator[IntakeResult]:
    """The outcomes of all parts in order; their samples lie in the pieces."""
    by_number = {int(path.name.split("-")[1]): path for path in work.glob("piece-*.json")}
    missing = [number for number in range(count) if number not in by_number]
    if missing:
        raise InputError(f"{work}: piece {missing[0]} is missing; run the same command again")

    def read(number: int) -> list[IntakeResult]:
        content = json.loads(by_number[number].read_text("utf-8"))
        samples = str(by_number[number].with_suffix(".i16"))
        return [_from_json(fields, samples) for fields in content["outcomes"]]

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for outcomes in submitted(pool, read, range(count), ahead=THREADS):
            yield from outcomes


def write_jobs(plans: Iterable[ShardPlan], work: AnyPath) -> int:
    """Writes which bytes make up each shard of the splits; returns the number of shards."""

    def jobs():
        for plan in plans:
            plan.directory.mkdir(parents=True, exist_ok=True)
            _remove_others(plan)
            for number, shard in enumerate(plan.shards):
                target = plan.directory / shard_name(number)
                yield {"target": str(target), "reads": shard.reads, "key": shard.key}

    save = lambda job, path: path.write_text(json.dumps(job), "utf-8")  # noqa: E731
    return _write_each(work, jobs(), "job", save)


def _remove_others(plan: ShardPlan) -> None:
    """Shards that an earlier run, of another content, left here."""
    planned = {shard_name(number) for number in range(len(plan.shards))}
    for path in list(plan.directory.glob("shard-*.i16")):
        if path.name not in planned:
            path.unlink()


def write_shard(number: int, *, work: str) -> str:
    """Copies shard `number` together, unless it is there; says which (MADE or KEPT)."""
    folder = to_path(work)
    job = json.loads((folder / f"job-{number:06d}.json").read_text("utf-8"))
    target = to_path(job["target"])
    done = folder / f"done-{target.parent.name}-{target.stem}-{job['key']}"
    total = sum(length for _, _, length in job["reads"])
    if done.exists() and _whole(target, total):
        return KEPT
    with _scratch(folder) as scratch:
        local = scratch / "shard"
        with open(local, "wb") as file:
            for name, offset, length in job["reads"]:
                _copy(to_path(name), offset, length, file)
        _move(local, target)
        _write_whole({}, done, scratch)
    return MADE


def _copy(source: AnyPath, offset: int, length: int, target: BinaryIO) -> None:
    with source.open("rb") as file:
        file.seek(offset)
        while length:
            block = file.read(min(length, COPY_BYTES))
            if not block:
                raise InputError(f"{source}: cut short; run the same command again")
            target.write(block)
            length -= len(block)


@contextlib.contextmanager
def _scratch(folder: AnyPath) -> Iterator[Path]:
    """A local folder: beside the pieces, so that files move by renaming, where those are local."""
    inside = None if is_remote(folder) else folder
    with tempfile.TemporaryDirectory(dir=inside, prefix=".making-") as path:
        yield Path(path)


def _move(local: Path, target: AnyPath) -> None:
    """Puts a file in place whole: by renaming, or as one object of a store. It is on the disk
    first: after a power failure it would have its name and size, and zeros as its content."""
    if not is_remote(target):
        with open(local, "rb") as file:
            os.fsync(file.fileno())
        os.replace(local, target)
        return
    with open(local, "rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, COPY_BYTES)
    local.unlink()


def _write_whole(content: dict, target: AnyPath, scratch: Path) -> None:
    local = scratch / "record"
    local.write_text(json.dumps(content), "utf-8")
    _move(local, target)


Run = Callable[[Callable[[int], str], int], dict[str, int]]


def run_all(make: Callable[..., str], count: int, run: Run, what: str, **options) -> None:
    """Has every number done and says how many there were."""
    done = run(functools.partial(make, **options), count)
    print(f"{what}: {done.get(MADE, 0)} made, {done.get(KEPT, 0)} reused from an earlier run")
