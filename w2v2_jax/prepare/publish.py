"""Finished splits go to their places; what killed runs left is told, and what they moved is put
back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path

from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, is_empty_folder, is_remote, try_folder
from w2v2_jax.prepare.account import PARTIAL, PIECES
from w2v2_jax.system.new_output import ended_cleanly, named_as, swap

# In a run's folder: a split that the run's own takes the place of, and has taken.
REPLACED, FORMER = "replaced-", "former-"


@contextlib.contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A folder in a corpus for what a run has not finished, which is removed at its end."""
    try_folder(out, "--out")
    with ended_cleanly():
        work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=out))
        try:
            with named_as(work, out):
                yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def put_in_place(directory: Path, target: Path, work: Path, *, overwrite: bool) -> None:
    """Renames a finished split to its place. A split that it replaces is moved into the folder
    `work`, or stays if anything fails. A link stays, and leads to the new split.

    Raises InputError as `check_absent` does.
    """
    check_absent(target, overwrite=overwrite)
    place = Path(os.path.realpath(target))
    if place.exists():
        replaced = work / f"{REPLACED}{target.name}"
        swap(directory, place, replaced)
        # Under another name: a run that is killed from here on leaves what nobody may put back.
        replaced.rename(work / f"{FORMER}{target.name}")
    else:
        os.rename(directory, place)


def check_absent(target: Path, *, overwrite: bool) -> None:
    """Raises InputError if a split that was not there when the command began is there now, because
    another command was faster, and may not be replaced."""
    if not overwrite and target.exists() and not is_empty_folder(target):
        raise InputError(
            f"{target} exists already: another command wrote it while this one ran; use "
            "--overwrite or another --split"
        )


def tell_leftovers(out: AnyPath, current: AnyPath | None = None) -> None:
    """Says on stderr which folders of unfinished runs are in a corpus, all but the current one."""
    for left in sorted([*out.glob(f"{PARTIAL}*"), *out.glob(f"{PIECES}*")]):
        if not is_remote(out):
            _put_back(left, out)
        if left != current:
            print(f"{left}: of an unfinished run; delete it if none is running", file=sys.stderr)


def _put_back(left: Path, out: Path) -> None:
    """Splits that a run moved away, and was killed before the new ones were in their places."""
    for old in sorted(left.glob(f"{REPLACED}*")):
        place = Path(os.path.realpath(out / old.name.removeprefix(REPLACED)))
        if not os.path.lexists(place):
            old.rename(place)
            said = f"{place}: a run was killed while it replaced this; it is back as it was"
            print(said, file=sys.stderr)


def untouched(out: AnyPath, new: Container[str]) -> str:
    """A line on the splits of a corpus that a run did not write, by source; "" if there are none.
    Whoever replaced a corpus would otherwise train on what is left of the one before."""
    by_source: dict[str, list[str]] = {}
    for split in list_splits(out):
        if split not in new:
            by_source.setdefault(open_corpus(out / split).info["source"], []).append(split)
    if not by_source:
        return ""
    named = "; ".join(f"{', '.join(splits)} (of {source})" for source, splits in by_source.items())
    return f"{out} has splits of other runs, which stay as they are: {named}"
