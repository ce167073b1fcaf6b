"""Texts in a source that `w2v2 transcribe` wrote: they are taken as any others, but are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.recognition import transcript_record

BY_A_MODEL = "a transcript of w2v2 transcribe"


class Made:
    """The records of the folders that were read so far, from the top down."""

    def __init__(self):
        self._records: dict[Path, transcript_record.Record] = {}

    def enter(self, folder: Path, files: Iterable[str]) -> None:
        """Reads the record of a folder, if it is among its files; a damaged one tells nothing."""
        if transcript_record.FILE in files:
            with contextlib.suppress(InputError):
                self._records[folder] = transcript_record.read(folder)

    def by_a_model(self, text: Path) -> bool:
        """Whether a text is as `transcribe` wrote it; corrected by a person, it is not."""
        return any(
            text.is_relative_to(folder) and record.ours(folder, text)
            for folder, record in self._records.items()
        )
