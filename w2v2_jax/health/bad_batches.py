"""What a run writes down of bad data: batches that misbehaved, utterances that are damaged.

bad_batches.jsonl is read when a run goes on, so that a batch once left out stays out: with it the
data is still a pure function of (seed, step). damaged_audio.N.jsonl is of host N's own disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.paths import AnyPath, is_remote

BATCHES = "bad_batches.jsonl"


class BadBatches:
    """rows: step -> a description of the batch's rows (asked for on the chief alone).

    Raises InputError where the file in the workdir cannot be read.
    """

    def __init__(self, workdir: AnyPath, rows: Callable[[int], list], *, writes: bool):
        self.path, self._rows, self._writes = workdir / BATCHES, rows, writes
        self._entries: dict[tuple[int, str], dict[str, Any]] = {}
        try:
            text = self.path.read_text("utf-8") if self.path.exists() else ""
            for entry in map(json.loads, text.splitlines()):
                self._entries[entry["step"], entry["rule"]] = entry
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}: not a list of bad batches ({error}); restore it, or remove it to "
                "use all batches again"
            ) from error

    @property
    def left_out(self) -> frozenset[int]:
        """The updates (from 1 on) whose batches carry no weight."""
        return frozenset(step for (step, _), e in self._entries.items() if e["left_out"])

    def note(self, step: int, rule: str, message: str, *, left_out: bool) -> None:
        """Writes a batch down once; a batch that is left out stays so."""
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


def note_damage(workdir: AnyPath, host: int, found: Iterable[tuple[str, str]]) -> AnyPath:
    """Adds damaged utterances (id, reason) to the host's file, each once; returns its path."""
    path = workdir / f"damaged_audio.{host}.jsonl"
    known = path.read_text("utf-8").splitlines() if path.exists() else []
    entries = {entry["id"]: entry for entry in map(json.loads, known)}
    entries |= {name: {"id": name, "reason": reason} for name, reason in found}
    _replace(path, entries.values())
    return path


def _replace(path: AnyPath, entries: Iterable[dict]) -> None:
    """Writes all entries; on a disk a kill leaves the file as it was, or as it is to be."""
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    if is_remote(path):
        path.write_text(text, "utf-8")
        return
    temporary = Path(f"{path}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
