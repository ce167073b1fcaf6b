"""The record of bad data in a run: batches that caused trouble, and damaged utterances.

bad_batches.jsonl is read when a run resumes, so that a batch that was left out stays out; with it
the data is still a pure function of (seed, step). damaged_audio.N.jsonl is about host N's disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, json_text, write_text

BATCHES = "bad_batches.jsonl"


class BadBatches:
    """rows: step -> a description of the batch's rows (used on process 0 only).

    Raises InputError if the file in the workdir cannot be read.
    """

    def __init__(self, workdir: AnyPath, rows: Callable[[int], list], *, writes: bool):
        self.path, self._rows, self._writes = workdir / BATCHES, rows, writes
        self._entries: dict[tuple[int, str], dict[str, Any]] = {}
        kinds = {"step": int, "rule": str, "left_out": bool}
        remedy = "restore it, or remove it to use all batches again"
        for entry in _read(self.path, kinds, what="bad batches", remedy=remedy):
            self._entries[entry["step"], entry["rule"]] = entry

    @property
    def left_out(self) -> frozenset[int]:
        """The updates (from 1 on) whose batches carry no weight."""
        return frozenset(step for (step, _), e in self._entries.items() if e["left_out"])

    def note(self, step: int, rule: str, message: str, *, left_out: bool) -> None:
        """Records a batch once; a batch that is left out stays out."""
        before = self._entries.get((step, rule))
        if before is not None and (before["left_out"] or not left_out):
            return
        entry = {"step": step, "rule": rule, "left_out": left_out, "message": message}
        self._entries[step, rule] = {
            **entry,
            **({"rows": self._rows(step)} if self._writes else {}),
        }
        if self._writes:
            self._write()

    def _write(self) -> None:
        _replace(self.path, self._entries.values())


def note_damage(workdir: AnyPath, host: int, damaged: Iterable[tuple[str, str]]) -> AnyPath:
    """Adds damaged utterances (id, reason) to the host's file, each once; returns its path."""
    path = workdir / f"damaged_audio.{host}.jsonl"
    known = _read(path, {"id": str}, what="damaged audio", remedy="restore or remove it")
    entries = {entry["id"]: entry for entry in known}
    entries |= {name: {"id": name, "reason": reason} for name, reason in damaged}
    _replace(path, entries.values())
    return path


def _read(path: AnyPath, kinds: dict[str, type], *, what: str, remedy: str) -> list[dict[str, Any]]:
    """The entries of a file, none if it does not exist; InputError if one lacks a field."""
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        for entry in entries:
            if not all(type(entry[name]) is kind for name, kind in kinds.items()):
                raise ValueError(f"{json_text(entry)[:100]}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a list of {what} ({error}); {remedy}") from error
    return entries


def _replace(path: AnyPath, entries: Iterable[dict]) -> None:
    write_text(path, "".join(json_text(entry) + "\n" for entry in entries))
