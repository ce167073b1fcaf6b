"""Copies a prepared corpus to this machine's disk, from a folder or an object store.

w2v2 stage --from gs://bucket/corpus --to data/corpus [--split train ...]
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import threading
from pathlib import Path

from w2v2_jax.data.corpus import CutShort, open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import SPLIT, AnyPath, absolute, is_remote, size_of, try_folder, writing
from w2v2_jax.system.arguments import CommandParser
from w2v2_jax.system.new_output import ended_cleanly

UNDER_WAY = ".copy_of"  # the hash of the index whose split an unfinished copy is of
BLOCK = 1 << 24
WORKERS = 8


def stage(source: str, target: str, splits: list[str]) -> list[str]:
    """Copies the splits (all if empty) except files of the same size; returns those it copied.

    An interrupted copy continues where it stopped, if the source is still the same preparation, and
    a split counts only when it is complete.
    Raises InputError for a split that does not exist, if shards of the source are cut short, or if
    the target's split comes from another preparation.
    """
    if is_remote(target):
        raise InputError(f"--to {target} is no folder on this machine")
    root, out = absolute(source), Path(target)
    known = list_splits(root)
    chosen = splits or known
    missing = [split for split in chosen if split not in known]
    if missing or not chosen:
        named = ", ".join(split or repr(split) for split in missing)
        if not root.is_dir():
            folder, _, split = source.rpartition(":")
            of_folder = folder and not is_remote(folder) and Path(folder).is_dir()
            hint = f"; a split of it is --from {folder} --split {split}" if of_folder else ""
            raise InputError(f"--from {source}: no such folder{hint}")
        raise InputError(
            f"--from {source}: no prepared split {named or 'at all'}; "
            f"there are {', '.join(known) or 'none'}"
        )
    place = out.resolve()
    if not is_remote(root) and {place, *place.parents} & {(root / s).resolve() for s in chosen}:
        raise InputError(f"--to {target} lies inside of a split of --from {source}; name another")
    try_folder(out, "--to")
    with ended_cleanly():
        return [split for split in chosen if _stage_split(root / split, out / split)]


def _stage_split(source: AnyPath, target: Path) -> bool:
    corpus = open_corpus(source)
    corpus.check_shards()
    if (target / SPLIT).is_file():
        there = open_corpus(target)
        if there.info["index_sha256"] == corpus.info["index_sha256"]:
            with contextlib.suppress(CutShort):
                there.check_shards()
                return False
        else:
            raise InputError(f"{target} holds another corpus than {source}; remove it, or use --to")
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in source.iterdir() if path.name != SPLIT and path.is_file())
    _forget_others(files, target, corpus.fingerprint())
    ended = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        try:
            list(pool.map(lambda path: _copy(path, target / path.name, ended), files))
        except BaseException:  # a signal among them: the other copies end at once
            ended.set()
            # A thread that was being started when the signal came is not waited for.
            for path in files:
                _part(target / path.name).unlink(missing_ok=True)
            raise
    # The nodes of a job may copy to one disk that they share: what another one has removed just
    # before its own copy began is copied again, and the first to end takes the note away.
    for path in files:
        _copy(path, target / path.name)
    (target / UNDER_WAY).unlink(missing_ok=True)
    _copy(source / SPLIT, target / SPLIT)
    return True


def _forget_others(files: list[AnyPath], target: Path, fingerprint: str) -> None:
    """Removes what an unfinished copy left of another preparation, of which files may have the same
    size, and notes whose copy begins."""
    note = target / UNDER_WAY
    ours = (target / SPLIT).is_file() or (note.is_file() and note.read_text("utf-8") == fingerprint)
    if not ours:
        for path in files:
            (target / path.name).unlink(missing_ok=True)
    with writing("--to", note):
        note.write_text(fingerprint, "utf-8")


def _copy(source: AnyPath, target: Path, ended: threading.Event | None = None) -> None:
    if target.is_file() and target.stat().st_size == size_of(source):
        return
    target = Path(os.path.realpath(target))  # a link stays
    part = _part(target)
    try:
        with source.open("rb") as reader, writing("--to", target), part.open("wb") as writer:
            while block := reader.read(BLOCK):
                if ended is not None and ended.is_set():
                    raise concurrent.futures.CancelledError
                writer.write(block)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)  # a full disk is not to stay full


def _part(target: Path) -> Path:
    """What a file is called until it is whole."""
    target = Path(os.path.realpath(target))
    return target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}")


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 stage", description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="source", required=True, help="folder, gs://... or s3://...")
    parser.add_argument("--to", required=True, metavar="DIR", help="a folder on this machine")
    parser.add_argument("--split", action="append", default=[], help="a split (default: all)")
    args = parser.parse_args(argv)
    copied = stage(args.source, args.to, args.split)
    print(f"wrote {args.to}: {', '.join(copied) or 'everything was there already'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
